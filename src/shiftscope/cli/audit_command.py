"""`shiftscope audit`."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import (
    MODEL,
    ONE_PROCESS,
    OUTPUT,
    OVERRIDES,
    RESULTS,
    Budget,
    DataOverrides,
    Image,
    ModelFlags,
    OutputFlags,
    OutputType,
    ProcessFlags,
    Result,
    Switch,
    parse_thresholds,
)
from shiftscope.errors import UsageError
from shiftscope.settings import Fill, Mode

if TYPE_CHECKING:
    from shiftscope.results import Audit, WorstCase

_FIGURES = (("mean accuracy", "mean_accuracy"), ("worst-case accuracy", "worst_case_accuracy"),
            ("top-5 accuracy", "top5_accuracy"), ("consistency", "consistency"), ("unanimity", "unanimity"),
            ("accuracy when centered", "middle_accuracy"))
_LISTED = 5  # images in the table of the least stable ones

Thresholds = Parameter(converter=parse_thresholds, n_tokens=1, metavar="FRACTIONS", group=RESULTS)


def audit(model: str, /, *, data: DataOverrides = OVERRIDES, output: OutputFlags = OUTPUT,
          processes: ProcessFlags = ONE_PROCESS, loading: ModelFlags = MODEL,
          mode: Annotated[Mode | None, Image] = None, fill: Annotated[Fill | None, Image] = None,
          protocol: Annotated[str | None, Image] = None,
          max_shift: Annotated[int | None, Image] = None, step: Annotated[int, Image] = 1,
          sample: Annotated[int | None, Image] = None, budget: Annotated[float | None, Budget] = None,
          split: Annotated[Literal["test", "train", "validation"], Image] = "test",
          class_map: Annotated[Path | None, Image] = None,
          engine: Annotated[Literal["auto", "dense", "brute"], Result] = "auto",
          only: Annotated[Literal["worst-case"] | None, Result] = None,
          against: Annotated[str | None, Result] = None,
          fail_under: Annotated[dict[str, float] | None, Thresholds] = None,
          baseline: Annotated[Path | None, Result] = None,
          expected: Annotated[float | None, Result] = None,
          output_type: Annotated[OutputType | None, Result] = None, seed: Annotated[int, Result] = 0,
          out: Annotated[Path | None, Result] = None, csv: Annotated[Path | None, Result] = None,
          junit: Annotated[Path | None, Result] = None,
          resume: Annotated[bool, Switch, Result] = False,
          overwrite: Annotated[bool, Switch, Result] = False) -> None:
    """Evaluate a classifier on every image at every placement: accuracy by position, and consistency of predictions.

    Images without labels are enough for consistency, agreement with the middle placement, and margins.

    Args:
        model: Checkpoint folder, package.module:object for your own model, FILE.onnx, FILE.pt2 or FILE.pt with
            --trust-model-file, torchvision:NAME[@WEIGHTS], timm:NAME[@none] or hf:NAME.
        mode: How images are shifted: canvas, circular, crop or fill (default: as in the training).
        fill: Mode fill: constant (the background), edge or reflect (default: reflect for RGB images from 64 x 64
            pixels).
        protocol: Published evaluation, which sets resizing, crop, mode and placements: `shiftscope protocols` lists
            them with their published figures.
        max_shift: Only placements at most this many pixels from the middle (mode fill, default: an eighth of the
            image).
        step: Only every N-th placement, counted from the middle.
        sample: Only this many random placements; the results are then estimates.
        budget: Time for the audit (90s, 10m, 1.5h); if it would take longer, as many random placements as fit.
        split: Which images.
        class_map: JSON or CSV file that names the output of each class, if the model has more outputs than the dataset
            has classes (default: matched by names, WordNet ids or numbers).
        engine: dense: placements share operations; brute: each one separately; auto: dense if it is exact and faster.
        only: worst-case: only this metric; an image is left at its first error.
        against: Another model for the same images; both are shown side by side, with McNemar's test.
        fail_under: Exit with code 4 if a metric is lower, as in mean=0.9,worst=0.8 (also consistency, unanimity).
        baseline: Folder of an earlier audit of MODEL: exit with code 4 if a metric is significantly lower (level 5 %,
            paired by image).
        expected: Known accuracy on centered images; a much lower result gives a warning.
        output_type: Type of the model's outputs (default: determined from a batch of images).
        seed: Fixes the sample, and which predictions the self-check repeats.
        out: Folder for the result and the figures (default: none are written).
        csv: File for a table with one row per image: label, prediction, fraction correct, consistency, margin.
        junit: JUnit file with one test case per requirement, for continuous integration.
        resume: Continue the audit in --out that was interrupted or killed; model, images and settings must be the same.
        overwrite: Replace files of an earlier audit in --out, --csv and --junit.
    """
    from shiftscope.workflows.audit_model import audit_model, audit_worst_case
    from shiftscope.workflows.requirements import Requirements

    overrides = data.given() | {name: value for name, value in (("mode", mode), ("fill", fill)) if value}
    requirements = Requirements(minimum=fail_under or {}, baseline=baseline, junit=junit, overwrite=overwrite)
    if only is not None:
        require_alone({"baseline": baseline, "junit": junit, "sample": sample, "budget": budget, "against": against,
                       "csv": csv, "expected": expected, "resume": resume or None}, fail_under)
        with shown.clean_stdout(output.json):
            worst = audit_worst_case(model, overrides, out=out, overwrite=overwrite, protocol=protocol,
                                     max_shift=max_shift, step=step, engine=engine, split=split, seed=seed,
                                     output_type=output_type, class_map=class_map,
                                     progress=output.progress(), device=loading.device, loading=loading.options())
        show_worst_case(worst, out, json=output.json)
        requirements.apply(worst)
        return
    with shown.clean_stdout(output.json):
        found = audit_model(model, overrides, against=against, out=out, csv=csv, overwrite=overwrite,
                            resume=resume, protocol=protocol, max_shift=max_shift, step=step, engine=engine,
                            split=split, sample=sample, budget=budget, seed=seed, expected=expected,
                            output_type=output_type, class_map=class_map, requirements=requirements,
                            progress=output.progress(), device=loading.device, loading=loading.options())
    audits = [part for part in (found["audit"], found["against"]) if part is not None]
    if output.json:
        others = {"against": audit_document(audits[1]), "comparison": found["comparison"]} if len(audits) > 1 else {}
        shown.write_document(audit_document(audits[0]) | others)
    else:
        show_audits(audits)
        show_comparison(audits, found["comparison"])
        if out is not None:
            shown.write_path(out)
    requirements.apply(audits[0])


def require_alone(others: Mapping[str, object], fail_under: Mapping[str, float] | None) -> None:
    """Raise a `UsageError` if flags are given that --only worst-case does not allow."""
    given = [f"--{name}" for name, value in others.items() if value is not None]
    unknown = [name for name in fail_under or {} if name != "worst"]
    given += [f"--fail-under {name}" for name in unknown]
    if given:
        raise UsageError(f"--only worst-case must be given without {', '.join(given)}: it computes no other figure, "
                         "and at all placements; leave out one of them")


def show_worst_case(found: "WorstCase", out: Path | None, *, json: bool) -> None:
    """Print the worst-case accuracy with its interval, and what is unknown; or a document."""
    if json:
        shown.write_document(found.to_dict())
        return
    rows = [(title, _with_interval(found, name)) for title, name in (
        ("worst-case accuracy", "worst_case_accuracy"), ("accuracy when centered", "middle_accuracy"))]
    rows += [(title, "not computed") for title in ("mean accuracy", "consistency", "unanimity")]
    rows += [("engine", found.engine), ("seconds", f"{found.seconds:.1f}")]
    shown.write_table(("", found.model), rows, numbers=[found.model], title=(
        f"{found.images:,} {found.split} images of {found.dataset} at all {found.placements:,} placements, mode "
        f"{found.geometry.mode_label}, each left at its first error"))
    for note in (found.reason, *found.notes):
        shown.write_line(f"{found.model}: {note}")
    if out is not None:
        shown.write_path(out)


def audit_document(audit: "Audit") -> dict[str, Any]:
    """Return an audit as plain JSON; without labels all fields of accuracies are null."""
    unlabeled = {} if audit.labeled else dict.fromkeys(("accuracy_map", "per_class", "by_phase"))
    maps = {"accuracy_map": audit.accuracy_map.tolist(), "agreement_map": audit.agreement_map.tolist()}
    return audit.to_dict() | maps | unlabeled


def show_audits(audits: "Sequence[Audit]") -> None:
    """Print one column per model: the metrics with their intervals, and how they were computed."""
    first = audits[0]
    every = f"all {first.placements:,} placements" if first.placements > 1 else "the only placement"
    which = f"{first.placements:,} sampled placements" if first.sampled else every
    most = first.geometry.max_shift
    limit = "" if most is None else f", at most {most} pixels from the middle"
    rows = [(title, *(_with_interval(audit, name) for audit in audits)) for title, name in _FIGURES
            if any(math.isfinite(getattr(audit, name)) for audit in audits)]
    rows.append(("engine", *(audit.engine for audit in audits)))
    rows.append(("seconds", *(f"{audit.seconds:.1f}" for audit in audits)))
    columns = [audit.model for audit in audits]
    shown.write_table(("", *columns), rows, numbers=columns,
                      title=f"{first.images:,} {first.split} images of {first.dataset} at {which}, mode "
                            f"{first.geometry.mode_label}{limit}")
    show_published(audits)
    for audit in audits:
        show_least_stable(audit)
    for audit in audits:
        for note in (audit.reason, *audit.notes):
            shown.write_line(f"{audit.model}: {note}")


def show_published(audits: "Sequence[Audit]") -> None:
    """Print the published figures of the protocol below those of the audits, if there is one."""
    from shiftscope.reporting.protocol_table import protocol_tables

    for table in protocol_tables(audits):
        shown.write_table(table.columns, [(row.model, row.origin, *row.cells) for row in table.rows],
                          numbers=table.columns[2:], title=f"{table.title}: {table.definition}")
        where = f", on the {table.published_on}" if table.published_on else ""
        shown.write_line(f"Source: {table.source}{where}")


def show_least_stable(audit: "Audit") -> None:
    """Print the images with the lowest consistency, if the images are files or have no labels."""
    from shiftscope.reporting.formatting import image_title

    rows = audit.table()
    unstable = [index for index in audit.least_stable()[:_LISTED].tolist() if rows["consistency"][index] < 1]
    if not unstable or (audit.labeled and not audit.image_names):
        return
    columns = ("image", "prediction", "consistency", "margin", "confidence")
    lines = [(image_title(audit.image_names, index), str(rows["prediction"][index]),
              shown.percent(float(rows["consistency"][index])),
              f"{rows['smallest_top_margin'][index]:.3g} to {rows['largest_top_margin'][index]:.3g}",
              f"{rows['lowest_confidence'][index]:.3f} to {rows['highest_confidence'][index]:.3f}")
             for index in unstable]
    shown.write_table(columns, lines, numbers=columns[2:], title=f"least stable images ({audit.model})")


def _with_interval(audit: "Audit | WorstCase", name: str) -> str:
    if name not in audit.intervals or not math.isfinite(getattr(audit, name)):
        return shown.percent(getattr(audit, name)) if math.isfinite(getattr(audit, name)) else "-"
    low, high = audit.intervals[name]
    return f"{shown.percent(getattr(audit, name))} ({100 * low:.1f} to {100 * high:.1f})"


def show_comparison(audits: "Sequence[Audit]", comparison: dict[str, Any] | None) -> None:
    """Print the number of images that only one of the two models classifies correctly, with McNemar's test."""
    if comparison is None:
        return
    names = {"middle": "correct when centered", "worst_case": "correct at every placement",
             "unanimity": "one label at all placements"}
    rows = [(title, str(comparison[key]["only_a"]), str(comparison[key]["only_b"]), f"{comparison[key]['p_value']:.2g}")
            for key, title in names.items() if comparison[key] is not None]
    columns = (f"only {audits[0].model}", f"only {audits[1].model}", "p (McNemar)")
    shown.write_table(("images", *columns), rows, numbers=columns)
