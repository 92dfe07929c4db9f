"""`shiftscope evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import (
    ONE_PROCESS,
    OUTPUT,
    OVERRIDES,
    RESULTS,
    DataOverrides,
    OutputFlags,
    OutputType,
    ProcessFlags,
    Switch,
)
from shiftscope.progress import default_progress

if TYPE_CHECKING:
    from shiftscope.results import Evaluation

Shown = Parameter(group=RESULTS)


def evaluate(checkpoint: Path, /, *, data: DataOverrides = OVERRIDES, output: OutputFlags = OUTPUT,
             processes: ProcessFlags = ONE_PROCESS,
             split: Annotated[Literal["test", "train", "validation"], Shown] = "test", seed: Annotated[int, Shown] = 0,
             output_type: Annotated[OutputType | None, Shown] = None,
             device: Annotated[str, Shown] = "auto", out: Annotated[Path | None, Shown] = None,
             overwrite: Annotated[bool, Switch, Shown] = False,
             allow_code: Annotated[str | None, Shown] = None) -> None:
    """Measure how often a trained model is right, with images at random places and centered.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        split: Which images.
        seed: Fixes the random places.
        output_type: What the model returns (default: determined on a batch of images); for confidences.
        device: One of auto, cpu, cuda or mps.
        out: Folder for the figures and the result as JSON (default: none are written).
        overwrite: Replace files of an earlier evaluation in --out.
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.workflows.use_checkpoint import evaluate_checkpoint

    with shown.clean_stdout(output.json):
        evaluation = evaluate_checkpoint(
            checkpoint, data.given(), split=split, out=out, overwrite=overwrite, seed=seed, device=device,
            output_type=output_type, allow_code=allow_code, progress=default_progress(quiet=output.quiet))
    if output.json:
        confusion = {name: getattr(evaluation, name).tolist() for name in ("confusion", "confusion_centered")}
        shown.write_document(evaluation.to_dict() | confusion)
        return
    show_evaluation(evaluation)
    if out is not None:
        shown.write_path(out)


def show_evaluation(evaluation: "Evaluation") -> None:
    """Print the accuracies, overall and per class."""
    columns = [evaluation.per_class["random"], evaluation.per_class["centered"]]
    rows = [("all classes", evaluation.accuracy["random"], evaluation.accuracy["centered"])]
    rows += zip(evaluation.class_names, *columns, strict=True)
    shown.write_table(("class", "random places", "centered"),
                      [(name, shown.percent(random), shown.percent(centered)) for name, random, centered in rows],
                      numbers=("random places", "centered"),
                      title=f"Accuracy of {evaluation.model} on {evaluation.images:,} {evaluation.split} images of "
                            f"{evaluation.dataset}")
