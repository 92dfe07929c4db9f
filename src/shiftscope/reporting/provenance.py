"""How the results of a report were made: dataset, environment, settings and notes on training, each item once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shiftscope.files import plain
from shiftscope.reporting.formatting import MISSING, series_title
from shiftscope.reporting.headline import FEW
from shiftscope.results import Audit, Evaluation, TrainResult

_LABELS = {"name": "dataset", "source": "source", "license": "license", "train_images": "training images",
           "test_images": "test images", "image": "image size (channels, height, width)",
           "canvas": "canvas (height, width)", "preparation": "preparation of the images",
           "class_names": "classes"}

_OMITTED = frozenset({"schema_version", "dataset", "resume", "overwrite", "data", "data_dir", "out", "canvas", "mode",
                      "background", "seed", "device"})
"""Keys of settings that repeat other items or hold paths of the machine; seed and device stay at the top level."""

_PATH = re.compile(r"""(?<![^\s"'=(\[,:])(?:/(?!/)|~/|[A-Za-z]:[\\/](?!/))[^\s"',;)\]]+""")


def without_folders(text: str) -> str:
    """Replace absolute paths by the name of their file or last folder.

    >>> without_folders("run --out=/home/ada/my-run"), without_folders("folder:C:\\\\cups\\\\white")
    ('run --out=my-run', 'folder:white')
    >>> without_folders("https://example.org/a/b, 3/4")
    'https://example.org/a/b, 3/4'
    """
    return _PATH.sub(lambda found: re.split(r"[\\/]", found.group().rstrip("\\/"))[-1], text)


def doubts(notes: Sequence[str], training: Sequence[TrainResult], evaluations: Sequence[Evaluation],
           audits: Sequence[Audit]) -> list[str]:
    """Return the sentences about results that may be unreliable: `notes`, then those of the results with their models.

    Notes of one model that differ only after the first colon are one note. A note of several models is shown once. The
    headline states a small number of images.
    """
    seen: set[tuple[str, str]] = set()
    models: dict[str, list[str]] = {}
    for result in (*(one for one in evaluations if one.split != "train"), *audits):
        title = series_title(result.model, result.trained)
        for note in result.notes:
            known = (title, start := note.partition(":")[0]) in seen
            if not known and not start.startswith(f"fewer than {FEW} images"):
                seen.add((title, start))
                models.setdefault(note, []).append(title)
    paused = [f"The training of the {series_title(one.model, one.trained)} ended after {one.epochs} of "
              f"{one.settings['epochs']} epochs." for one in training
              if one.epochs < (one.settings.get("epochs") or 0)]
    grouped = [f"{'; '.join(titles)}: {note}" for note, titles in models.items()]
    nonfinite = [f"{one.model}: the output for {one.nonfinite:,} of {one.images:,} {one.split} images is not finite; "
                 "these predictions count as incorrect." for one in evaluations
                 if one.nonfinite and not any("non-finite" in note for note in one.notes)]
    return _once([*notes, *paused, *grouped, *nonfinite])


def made(dataset: Mapping[str, Any], environment: Mapping[str, Any], training: Sequence[TrainResult],
         remarks: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return (name, value) of the dataset, the training, the environment, then notes on training and `remarks`."""
    values = dict(dataset) | _counts(training)
    facts = [(label, readable(values[key])) for key, label in _LABELS.items() if values.get(key, "") != ""]
    placement = next((result.placement for result in training), None)
    facts += [("placement", readable({key: value for key, value in placement.items() if value is not None}))
              ] if placement else []
    facts += _flatten(_kept(environment))
    facts += _settings(training)
    notes = _once(f"{series_title(one.model, one.trained)}: {note}" for one in training for note in one.notes)
    facts += [("note", note) for note in (*notes, *remarks)]
    facts += _flatten({"sha-256": dataset.get("checksums", {})})
    return list(dict.fromkeys((name, without_folders(value)) for name, value in facts))


def _once(sentences: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(without_folders, sentences)))


def _counts(training: Sequence[TrainResult]) -> dict[str, str]:
    """The number of training images that were trained on; the rest of the training set is for validation."""
    counts = dict.fromkeys(f"{one.train_images:,} (validation: {one.validation_images:,})" for one in training)
    return {"train_images": "; ".join(counts)} if counts else {}


def _kept(environment: Mapping[str, Any]) -> dict[str, Any]:
    """The environment without items that are elsewhere on the page, false, or not set."""
    settings = environment.get("settings")
    kept = {key: value for key, value in environment.items() if key not in {"schema_version", "dataset", "settings"}}
    kept = {key: _kept(value) if isinstance(value, Mapping) and "settings" in value else value
            for key, value in kept.items()}
    if isinstance(kept.get("versions"), Mapping):
        kept["versions"] = readable(kept["versions"])
    if isinstance(kept.get("command"), list):
        kept["command"] = " ".join(map(without_folders, map(str, kept["command"])))
    if isinstance(settings, Mapping):
        for group in settings.values():
            kept |= {f"setting {key}": value for key, value in (group if isinstance(group, Mapping) else {}).items()
                     if key not in _OMITTED and value is not None and value is not False}
    return kept


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        facts += _flatten(value, f"{name}: ") if isinstance(value, Mapping) else [(name, readable(value))]
    return facts


def readable(value: Any) -> str:
    """Return a plain value as text for a table.

    >>> readable((56, 56)), readable(None), readable({"mode": "canvas"})
    ('56, 56', '–', 'mode canvas')
    """
    value = plain(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {readable(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(readable(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return MISSING if value is None else str(value)


def _settings(training: Sequence[TrainResult]) -> list[tuple[str, str]]:
    """(model, training settings as text), once per model and training placement."""
    settings: dict[str, str] = {}
    for result in training:
        values = {key: value for key, value in result.settings.items() if key != "seed" and value is not None}
        settings.setdefault(f"settings of {result.model}, trained {result.trained}", readable(values))
    return list(settings.items())
