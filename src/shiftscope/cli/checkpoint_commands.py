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
    SOURCE,
    Canvas,
    DataOverrides,
    Image,
    ModelFlags,
    OutputFlags,
    OutputType,
    ProcessFlags,
    Result,
    SourceFlags,
    Switch,
)
from shiftscope.errors import UsageError

if TYPE_CHECKING:
    from shiftscope.results import Evaluation

MAPS = 3
"""Largest number of images whose predictions at all placements are printed."""


def evaluate(checkpoint: str, /, *, data: DataOverrides = OVERRIDES, output: OutputFlags = OUTPUT,
             processes: ProcessFlags = ONE_PROCESS, model: ModelFlags = MODEL,
             split: Annotated[Literal["test", "train", "validation"], Result] = "test",
             class_map: Annotated[Path | None, Image] = None, seed: Annotated[int, Result] = 0,
             output_type: Annotated[OutputType | None, Result] = None,
             out: Annotated[Path | None, Result] = None, overwrite: Annotated[bool, Switch, Result] = False) -> None:
    """Measure the accuracy of a trained model on images at random positions and in the middle.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote, or another model as in `shiftscope audit`.
        split: Which images.
        class_map: JSON or CSV file that names the output of each class, if the model has more outputs than the dataset
            has classes (default: matched by names, WordNet ids or numbers).
        seed: Fixes the random positions.
        output_type: Type of the model's outputs (default: determined from a batch of images).
        out: Folder for the figures and the result as JSON (default: none are written).
        overwrite: Replace files of an earlier evaluation in --out.
    """
    from shiftscope.workflows.use_checkpoint import evaluate_checkpoint

    with shown.clean_stdout(output.json):
        evaluation = evaluate_checkpoint(checkpoint, data.given(), split=split, out=out, overwrite=overwrite, seed=seed,
                                         output_type=output_type, class_map=class_map, progress=output.progress(),
                                         device=model.device, loading=model.options())
    if output.json:
        confusion = {name: getattr(evaluation, name).tolist() for name in ("confusion", "confusion_centered")}
        shown.write_document(evaluation.to_dict() | confusion)
        return
    show_evaluation(evaluation)
    if out is not None:
        shown.write_path(out)


def show_evaluation(evaluation: "Evaluation") -> None:
    """Print the accuracies, overall and of each class that has images, and the notes."""
    columns = [evaluation.per_class["random"], evaluation.per_class["centered"]]
    rows = [("all classes", evaluation.accuracy["random"], evaluation.accuracy["centered"])]
    if evaluation.top5_accuracy:
        rows.append(("all classes, top 5", evaluation.top5_accuracy["random"], evaluation.top5_accuracy["centered"]))
    rows += [row for row in zip(evaluation.class_names, *columns, strict=True) if None not in row[1:]]
    shown.write_table(("class", "random", "centered"),
                      [(name, shown.percent(random), shown.percent(centered)) for name, random, centered in rows],
                      numbers=("random", "centered"),
                      title=f"Accuracy of {evaluation.model} on {evaluation.images:,} {evaluation.split} images of "
                            f"{evaluation.dataset}, by placement")
    for note in evaluation.notes:
        shown.write_line(f"{evaluation.model}: {note}")


def predict(checkpoint: str, /, *images: Path,
            offset: Annotated[tuple[int, int] | None, Parameter(group=RESULTS, metavar="DY DX")] = None,
            output_type: Annotated[OutputType | None, Result] = None, model: ModelFlags = MODEL,
            canvas: Annotated[tuple[int, int] | None, Canvas, Image] = None,
            map: Annotated[bool, Parameter(negative="--no-map", group=RESULTS)] = True,
            everywhere: Annotated[bool, Switch, Result] = False,
            max_shift: Annotated[int | None, Result] = None, step: Annotated[int, Result] = 1,
            out: Annotated[Path | None, Result] = None, overwrite: Annotated[bool, Switch, Result] = False,
            output: OutputFlags = OUTPUT) -> None:
    """Classify your own images with a trained model, and show the predicted class at every position.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote, or another model as in `shiftscope audit`.
        images: PNG or JPEG files, or folders of them (default: an example, a synthetic garment).
        offset: Row and column of the image's top-left corner on the canvas (default: in the middle).
        output_type: Type of the model's outputs (default: determined from these images).
        canvas: Size of the model's input in pixels, if its source does not say it.
        map: Also predict each image at all placements, at every n-th offset if there are more than 1,024 of them.
        everywhere: Write a table and a figure of prediction, confidence and margin at all placements into --out. A
            model with the input size of its images is evaluated in mode fill, shifted by up to an eighth of the image.
        max_shift: With --everywhere: only placements at most this many pixels from the middle.
        step: With --everywhere: only every N-th placement, counted from the middle.
        out: Folder for figures of the model's input and of the predictions at all placements (default: none).
        overwrite: Replace files of an earlier prediction in --out.
    """
    if everywhere and out is None:
        raise UsageError("--everywhere needs a folder for its table and figure: give it with --out")
    if not everywhere and (max_shift is not None or step != 1):
        raise UsageError("--max-shift and --step choose the placements of --everywhere: add it, or leave them out")
    from shiftscope.workflows.use_checkpoint import predict_files

    with shown.clean_stdout(output.json):
        predictions = predict_files(checkpoint, list(images), offset=offset, output_type=output_type, maps=map, out=out,
                                    everywhere=everywhere, max_shift=max_shift, step=step, overwrite=overwrite,
                                    progress=output.progress(), device=model.device,
                                    loading=model.options(canvas=canvas))
    if output.json:
        shown.write_result({"predictions": predictions})
        return
    if not images:
        shown.write_line("No image was named: this is the example, a synthetic garment. To classify your own images, "
                         "name PNG or JPEG files after the checkpoint.")
    show_predictions(predictions)
    if out is not None:
        shown.write_path(out)


def show_predictions(predictions: list[dict[str, Any]]) -> None:
    """Print one row per image: class, confidence, offset; then how images were changed, and their maps."""
    rows = [(str(item["file"]), item["class"] or "no finite output", shown.percent(item["confidence"]),
             "{}, {}".format(*item["offset"])) for item in predictions]
    shown.write_table(("image", "class", "confidence", "offset"), rows, numbers=("confidence",))
    for item in predictions:
        if changes := _changes(item):
            shown.write_line(f"{item['file']}: {'; '.join(changes)}")
    mapped = [item for item in predictions if item.get("map")]
    if mapped and "margin" in mapped[0]["map"]:
        show_everywhere(mapped)
        return
    for item in mapped[:MAPS]:
        show_map(item)
    if len(mapped) > MAPS:
        shown.write_line(f"Maps of the first {MAPS} images are shown: --out draws all of them, --json prints them.")


def show_everywhere(predictions: list[dict[str, Any]]) -> None:
    """Print one row per image: fraction of placements with the same class, and ranges of confidence and margin."""
    from shiftscope.reporting.everywhere import describe_everywhere, extent

    rows = [(str(item["file"]), shown.percent(item["map"]["same_class"]), extent(item, "confidence"),
             extent(item, "margin")) for item in predictions]
    columns = ("same class", "confidence", "margin")
    shown.write_table(("image", *columns), rows, numbers=columns, title=f"At {describe_everywhere(predictions[0])}")


def _changes(item: dict[str, Any]) -> list[str]:
    """Return the changes of an image before it was placed."""
    size, scaled = (item.get(key) for key in ("size", "scaled"))
    changes = []
    if size and scaled and tuple(size) != tuple(scaled):
        changes.append("resized from {} x {} to {} x {} pixels (height x width)".format(*size, *scaled))
    if item.get("inverted"):
        changes.append("inverted, because its border is light and the model was trained on a dark background")
    return changes


def show_map(item: dict[str, Any]) -> None:
    """Print the predicted class at every placement of one image."""
    from shiftscope.reporting.prediction_map import describe_map, prediction_map_text

    shown.write_line(f"\n{item['file']} at {describe_map(item)}: the same class at "
                     f"{shown.percent(item['map']['same_class'])} of them")
    if item["map"]["same_class"] == 1:
        return
    for line in prediction_map_text(item):
        shown.write_line(f"  {line}")


def export(checkpoint: str, /, *, onnx: Annotated[Path, Result], batch: Annotated[int | None, Result] = None,
           overwrite: Annotated[bool, Switch, Result] = False, source: SourceFlags = SOURCE,
           canvas: Annotated[tuple[int, int] | None, Canvas, Image] = None) -> None:
    """Write a trained model as an ONNX file that takes pixels from 0 to 1 and includes the normalization.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote, or another model as in `shiftscope audit`.
        onnx: The file to write.
        batch: Fix the batch size of the file (default: any size).
        overwrite: Replace an existing file.
        canvas: Size of the model's input in pixels, if its source does not say it.
    """
    from shiftscope.workflows.use_checkpoint import export_checkpoint

    with shown.clean_stdout(True):
        written = export_checkpoint(checkpoint, onnx, batch=batch, overwrite=overwrite,
                                    loading=source.options(canvas=canvas))
    shown.write_path(written)
