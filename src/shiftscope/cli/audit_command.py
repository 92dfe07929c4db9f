"""`shiftscope audit`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import (
    IMAGES,
    ONE_PROCESS,
    OUTPUT,
    OVERRIDES,
    RESULTS,
    DataOverrides,
    OutputFlags,
    OutputType,
    ProcessFlags,
    Switch,
    parse_normalize,
    parse_thresholds,
)
from shiftscope.progress import default_progress
from shiftscope.settings import Mode

if TYPE_CHECKING:
    from shiftscope.results import Audit

Shown = Parameter(group=RESULTS)
Images = Parameter(group=IMAGES)
Thresholds = Parameter(converter=parse_thresholds, n_tokens=1, metavar="SHARES", group=RESULTS)
Normalize = Parameter(converter=parse_normalize, n_tokens=1, metavar="MEAN/STD", group=IMAGES)


def audit(model: str, /, *, data: DataOverrides = OVERRIDES, output: OutputFlags = OUTPUT,
          processes: ProcessFlags = ONE_PROCESS,
          mode: Annotated[Mode | None, Images] = None, max_shift: Annotated[int | None, Images] = None,
          step: Annotated[int, Images] = 1, sample: Annotated[int | None, Images] = None,
          split: Annotated[Literal["test", "train", "validation"], Images] = "test",
          normalize: Annotated[tuple[tuple[float, ...], tuple[float, ...]] | None, Normalize] = None,
          engine: Annotated[Literal["auto", "dense", "brute"], Shown] = "auto",
          against: Annotated[str | None, Shown] = None,
          fail_under: Annotated[dict[str, float] | None, Thresholds] = None,
          expected: Annotated[float | None, Shown] = None,
          output_type: Annotated[OutputType | None, Shown] = None, seed: Annotated[int, Shown] = 0,
          device: Annotated[str, Shown] = "auto", out: Annotated[Path | None, Shown] = None,
          overwrite: Annotated[bool, Switch, Shown] = False, allow_code: Annotated[str | None, Shown] = None) -> None:
    """Ask a classifier about every image at every placement: where it is right, and how often it changes its mind.

    Args:
        model: Checkpoint folder, package.module:object of your own, or an ONNX file.
        mode: How images move: canvas, circular or crop (default: as the model was trained).
        max_shift: Keep placements at most this many pixels from the middle one.
        step: Keep every N-th placement, counted from the middle one.
        sample: Compute this many placements, chosen at random; no figure is then exact.
        split: Which images.
        normalize: What your own model wants its pixels normalized with, as in 0.5/0.5.
        engine: dense: one pass for all placements; brute: every placement by itself; auto: dense where it is exact.
        against: Another model for the same images: both are shown side by side, with McNemar's test.
        fail_under: Exit with code 4 if a figure is lower, as in mean=0.9,worst=0.8 (also consistency, unanimity).
        expected: Accuracy of centered images that you know the model for: a warning is given if it is far below.
        output_type: What the model returns (default: determined on a batch of images); for confidences.
        seed: Fixes what is sampled, and which answers are computed twice as a check.
        device: One of auto, cpu, cuda or mps.
        out: Folder for the result and the figures (default: none are written).
        overwrite: Replace files of an earlier audit in --out.
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.workflows.audit_model import audit_model, check_thresholds

    overrides = data.given() | ({"mode": mode} if mode else {})
    with shown.clean_stdout(output.json):
        found = audit_model(model, overrides, against=against, out=out, overwrite=overwrite, device=device,
                            allow_code=allow_code, normalize=normalize, max_shift=max_shift, step=step, engine=engine,
                            split=split, sample=sample, seed=seed, expected=expected, output_type=output_type,
                            progress=default_progress(quiet=output.quiet))
    audits = [part for part in (found["audit"], found["against"]) if part is not None]
    if output.json:
        shown.write_document(_document(*audits, comparison=found["comparison"]))
    else:
        show_audits(audits)
        show_comparison(audits, found["comparison"])
        if out is not None:
            shown.write_path(out)
    check_thresholds(audits[0], fail_under or {})


def _document(first: "Audit", *others: "Audit", comparison: dict[str, Any] | None) -> dict[str, Any]:
    """The first audit's figures; of another one and of the comparison under names of their own."""
    document = _figures(first)
    if others:
        document |= {"against": _figures(others[0]), "comparison": comparison}
    return document


def _figures(audit: "Audit") -> dict[str, Any]:
    return audit.to_dict() | {"accuracy_map": audit.accuracy_map.tolist()}


def show_audits(audits: "Sequence[Audit]") -> None:
    """Print a column a model: the figures with their intervals, and how they were computed."""
    first = audits[0]
    every = f"all {first.placements:,} placements" if first.placements > 1 else "the only placement"
    how = f"{first.placements:,} sampled placements" if first.sampled else every
    rows = [(title, *(_with_interval(audit, name) for audit in audits)) for title, name in (
        ("mean accuracy", "mean_accuracy"), ("worst-case accuracy", "worst_case_accuracy"),
        ("consistency", "consistency"), ("unanimity", "unanimity"), ("accuracy when centered", "middle_accuracy"))]
    rows.append(("engine", *(audit.engine for audit in audits)))
    rows.append(("seconds", *(f"{audit.seconds:.1f}" for audit in audits)))
    columns = [audit.model for audit in audits]
    shown.write_table(("", *columns), rows, numbers=columns,
                      title=f"{first.images:,} {first.split} images of {first.dataset} at {how} (mode {first.mode})")
    for audit in audits:
        for note in (audit.reason, *audit.notes):
            shown.write_line(f"{audit.model}: {note}")


def _with_interval(audit: "Audit", name: str) -> str:
    low, high = audit.intervals[name]
    return f"{shown.percent(getattr(audit, name))} ({100 * low:.1f} to {100 * high:.1f})"


def show_comparison(audits: "Sequence[Audit]", comparison: dict[str, Any] | None) -> None:
    """Print how many images only one of the two models gets right, and whether that may be chance."""
    if comparison is None:
        return
    names = {"middle": "centered", "worst_case": "right at every placement"}
    rows = [(title, str(comparison[key]["only_a"]), str(comparison[key]["only_b"]), f"{comparison[key]['p_value']:.2g}")
            for key, title in names.items()]
    columns = (f"only {audits[0].model}", f"only {audits[1].model}", "p (McNemar)")
    shown.write_table(("images right", *columns), rows, numbers=columns)
