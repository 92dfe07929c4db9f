"""Gather what a report shows, from the folders of finished runs."""

import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from shiftscope.data import dataset_catalog
from shiftscope.data.catalog import PUBLISHED
from shiftscope.errors import CheckpointError, DataError, quoted
from shiftscope.files import UnfitFileError, read_regular
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reading import as_type
from shiftscope.reporting.formatting import MODEL_TITLES
from shiftscope.resolve import is_object_name
from shiftscope.results import Audit, Evaluation, ParameterRow, Record, TrainResult
from shiftscope.runs import RunFolder
from shiftscope.runs.records import StoredRecord, find_records, read_document, unfinished
from shiftscope.workflows.load_inputs import ModelWithData, add_data, check_synthetic_count, open_checkpoint
from shiftscope.workflows.report.choose import MAX_DIFFERENT, LoadModel
from shiftscope.workflows.report.figures import STORED_FIGURES, StoredFigure

PARAMETERS_FILE = "parameters.json"
"""A model's table of parameters."""

MAX_PNG_BYTES = 64 * 2**20
MAX_PNG_PIXELS = 40_000_000


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """What a report shows."""

    records: Sequence[Record]
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """See `ReportData`; the records complete it."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    """Doubts about results."""
    remarks: Sequence[str] = ()
    """Other sentences about how the page was made."""
    parameters: Mapping[str, Sequence[ParameterRow]] = field(default_factory=dict)
    """Tables of parameters by model."""
    figures: Sequence[StoredFigure] = ()
    load_model: LoadModel | None = None


@dataclass(frozen=True, kw_only=True)
class RunContents:
    """The results of one run folder, or of several."""

    stored: list[StoredRecord]
    dataset: dict[str, Any]
    environment: dict[str, Any]
    notes: list[str]
    parameters: dict[str, list[ParameterRow]]
    figures: list[StoredFigure]
    remarks: list[str] = field(default_factory=list)


def gather_runs(folders: Sequence[Path], *, data_dir: Path | None = None, device: str = "auto",
                progress: Progress) -> ReportContents:
    """Read run folders and combine their results; see `read_run` for errors."""
    runs = merged([read_run(folder) for folder in folders])
    sources = {id(one.record): one for one in runs.stored}
    return ReportContents(
        records=[one.record for one in runs.stored], dataset=runs.dataset, environment=runs.environment,
        notes=runs.notes, remarks=runs.remarks, parameters=runs.parameters, figures=runs.figures,
        load_model=lambda audit: load_stored_model(sources[id(audit)], data_dir, device, progress))


def read_run(run: Path) -> RunContents:
    """Read the results of a folder.

    Raises:
        CheckpointError: if there are none, or they are damaged or from another version.
        UsageError: if the folder is a file.
    """
    stored, folder = find_records(run), RunFolder(run)
    metrics, environment = read_document(folder.metrics), read_document(folder.environment)
    dataset = metrics.get("dataset") or environment.get("dataset") or {}
    if not isinstance(dataset, dict):
        raise CheckpointError(f"the dataset in {folder.metrics} must be an object, got {quoted(dataset)}: repeat the "
                              "run")
    models = list(dict.fromkeys(map(_model, stored)))
    tables = dict(_read_parameters(run))
    return RunContents(stored=stored, dataset=dataset, environment=environment, notes=list(unfinished(run)),
                       figures=list(_read_figures(folder.figures, models)),
                       parameters={model: tables[model] for model in (*models, *tables) if model in tables})


def _read_figures(folder: Path, models: Sequence[str]) -> Iterator[StoredFigure]:
    for kind in STORED_FIGURES:
        for model in ("",) if kind == "samples" else filter(None, models):
            figure = StoredFigure(kind=kind, model=model, png=b"", alt="")
            path = folder / f"{figure.name}.png"
            if path.exists():
                png, alt = read_png(path)
                yield replace(figure, png=png, alt=alt)


def _read_parameters(run: Path) -> Iterator[tuple[str, list[ParameterRow]]]:
    for path in sorted(run.rglob(PARAMETERS_FILE)):
        values = read_document(path)
        try:
            rows = as_type(values.get("parameters"), list[ParameterRow], "parameters")
        except UnfitFileError as error:
            raise CheckpointError(f"{path} does not hold a table of parameters ({error}): repeat the command that "
                                  "wrote it") from error
        yield str(values.get("model")), rows


def read_png(path: Path) -> tuple[bytes, str]:
    """Return the bytes and the description of a PNG file.

    Raises:
        CheckpointError: if it is not a PNG file, is damaged, or is too large.
    """
    try:
        data = read_regular(path, MAX_PNG_BYTES)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PNG_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            image.load()
            return data, str(image.info.get("Description", ""))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CheckpointError(f"the figure {path} cannot be read ({error}): remove it to get a report without "
                              "it") from error


def merged(runs: Sequence[RunContents]) -> RunContents:
    """Combine runs: a folder given twice counts once, and different models of the same name get different names.

    Trainings that differ only in their seeds remain seeds of one model.
    """
    different = list({run.stored[0].run.resolve(): run for run in runs}.values())
    notes = [note for run in different for note in run.notes]
    remarks = ["A folder that was given twice counts once."] if len(different) < len(runs) else []
    labels = _labels([run.stored[0].run for run in different])
    different, same = _without_copies(different)
    clashes = _clashes(different, same)
    named = [_renamed(run, {model: f"{MODEL_TITLES.get(model, model)} ({label})" for model in clashes})
             for run, label in zip(different, labels, strict=True)]
    environment = named[0].environment if len(named) == 1 else {
        label: run.environment for label, run in zip(labels, named, strict=True) if run.environment}
    figures: dict[str, StoredFigure] = {}
    for figure in (figure for run in named for figure in run.figures):
        figures.setdefault(figure.name, figure)  # seeds of one model in different folders have one each
    return RunContents(
        stored=[one for run in named for one in run.stored], dataset=next((r.dataset for r in named if r.dataset), {}),
        environment=environment, notes=notes, remarks=remarks, figures=list(figures.values()),
        parameters={model: rows for run in reversed(named) for model, rows in run.parameters.items()})


def _without_copies(runs: Sequence[RunContents]) -> tuple[list[RunContents], set[tuple[int, str]]]:
    """Omit results that an earlier folder also holds: a repair folder contains the audit of the original model.

    Returns:
        The runs, and (index of the run, model) of the models that have copies.
    """
    found: list[RunContents] = []
    same: set[tuple[int, str]] = set()
    for number, run in enumerate(runs):
        known = [one.record for earlier in found for one in earlier.stored]
        copies = [one for one in run.stored if any(is_copy(one.record, record) for record in known)]
        same |= {(number, _model(one)) for one in copies}
        found.append(replace(run, stored=[one for one in run.stored if not any(one is copy for copy in copies)]))
    return found, same


def is_copy(a: Record, b: Record) -> bool:
    """Return True if two audits or evaluations have the same predictions on the images that they share."""
    if isinstance(a, Audit) and isinstance(b, Audit):
        count, same = min(a.images, b.images), ("model", "trained", "dataset", "split", "placement", "class_names")
        return _equal(a, b, same, ("offsets",)) and bool(
            (a.predictions[:count] != b.predictions[:count]).mean() <= MAX_DIFFERENT)
    if isinstance(a, Evaluation) and isinstance(b, Evaluation):
        return _equal(a, b, ("model", "trained", "dataset", "split"),
                      ("offsets", "predictions", "predictions_centered"))
    return False


def _equal(a: Record, b: Record, values: Sequence[str], arrays: Sequence[str]) -> bool:
    return all(getattr(a, name) == getattr(b, name) for name in values) and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays)


def _labels(folders: Sequence[Path]) -> list[str]:
    """Return the shortest unique names of folders: the last parts of their paths.

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
    """Return the names of different models in different runs; the models in `same` are copies."""
    several = Counter(model for number, run in enumerate(runs) for model in {_model(one) for one in run.stored}
                      if (number, model) not in same)
    return [model for model, count in several.items() if model and count > 1 and not _are_seeds(model, runs)]


def _model(stored: StoredRecord) -> str:
    return str(getattr(stored.record, "model", ""))


def _are_seeds(model: str, runs: Sequence[RunContents]) -> bool:
    """Return True if the trainings of a model in all runs differ only in their seeds."""
    trainings = [_trainings(model, run) for run in runs if any(_model(one) == model for one in run.stored)]
    recipes = [{key: _recipe(result) for key, result in run.items()} for run in trainings]
    seeds = Counter(key for run in trainings for key in run)
    return all(trainings) and max(seeds.values()) == 1 and all(
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
        figures=[replace(figure, model=names.get(figure.model, figure.model)) for figure in run.figures])


def _with_name(record: Record, names: dict[str, str]) -> Record:
    model = getattr(record, "model", None)
    known = {part.name for part in fields(record)}
    return replace(record, **{"model": names[model]}) if model in names and "model" in known else record


def load_stored_model(stored: StoredRecord, data_dir: Path | None, device: str, progress: Progress) -> ModelWithData:
    """Load the model and the images of an audit in a run folder, without a download and without importing code.

    Raises:
        CheckpointError: if its checkpoint is not in the folder, is damaged, or needs code.
        DataError: if the images are not on this machine.
    """
    audit = stored.record
    if not isinstance(audit, Audit) or stored.job is None:
        raise CheckpointError(f"there is no checkpoint for {stored.folder}")
    run = RunFolder(stored.run)
    checkpoint = open_checkpoint(run.checkpoint(stored.job), device=device)
    dataset = _dataset_setting(read_document(run.environment)) or checkpoint.config.provenance.dataset or ""
    _check_local(dataset, data_dir)
    overrides = {"data": dataset} | ({} if data_dir is None else {"data_dir": data_dir})
    placement = Placement.of(audit.geometry, checkpoint.channels)
    return replace(add_data(checkpoint, overrides, progress), placement=placement)


def _dataset_setting(environment: dict[str, Any]) -> str | None:
    """Return the dataset setting of a run, for instance "npz:FILE": the dataset's own name may not include its path."""
    settings = environment.get("settings")
    data = settings.get("data") if isinstance(settings, dict) else None
    name = data.get("data") if isinstance(data, dict) else None
    return name if isinstance(name, str) else None


def _check_local(dataset: str, data_dir: Path | None) -> None:
    """Raise a `DataError` if the images would be downloaded or come from code."""
    check_synthetic_count(dataset)
    if is_object_name(dataset):
        raise DataError(f"the images come from code, {dataset}, which is not imported for a report")
    found = {entry["name"]: entry["found"] for entry in dataset_catalog(data_dir)}
    if dataset in PUBLISHED and found[dataset] is None:
        raise DataError(f"the files of {dataset} are not on this machine: name their folder with --data-dir")
