"""`shiftscope export`: a checkpoint as a file for other programs."""

import os
from pathlib import Path

from shiftscope.errors import UsageError, require
from shiftscope.models import export_onnx
from shiftscope.runs.outputs import require_writable
from shiftscope.workflows.checkpoints import open_checkpoint


def export_checkpoint(checkpoint: Path, file: Path, *, batch: int | None = None, overwrite: bool = False,
                      allow_code: str | None = None) -> Path:
    """Write a checkpoint's model as an ONNX file; see `export_onnx`.

    Raises:
        CheckpointError: the checkpoint cannot be loaded.
        UsageError: a batch below 1, a file whose name does not end in .onnx, or, without `overwrite`, one that exists.
        OutputError: the file cannot be written.
    """
    require(batch is None or batch >= 1, "batch", batch, "a whole number of at least 1")
    require(file.suffix == ".onnx", "onnx", str(file), "the name of a file that ends in .onnx")
    if file.is_dir():
        raise UsageError(f"{file} is a folder: choose another file with --onnx")
    if os.path.lexists(file) and not overwrite:
        raise UsageError(f"{file} already exists; replace it with --overwrite, or choose another file with --onnx")
    require_writable(file.parent)
    trained = open_checkpoint(checkpoint, device="cpu", allow_code=allow_code)
    return export_onnx(trained.model, file, (trained.channels, *trained.placement.canvas), batch=batch)
