"""`shiftscope repair`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.audit_command import audit_document, show_audits, show_comparison
from shiftscope.cli.flags import (
    OUTPUT,
    OVERRIDES,
    RESULTS,
    DataOverrides,
    FolderFlags,
    OutputFlags,
    OutputType,
    Result,
    Training,
    size_parser,
)

if TYPE_CHECKING:
    from shiftscope.workflows.repair_checkpoint import RepairOptions, RepairResult

Method = Literal["blur", "polyphase", "phase-average", "placement-average", "recenter"]
Stride = Parameter(converter=size_parser("stride"), n_tokens=1, metavar="STRIDE", group=RESULTS)


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class RepairFolder(FolderFlags):
    """Device and folder of a repair."""

    out: Path | None = None
    """Folder for the repaired checkpoint, the audits and the figures (default: shiftscope-repair/MODEL-METHOD)."""


FOLDER = RepairFolder()


def repair(checkpoint: Path, /, *, method: Method, data: DataOverrides = OVERRIDES, folder: RepairFolder = FOLDER,
           output: OutputFlags = OUTPUT, finetune: Annotated[int, Training] = 0,
           learning_rate: Annotated[float | None, Training] = None, seed: Annotated[int, Training] = 0,
           head: Annotated[Literal["mean", "keep"], Result] = "mean",
           stride: Annotated[tuple[int, int] | None, Stride] = None, images: Annotated[int | None, Result] = None,
           engine: Annotated[Literal["auto", "dense", "brute"], Result] = "auto",
           output_type: Annotated[OutputType | None, Result] = None,
           allow_code: Annotated[str | None, Result] = None,
           command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Make a trained model less sensitive to position, or invariant, and audit it before and after.

    Its weights are kept. blur and polyphase change its strided layers; the averages and recenter do not change it.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        method: blur: low-pass filter before each stride. polyphase: circular padding, and strides that start where the
            map is largest. phase-average: mean of the probabilities over all shifts below the total stride.
            placement-average: mean over all placements. recenter: move the object to the middle first. The last lines
            of the output give the measurements, and whether the result is proven to be invariant.
        finetune: Epochs of training after the repair.
        learning_rate: For the fine-tuning (default: that of the training with polyphase, a third of it otherwise).
        seed: Fixes the order of images, placements and dropout of the fine-tuning.
        head: With polyphase, for a layer that depends on positions: mean: its input becomes the mean over all
            positions; keep: it is unchanged, and predictions still depend on position.
        stride: With phase-average, the total stride of the model, 4, or 4x2 for down and right (default: derived from
            its operations and measured).
        images: Audit the first N test images only (default: all).
        engine: dense: placements share operations; brute: each one separately; auto: dense if it is exact and faster.
        output_type: Type of the model's outputs, for the averages (default: determined).
        allow_code: For a checkpoint of your own code: its model as package.module:object, which is imported.
    """
    from shiftscope.runs import find_checkpoint, slug
    from shiftscope.workflows.load_inputs import require_checkpoint
    from shiftscope.workflows.repair_checkpoint import RepairOptions, repair_checkpoint

    options = RepairOptions(method=method, finetune=finetune, head=head, learning_rate=learning_rate, images=images,
                            seed=seed, engine=engine, stride=stride, output_type=output_type)
    require_checkpoint(checkpoint, "repair", "use shiftscope.models.repair.repair(load_model(SOURCE), ...) in Python")
    source = find_checkpoint(checkpoint)
    out = folder.out or Path("shiftscope-repair") / slug(f"{source.resolve().name}-{method}")
    with shown.clean_stdout(output.json):
        found = repair_checkpoint(source, data.given(), options, out=out, device=folder.device, allow_code=allow_code,
                                  resume=folder.resume, overwrite=folder.overwrite, command=command,
                                  progress=output.progress())
    if output.json:
        shown.write_result(_document(found, options))
        return
    show_audits([found.before, found.after])
    show_comparison([found.before, found.after], found.comparison)
    for note in found.notes:
        shown.write_line(f"{found.after.model}: {note}")
    shown.write_path(found.checkpoint)


def _document(found: "RepairResult", options: "RepairOptions") -> dict[str, Any]:
    return {"method": options.method, "head": options.head, "stride": options.stride, "finetune": options.finetune,
            "notes": found.notes, "checkpoint": str(found.checkpoint), "before": audit_document(found.before),
            "after": audit_document(found.after), "comparison": found.comparison,
            "training": found.training.to_dict() if found.training is not None else None}
