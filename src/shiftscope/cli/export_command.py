"""`shiftscope export`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import RESULTS, Switch

Shown = Parameter(group=RESULTS)


def export(checkpoint: Path, /, *, onnx: Annotated[Path, Shown], batch: Annotated[int | None, Shown] = None,
           overwrite: Annotated[bool, Switch, Shown] = False, allow_code: Annotated[str | None, Shown] = None) -> None:
    """Write a trained model as an ONNX file that takes pixels from 0 to 1 and normalizes them itself.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        onnx: The file to write.
        batch: Fix the file to this many pictures a call (default: any number).
        overwrite: Replace the file that is there.
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.workflows.use_checkpoint import export_checkpoint

    with shown.clean_stdout(True):
        written = export_checkpoint(checkpoint, onnx, batch=batch, overwrite=overwrite, allow_code=allow_code)
    shown.write_path(written)
