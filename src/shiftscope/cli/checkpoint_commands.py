"""`shiftscope evaluate`, `predict` and `export`."""

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
    DataOverrides,
    ModelFlags,
    OutputFlags,
    OutputType,
    ProcessFlags,
    Result,
    Switch,
)

if TYPE_CHECKING:
    from shiftscope.results import Evaluation


def evaluate(checkpoint: Path, /, *, data: DataOverrides = OVERRIDES, output: OutputFlags = OUTPUT,
             processes: ProcessFlags = ONE_PROCESS, model: ModelFlags = MODEL,
             split: Annotated[Literal["test", "train", "validation"], Result] = "test",
             seed: Annotated[int, Result] = 0, output_type: Annotated[OutputType | None, Result] = None,
             out: Annotated[Path | None, Result] = None, overwrite: Annotated[bool, Switch, Result] = False) -> None:
    """Measure the accuracy of a trained model on images at random positions and in the middle.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        split: Which images.
        seed: Fixes the random positions.
        output_type: Type of the model's outputs (default: determined from a batch of images).
        out: Folder for the figures and the result as JSON (default: none are written).
        overwrite: Replace files of an earlier evaluation in --out.
    """
    from shiftscope.workflows.use_checkpoint import evaluate_checkpoint

    with shown.clean_stdout(output.json):
        evaluation = evaluate_checkpoint(checkpoint, data.given(), split=split, out=out, overwrite=overwrite, seed=seed,
                                         output_type=output_type, progress=output.progress(), **vars(model))
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
    shown.write_table(("class", "random", "centered"),
                      [(name, shown.percent(random), shown.percent(centered)) for name, random, centered in rows],
                      numbers=("random", "centered"),
                      title=f"Accuracy of {evaluation.model} on {evaluation.images:,} {evaluation.split} images of "
                            f"{evaluation.dataset}, by placement")


def predict(checkpoint: Path, image: Path, /, *images: Path,
            offset: Annotated[tuple[int, int] | None, Parameter(group=RESULTS, metavar="DY DX")] = None,
            output_type: Annotated[OutputType | None, Result] = None, model: ModelFlags = MODEL,
            out: Annotated[Path | None, Result] = None, output: OutputFlags = OUTPUT) -> None:
    """Classify your own images with a trained model.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        image: PNG or JPEG file.
        images: Further files.
        offset: Row and column of the image's top-left corner on the canvas (default: in the middle).
        output_type: Type of the model's outputs (default: determined from these images).
        out: Folder for a figure of the model's input (default: none is written).
    """
    from shiftscope.workflows.use_checkpoint import predict_files

    with shown.clean_stdout(output.json):
        predictions = predict_files(checkpoint, [image, *images], offset=offset, output_type=output_type, out=out,
                                    progress=output.progress(), **vars(model))
    if output.json:
        shown.write_result({"predictions": predictions})
        return
    show_predictions(predictions)
    if out is not None:
        shown.write_path(out)


def show_predictions(predictions: list[dict[str, Any]]) -> None:
    """Print one row per image: class, confidence, offset."""
    rows = [(str(item["file"]), item["class"] or "no finite output", shown.percent(item["confidence"]),
             "{}, {}".format(*item["offset"])) for item in predictions]
    shown.write_table(("image", "class", "confidence", "offset"), rows, numbers=("confidence",))


def export(checkpoint: Path, /, *, onnx: Annotated[Path, Result], batch: Annotated[int | None, Result] = None,
           overwrite: Annotated[bool, Switch, Result] = False,
           allow_code: Annotated[str | None, Result] = None) -> None:
    """Write a trained model as an ONNX file that takes pixels from 0 to 1 and includes the normalization.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        onnx: The file to write.
        batch: Fix the batch size of the file (default: any size).
        overwrite: Replace an existing file.
        allow_code: For a checkpoint of your own code: its model as package.module:object, which is imported.
    """
    from shiftscope.workflows.use_checkpoint import export_checkpoint

    with shown.clean_stdout(True):
        written = export_checkpoint(checkpoint, onnx, batch=batch, overwrite=overwrite, allow_code=allow_code)
    shown.write_path(written)
