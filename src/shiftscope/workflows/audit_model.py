"""`shiftscope audit`: every placement of one classifier, or of two side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shiftscope import files
from shiftscope.auditing import audit, compare, equivariance
from shiftscope.errors import Interrupted, ShiftscopeError, ThresholdError
from shiftscope.models.adapt import Normalization
from shiftscope.progress import Progress
from shiftscope.reporting import audit_figures, save_figure
from shiftscope.reporting.audit_figures import audit_figure_names
from shiftscope.results import Audit, Equivariance
from shiftscope.runs.outputs import figure_files, new_files, record_files, require_new
from shiftscope.training.stopping import StopFlag
from shiftscope.workflows.subjects import Subject, check_subject, open_subject

COMPARISON = "comparison.json"

FIGURES = {"mean": "mean_accuracy", "worst": "worst_case_accuracy", "consistency": "consistency",
           "unanimity": "unanimity"}
"""What a threshold may name, and the field of the audit that it looks at."""


def audit_model(what: str, overrides: dict[str, Any], *, against: str | None = None, out: Path | None = None,
                overwrite: bool = False, device: str = "auto", allow_code: str | None = None,
                normalize: Normalization | None = None, max_shift: int | None = None, step: int = 1,
                progress: Progress, **options: Any) -> dict[str, Any]:
    """Audit a classifier and, where `against` names another, that one on the same images, and compare the two.

    Args:
        what: checkpoint or run folder, package.module:object, or an ONNX file; `against` likewise.
        overrides: fields of `DataSettings` that were given.
        out: folder for records and figures; those of `against` lie in its subfolder "against".
        overwrite: replace files that are there.
        max_shift, step: which placements, see `Placement`.
        options: further arguments of `audit`: engine, split, sample, seed, expected, output_type.

    Returns:
        {"audit": Audit, "against": Audit or None, "comparison": dict or None}.

    Raises:
        UsageError, OutputError: a file in `out` exists, or `out` cannot be written; raised before anything is audited.
        Interrupted: stopped by a signal; what was audited is in `out` and marked partial.
        CheckpointError, DataError, UsageError: see `open_subject` and `audit`.
    """
    if out is not None:
        require_new(out, _records(against is not None), overwrite=overwrite)
    names = (what, against) if against else (what,)
    for name in names:
        check_subject(name)
    subjects = [open_subject(name, overrides, device=device, allow_code=allow_code, normalize=normalize,
                             progress=progress) for name in names]
    figures = figure_files(*audit_figure_names([(subject.name, subject.trained) for subject in subjects]))
    found: list[Audit] = []
    profiles: list[Equivariance] = []
    stop = StopFlag()
    with new_files(out, figures, overwrite=overwrite), stop.listening():
        for subject in subjects:
            placement = subject.placement.narrowed(max_shift=max_shift, step=step)
            found.append(audit(subject.model, subject.data, placement=placement, validation=subject.validation,
                               name=subject.name, trained=subject.trained, stop=stop, progress=progress, **options))
            if stop:
                break
            if out is not None:
                profiles += _profile(subject, progress)
        comparison = compare(*found) if len(found) == 2 and not stop else None
        if out is not None:
            _save(found, profiles, comparison, out)
    if stop:
        where = f"what was audited until then lies in {out}, marked partial" if out else "give --out to keep it"
        raise Interrupted(f"interrupted after {found[-1].images:,} images; {where}", stop.exit_code)
    return {"audit": found[0], "against": found[1] if against else None, "comparison": comparison}


def _profile(subject: Subject, progress: Progress) -> list[Equivariance]:
    """Return how far each layer commutes with shifts; nothing, with a note, where that cannot be measured."""
    try:
        return [equivariance(subject.model, subject.data, placement=subject.placement, name=subject.name,
                             progress=progress)]
    except ShiftscopeError as error:
        progress.note(f"no profile of the layers of {subject.name}: {error}")
        return []


def _records(against: bool) -> list[str]:
    folders = (".", "against") if against else (".",)
    return [*record_files(*folders, *(f"{folder}/equivariance" for folder in folders)),
            *([COMPARISON] if against else [])]


def _save(found: list[Audit], profiles: list[Equivariance], comparison: dict[str, Any] | None, out: Path) -> None:
    folders = (out, out / "against")
    for result, folder in zip(found, folders, strict=False):
        result.save(folder)
    for profile, folder in zip(profiles, folders, strict=False):
        profile.save(folder / "equivariance")
    for name, figure, _ in audit_figures(found, profiles):
        save_figure(figure, out, name)
    if comparison is not None:
        files.write_json(out / COMPARISON, comparison)


def check_thresholds(result: Audit, least: Mapping[str, float]) -> None:
    """Raise a `ThresholdError` that names every figure of an audit which lies below what `least` demands.

    Args:
        least: share by name: mean, worst, consistency, unanimity.
    """
    below = [f"{name} {getattr(result, FIGURES[name]):.4f} is below {share:g}"
             for name, share in least.items() if getattr(result, FIGURES[name]) < share]
    if below:
        raise ThresholdError(f"{result.model} does not pass: {', '.join(below)}")
