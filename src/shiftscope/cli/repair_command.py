"""`shiftscope repair`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.audit_command import show_audits, show_comparison
from shiftscope.cli.flags import (
    OUTPUT,
    OVERRIDES,
    RESULTS,
    TRAINING,
    DataOverrides,
    OutputFlags,
    OutputType,
    parse_stride,
)
from shiftscope.cli.train_command import FolderFlags
from shiftscope.progress import default_progress

if TYPE_CHECKING:
    from shiftscope.results import Audit
    from shiftscope.workflows.repair_checkpoint import RepairOptions, RepairResult

Shown = Parameter(group=RESULTS)
Training = Parameter(group=TRAINING)
Stride = Parameter(converter=parse_stride, n_tokens=1, metavar="STRIDE", group=RESULTS)


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class RepairFolder(FolderFlags):
    """Where the repaired model and the audits go."""

    out: Path | None = None
    """Folder for the repaired checkpoint, the audits and the figures (default: shiftscope-repair/MODEL-HOW)."""


FOLDER = RepairFolder()


def repair(checkpoint: Path, /, *, method: Literal["blur", "polyphase", "phase-average", "placement-average", "recenter"],
         data: DataOverrides = OVERRIDES, folder: RepairFolder = FOLDER, output: OutputFlags = OUTPUT,
         finetune: Annotated[int, Training] = 0, learning_rate: Annotated[float | None, Training] = None,
         seed: Annotated[int, Training] = 0, head: Annotated[Literal["mean", "keep"], Shown] = "mean",
         stride: Annotated[tuple[int, int] | None, Stride] = None, images: Annotated[int | None, Shown] = None,
         engine: Annotated[Literal["auto", "dense", "brute"], Shown] = "auto",
         output_type: Annotated[OutputType | None, Shown] = None,
         allow_code: Annotated[str | None, Shown] = None,
         command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Make a trained model care less where the object is, or not at all, and audit it before and after.

    Its weights are kept. blur and polyphase change its strided layers; the averages and recenter leave it whole.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        how: blur: before each step of a strided layer. polyphase: circular padding, and steps that begin where the map
            is strongest. phase-average: mean of the predicted probabilities for all shifts below the total stride.
            placement-average: mean for all placements. recenter: move the object to the middle first. The last lines
            of the output say what was measured, and whether the result is proven to be invariant.
        finetune: Epochs of training after the repair.
        learning_rate: Of the fine-tuning (default: as it was trained with polyphase, a third of that otherwise).
        seed: Fixes the order of images, placements and dropout of the fine-tuning.
        head: With polyphase, what becomes of a layer that reads positions: mean: it is shown the mean over all places;
            keep: it stays, and predictions still depend on position.
        stride: With phase-average, the total stride of the model, 4, or 4x2 for down and right (default: read from its
            operations and measured).
        images: Audit the first N test images only (default: all).
        engine: dense: one pass for all placements; brute: every placement by itself; auto: dense where it is exact.
        output_type: What the model returns, for the averages (default: determined).
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.runs import find_checkpoint, slug
    from shiftscope.workflows.repair_checkpoint import RepairOptions, repair_checkpoint

    options = RepairOptions(method=method, finetune=finetune, head=head, learning_rate=learning_rate, images=images, seed=seed,
                          engine=engine, stride=stride, output_type=output_type)
    source = find_checkpoint(checkpoint)
    out = folder.out or Path("shiftscope-repair") / slug(f"{source.resolve().name}-{method}")
    with shown.clean_stdout(output.json):
        found = repair_checkpoint(source, data.given(), options, out=out, device=folder.device, allow_code=allow_code,
                                resume=folder.resume, overwrite=folder.overwrite, command=command,
                                progress=default_progress(quiet=output.quiet))
    if output.json:
        shown.write_document(_document(found, options))
        return
    for note in found.notes:
        shown.write_line(f"{found.after.model}: {note}")
    audits = [found.before, found.after]
    show_audits(audits)
    show_comparison(audits, found.comparison)
    for note in found.notes:
        shown.write_line(f"{found.after.model}: {note}")
    shown.write_path(found.checkpoint)


def _document(found: "RepairResult", options: "RepairOptions") -> dict[str, Any]:
    return {"schema_version": found.before.to_dict()["schema_version"], "method": options.method, "head": options.head,
            "stride": options.stride, "finetune": options.finetune, "notes": found.notes,
            "checkpoint": str(found.checkpoint),
            "before": _figures(found.before), "after": _figures(found.after), "comparison": found.comparison,
            "training": found.training.to_dict() if found.training is not None else None}


def _figures(audit: "Audit") -> dict[str, Any]:
    return audit.to_dict() | {"accuracy_map": audit.accuracy_map.tolist()}
