"""`shiftscope train`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import (
    DATA,
    ONE_PROCESS,
    OUTPUT,
    RESULTS,
    TRAIN,
    DataFlags,
    OutputFlags,
    ProcessFlags,
    TrainFlags,
)
from shiftscope.errors import require
from shiftscope.progress import default_progress


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class FolderFlags:
    """Where the training happens and what becomes of an earlier one there."""

    device: str = "auto"
    """auto, cpu, cuda or mps."""
    out: Path | None = None
    """Folder for the checkpoint (default: shiftscope-train/MODEL)."""
    resume: bool = False
    """Go on with the training that --out holds."""
    overwrite: bool = False
    """Replace the training that --out holds."""

    def __post_init__(self) -> None:
        require(not (self.resume and self.overwrite), "resume and overwrite", True, "not both given")


FOLDER = FolderFlags()


def train(model: str, /, *, data: DataFlags = DATA, settings: TrainFlags = TRAIN, folder: FolderFlags = FOLDER,
          output: OutputFlags = OUTPUT,
          processes: ProcessFlags = ONE_PROCESS, command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Train one model; Ctrl-C saves it, and --resume goes on from there.

    Args:
        model: two-full (perceptron), two-conv (convnet), or package.module:object of your own.
    """
    from shiftscope.runs import slug
    from shiftscope.workflows.train_models import train_one

    out = folder.out or Path("shiftscope-train") / slug(model)
    with shown.clean_stdout(output.json):
        result = train_one(model, data, settings, device=folder.device, out=out, resume=folder.resume,
                           overwrite=folder.overwrite, progress=default_progress(quiet=output.quiet), command=command)
    if output.json:
        shown.write_document(result.to_dict())
    else:
        shown.write_path(out / (result.checkpoint or ""))
