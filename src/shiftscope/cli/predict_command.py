"""`shiftscope predict`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, RESULTS, OutputFlags, OutputType
from shiftscope.progress import default_progress

Shown = Parameter(group=RESULTS)


def predict(checkpoint: Path, image: Path, /, *images: Path,
            offset: Annotated[tuple[int, int] | None, Parameter(group=RESULTS, metavar="DY DX")] = None,
            output_type: Annotated[OutputType | None, Shown] = None,
            device: Annotated[str, Shown] = "auto", out: Annotated[Path | None, Shown] = None,
            allow_code: Annotated[str | None, Shown] = None, output: OutputFlags = OUTPUT) -> None:
    """Say what a trained model sees in your own pictures.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        image: PNG or JPEG file.
        images: More of them.
        offset: Row and column of the picture's top-left corner on the canvas (default: in the middle).
        output_type: What the model returns (default: determined on these images); for confidences.
        device: One of auto, cpu, cuda or mps.
        out: Folder for a figure of the pictures as the model saw them (default: none is written).
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.workflows.use_checkpoint import predict_files

    with shown.clean_stdout(output.json):
        predictions = predict_files(checkpoint, [image, *images], offset=offset, output_type=output_type, out=out,
                                    device=device, allow_code=allow_code, progress=default_progress(quiet=output.quiet))
    if output.json:
        from shiftscope.results import SCHEMA_VERSION

        shown.write_document({"schema_version": SCHEMA_VERSION, "predictions": predictions})
        return
    show_predictions(predictions)
    if out is not None:
        shown.write_path(out)


def show_predictions(predictions: list[dict[str, Any]]) -> None:
    """Print one row a picture: class, confidence, where it lay."""
    rows = [(str(item["file"]), item["class"] or "no finite output", shown.percent(item["confidence"]),
             "{}, {}".format(*item["offset"])) for item in predictions]
    shown.write_table(("picture", "class", "confidence", "offset"), rows, numbers=("confidence",))
