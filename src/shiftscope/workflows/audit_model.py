"""`shiftscope audit`: all placements of one classifier, or of two to compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.auditing import audit, compare, equivariance
from shiftscope.data import Dataset, read_class_map
from shiftscope.data.class_map import ClassMap
from shiftscope.errors import Interrupted, ShiftscopeError, ThresholdError, UsageError
from shiftscope.models.adapt import Normalization
from shiftscope.progress import Progress
from shiftscope.reporting import audit_figures, save_figure
from shiftscope.reporting.audit_figures import audit_figure_names
from shiftscope.results import Audit, Equivariance
from shiftscope.results.image_table import write_csv
from shiftscope.runs.claim import IMAGES
from shiftscope.runs.outputs import figure_files, new_files, record_files, require_new, require_new_table
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.load_inputs import ModelWithData, check_model_source, open_model

COMPARISON = "comparison.json"

METRICS = {"mean": "mean_accuracy", "worst": "worst_case_accuracy", "consistency": "consistency",
           "unanimity": "unanimity"}
"""Metrics that a threshold may name, with the field of the audit."""


def audit_model(source: str, overrides: dict[str, Any], *, against: str | None = None, out: Path | None = None,
                csv: Path | None = None, overwrite: bool = False, device: str = "auto", allow_code: str | None = None,
                normalize: Normalization | None = None, weights: Path | None = None, max_shift: int | None = None,
                step: int = 1, class_map: Path | None = None, minimum: Mapping[str, float] | None = None,
                progress: Progress, **options: Any) -> dict[str, Any]:
    """Audit a classifier; with `against`, audit another one on the same images and compare the two.

    Args:
        source: checkpoint or run folder, package.module:object, or an ONNX file; `against` likewise.
        weights: file with the state_dict of `source`, see `load_weights`.
        overrides: fields of `DataSettings` that the user set.
        out: folder for records, figures and `images.csv`; records of `against` are in its subfolder "against".
        csv: file for the table of all images, of both models; also written if stopped by a signal.
        max_shift, step: which placements, see `Placement`.
        class_map: file that names the output of each class, see `read_class_map`.
        minimum: metrics of `check_thresholds`; those of accuracy are refused for images without labels.
        options: further arguments of `audit`: engine, split, sample, seed, expected, output_type.

    Returns:
        {"audit": Audit, "against": Audit or None, "comparison": dict or None}.

    Raises:
        UsageError, OutputError: if a file in `out` exists, or `out` cannot be written; raised first.
        Interrupted: if stopped by a signal; the audit so far is in `out` and marked partial.
        CheckpointError, DataError, UsageError: see `open_model` and `audit`.
    """
    if out is not None:
        require_new(out, _record_files(against is not None), overwrite=overwrite)
    if csv is not None:
        require_new_table(csv, overwrite=overwrite)
    sources = ((source, weights), *(((against, None),) if against else ()))
    for name, file in sources:
        check_model_source(name, file)
    classes = None if class_map is None else read_class_map(class_map)
    models = [open_model(name, overrides, device=device, allow_code=allow_code, normalize=normalize, weights=file,
                         class_map=classes, progress=progress) for name, file in sources]
    for model in models:
        _check_labels(model.data, minimum or {})
    figures = figure_files(*audit_figure_names([(model.name, model.trained) for model in models]))
    audits: list[Audit] = []
    profiles: list[Equivariance] = []
    stop = StopFlag()
    with new_files(out, figures, overwrite=overwrite), stop.listening():
        for model in models:
            placement = model.placement.narrowed(max_shift=max_shift, step=step)
            audits.append(audit(model.model, model.data, placement=placement, validation=model.validation,
                                name=model.name, trained=model.trained, class_map=_remaining(classes, model),
                                output_names=model.data.class_names if model.mapped else None, stop=stop,
                                progress=progress, **options))
            if stop:
                break
            if out is not None:
                profiles += _profile(model, progress)
        comparison = compare(*audits) if len(audits) == 2 and not stop else None
        if out is not None:
            progress.note("drawing figures")
            _save(audits, profiles, comparison, out)
    if csv is not None:
        write_csv(audits, csv)
    if stop:
        kept = f"the results so far are in {out}, marked partial" if out else "use --out to keep results"
        raise Interrupted(f"interrupted after {audits[-1].images:,} images; {kept}", stop.exit_code)
    return {"audit": audits[0], "against": audits[1] if against else None, "comparison": comparison}


def _profile(model: ModelWithData, progress: Progress) -> list[Equivariance]:
    """Return the equivariance of each layer; empty, with a note, if it cannot be measured."""
    try:
        return [equivariance(model.model, model.data, placement=model.placement, name=model.name, progress=progress)]
    except ShiftscopeError as error:
        progress.note(f"no layer profile of {model.name}: {error}")
        return []


def _record_files(against: bool) -> list[str]:
    folders = (".", "against") if against else (".",)
    return [*record_files(*folders, *(f"{folder}/equivariance" for folder in folders)), IMAGES,
            *([COMPARISON] if against else [])]


def _save(audits: list[Audit], profiles: list[Equivariance], comparison: dict[str, Any] | None, out: Path) -> None:
    folders = (out, out / "against")
    for result, folder in zip(audits, folders, strict=False):
        result.save(folder)
    for profile, folder in zip(profiles, folders, strict=False):
        profile.save(folder / "equivariance")
    write_csv(audits, out / IMAGES)
    for name, figure, _ in audit_figures(audits, profiles):
        save_figure(figure, out, name)
    if comparison is not None:
        files.write_json(out / COMPARISON, comparison)


def _remaining(class_map: ClassMap | None, model: ModelWithData) -> ClassMap | None:
    return None if model.mapped else class_map


def _check_labels(data: Dataset, minimum: Mapping[str, float]) -> None:
    """Raise a `UsageError` if a metric needs labels that the images do not have."""
    needed = [name for name in minimum if name in ("mean", "worst")]
    if needed and not data.labeled:
        raise UsageError(f"--fail-under {needed[0]}={minimum[needed[0]]:g} needs labels, and the images of {data.name} "
                         "have none: use consistency or unanimity, or sort the images into one folder per class")


def check_thresholds(result: Audit, minimum: Mapping[str, float]) -> None:
    """Raise a `ThresholdError` that names each metric (mean, worst, consistency, unanimity) below its minimum."""
    below = [f"{name} {getattr(result, METRICS[name]):.4f} is below {least:g}"
             for name, least in minimum.items() if getattr(result, METRICS[name]) < least]
    if below:
        raise ThresholdError(f"{result.model} does not pass: {', '.join(below)}")
