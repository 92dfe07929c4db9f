"""`shiftscope export`: a checkpoint as a file for other programs."""

from pathlib import Path

from shiftscope.errors import require
from shiftscope.models import export_onnx
from shiftscope.workflows.checkpoints import open_checkpoint


def export_checkpoint(checkpoint: Path, file: Path, *, batch: int | None = None,
                      allow_code: str | None = None) -> Path:
    """Write a checkpoint's model as an ONNX file; see `export_onnx`.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        UsageError: a batch below 1, or a file whose name does not end in .onnx.
    """
    require(batch is None or batch >= 1, "batch", batch, "a whole number of at least 1")
    require(file.suffix == ".onnx", "onnx", str(file), "the name of a file that ends in .onnx")
    trained = open_checkpoint(checkpoint, device="cpu", allow_code=allow_code)
    return export_onnx(trained.model, file, (trained.channels, *trained.placement.canvas), batch=batch)
