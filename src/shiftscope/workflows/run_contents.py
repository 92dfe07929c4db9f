"""What a folder holds for a report, and how several are put together: names, notes, and pictures that were drawn."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shiftscope.errors import CheckpointError, quoted
from shiftscope.files import UnfitFileError, read_regular
from shiftscope.reading import as_type
from shiftscope.reporting.formatting import MODEL_TITLES, model_title
from shiftscope.results import Audit, Evaluation, ParameterRow, Record, TrainResult
from shiftscope.runs import RunFolder, slug
from shiftscope.runs.records import StoredRecord, find_records, read_document, unfinished
from shiftscope.workflows.figure_shelf import Shelf
from shiftscope.workflows.record_figures import CLASS_NEURONS, PARAMETERS_FILE, SAMPLES, WEIGHTS
from shiftscope.workflows.shared_images import DIFFERING

KEPT = (("samples", "samples", SAMPLES), ("weights-", "weights", WEIGHTS), ("class-neurons-", "neurons", CLASS_NEURONS))
"""(beginning of the file's name, section, caption) of figures that no result suffices for."""

MOST_BYTES = 64 * 2**20
"""Size limit of a picture's file."""

PIXELS = 40_000_000
"""A picture of more is none of ours."""


@dataclass(frozen=True, kw_only=True)
class RunContents:
    """Results with what stands beside them."""

    stored: list[StoredRecord]
    dataset: dict[str, Any]
    environment: dict[str, Any]
    notes: list[str]
    parameters: dict[str, list[ParameterRow]] = field(default_factory=dict)
    """Tables of parameters, by the name of their model."""
    kept: list[tuple[str, str, Path]] = field(default_factory=list)
    """(model or "", file's name, file) of figures that are taken as they are."""

    def put_pictures(self, shelf: Shelf) -> None:
        """Put pictures and tables of parameters on a shelf.

        Raises:
            CheckpointError: a picture is damaged.
        """
        for model, name, path in self.kept:
            section, caption = next((section, caption) for begin, section, caption in KEPT if name.startswith(begin))
            png, alt = read_png(path)
            shelf.put(section, name, png, alt, f"{model_title(model)}{caption}" if model else caption)
        shelf.parameters |= {model_title(model): rows for model, rows in self.parameters.items()}


def read_run(run: Path) -> RunContents:
    """Return what a folder holds.

    Raises:
        CheckpointError: nothing there, damaged, or from another version.
        UsageError: a file.
    """
    stored, folder = find_records(run), RunFolder(run)
    metrics, environment = read_document(folder.metrics), read_document(folder.environment)
    known = metrics.get("dataset") or environment.get("dataset") or {}
    if not isinstance(known, dict):
        raise CheckpointError(f"{folder.metrics} says that its dataset is {quoted(known)}: make it anew")
    models = list(dict.fromkeys(map(_model, stored)))
    paths = [path for path in sorted(folder.figures.glob("*.png")) if path.name.startswith(tuple(k[0] for k in KEPT))]
    kept = [(_model_of(path.stem, models), path.stem, path) for path in paths]
    kept.sort(key=lambda one: models.index(one[0]) if one[0] in models else -1)
    tables = dict(_parameters(run))
    return RunContents(stored=stored, dataset=known, environment=environment, notes=list(unfinished(run)), kept=kept,
                       parameters={model: tables[model] for model in (*models, *tables) if model in tables})


def _model_of(name: str, models: Iterable[str]) -> str:
    return next((model for model in models if model and name.endswith(f"-{slug(model)}")), "")


def _parameters(run: Path) -> Iterable[tuple[str, list[ParameterRow]]]:
    for path in sorted(run.rglob(PARAMETERS_FILE)):
        values = read_document(path)
        try:
            rows = as_type(values.get("parameters"), list[ParameterRow], "parameters")
        except UnfitFileError as error:
            raise CheckpointError(f"{path} holds no table of parameters ({error}): make it anew") from error
        yield str(values.get("model")), rows


def read_png(path: Path) -> tuple[bytes, str]:
    """Return a PNG file and its description.

    Raises:
        CheckpointError: no PNG file, damaged, or far too large.
    """
    try:
        data = read_regular(path, MOST_BYTES)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            if picture.width * picture.height > PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            picture.load()
            return data, str(picture.info.get("Description", ""))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CheckpointError(f"the picture {path} cannot be read ({error}): remove it, and the report goes without "
                              "it") from error


def merged(runs: Sequence[RunContents]) -> RunContents:
    """Return runs as one: a folder given twice counts once, and models of the same name are told apart.

    Trainings that differ in nothing but their seeds remain seeds of one model.
    """
    different = list({run.stored[0].run.resolve(): run for run in runs}.values())
    notes = [note for run in different for note in run.notes]
    if len(different) < len(runs):
        notes.append("A folder that was given twice counts once.")
    labels = _labels([run.stored[0].run for run in different])
    different, same = _without_copies(different)
    clashes = _clashes(different, same)
    named = [_renamed(run, {model: f"{MODEL_TITLES.get(model, model)} ({label})" for model in clashes})
             for run, label in zip(different, labels, strict=True)]
    environment = named[0].environment if len(named) == 1 else {
        label: run.environment for label, run in zip(labels, named, strict=True) if run.environment}
    return RunContents(
        stored=[one for run in named for one in run.stored], dataset=next((r.dataset for r in named if r.dataset), {}),
        environment=environment, notes=notes, kept=_once([one for run in named for one in run.kept]),
        parameters={model: rows for run in reversed(named) for model, rows in run.parameters.items()})


def _without_copies(runs: Sequence[RunContents]) -> tuple[list[RunContents], set[tuple[int, str]]]:
    """Leave out what an earlier folder holds as well: a repaired model's run also holds the audit of the model before.

    Returns:
        The runs, and (place of the run, name) of the models that were recognized by it.
    """
    found: list[RunContents] = []
    same: set[tuple[int, str]] = set()
    for place, run in enumerate(runs):
        known = [one.record for earlier in found for one in earlier.stored]
        copies = [one for one in run.stored if any(is_copy(one.record, record) for record in known)]
        same |= {(place, _model(one)) for one in copies}
        found.append(replace(run, stored=[one for one in run.stored if not any(one is copy for copy in copies)]))
    return found, same


def is_copy(a: Record, b: Record) -> bool:
    """Return whether two audits, or two evaluations, are of one and the same model: they say the same of all images
    that both are about."""
    if isinstance(a, Audit) and isinstance(b, Audit):
        count, same = min(a.images, b.images), ("model", "trained", "dataset", "split", "placement", "class_names")
        return _equal(a, b, same, ("offsets",)) and bool((a.predictions[:count] != b.predictions[:count]).mean() <= DIFFERING)
    if isinstance(a, Evaluation) and isinstance(b, Evaluation):
        return _equal(a, b, ("model", "trained", "dataset", "split"), ("offsets", "predictions", "predictions_centered"))
    return False


def _equal(a: Record, b: Record, values: Sequence[str], arrays: Sequence[str]) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in values) and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


def _once(kept: Sequence[tuple[str, str, Path]]) -> list[tuple[str, str, Path]]:
    """One picture of a model: seeds that lie in different runs have one each."""
    first = {(model, name): path for model, name, path in reversed(kept)}
    return [(model, name, path) for (model, name), path in reversed(first.items())]


def _labels(folders: Sequence[Path]) -> list[str]:
    """Return the shortest names that tell folders apart: the last parts of their paths.

    >>> _labels([Path("/a/run"), Path("/b/run"), Path("/c/other")])
    ['a/run', 'b/run', 'c/other']
    """
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _clashes(runs: Sequence[RunContents], same: set[tuple[int, str]]) -> list[str]:
    """Return the names that mean different models in different runs; `same` are known to be the same."""
    several = Counter(model for place, run in enumerate(runs) for model in {_model(one) for one in run.stored}
                      if (place, model) not in same)
    return [model for model, count in several.items() if model and count > 1 and not _are_seeds(model, runs)]


def _model(stored: StoredRecord) -> str:
    return str(getattr(stored.record, "model", ""))


def _are_seeds(model: str, runs: Sequence[RunContents]) -> bool:
    """Whether what runs call by one name are trainings that differ in nothing but their seeds."""
    made = [_trainings(model, run) for run in runs if any(_model(one) == model for one in run.stored)]
    recipes = [{key: _recipe(result) for key, result in run.items()} for run in made]
    seeds = Counter(key for run in made for key in run)
    return all(made) and max(seeds.values()) == 1 and all(
        recipes[0][a] == other[b] for other in recipes[1:] for a in recipes[0] for b in other if a[0] == b[0])


def _trainings(model: str, run: RunContents) -> dict[tuple[str, int], TrainResult]:
    return {(one.record.trained, one.record.seed): one.record for one in run.stored
            if isinstance(one.record, TrainResult) and one.record.model == model}


def _recipe(result: TrainResult) -> tuple[Any, ...]:
    settings = {key: value for key, value in result.settings.items() if key not in ("seed", "max_time")}
    return result.dataset, result.epochs, result.train_images, result.parameters, result.placement, settings


def _renamed(run: RunContents, names: dict[str, str]) -> RunContents:
    return replace(
        run, stored=[replace(one, record=_with_name(one.record, names)) for one in run.stored],
        parameters={names.get(model, model): rows for model, rows in run.parameters.items()},
        kept=[(names.get(model, model), name if model not in names else name.replace(slug(model), slug(names[model])),
               path) for model, name, path in run.kept])


def _with_name(record: Record, names: dict[str, str]) -> Record:
    model = getattr(record, "model", None)
    known = {part.name for part in fields(record)}
    return replace(record, **{"model": names[model]}) if model in names and "model" in known else record

