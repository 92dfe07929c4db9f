"""`shiftscope visualize`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, RESULTS, OutputFlags
from shiftscope.progress import default_progress
from shiftscope.settings import SynthesisSettings

if TYPE_CHECKING:
    from shiftscope.results import Synthesis

Shown = Parameter(group=RESULTS)


@Parameter(name="*", group=Group.create_ordered("Ascent"))
@dataclass(frozen=True, kw_only=True)
class SynthesisFlags(SynthesisSettings):
    """How the pictures are made."""


ASCENT = SynthesisFlags()


def visualize(checkpoint: Path, /, *objectives: str, start: Annotated[str | None, Shown] = None,
              settings: SynthesisFlags = ASCENT, out: Annotated[Path, Shown] = Path("shiftscope-visualize"),
              device: Annotated[str, Shown] = "auto", allow_code: Annotated[str | None, Shown] = None,
              output: OutputFlags = OUTPUT) -> None:
    """Make the pictures that classes and neurons of a trained model like best.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        objectives: What to excite: class:2, class:Bag, class:all, fc1:0-99, conv2:7 (default: class:all and all neurons
            of the first fully connected layer).
        start: What the pictures begin with: zero (mid-grey), black, random, or a PNG or JPEG file (default: zero for
            units of the first layer, black for all others).
        out: Folder for galleries, pictures as arrays, and the table of parameters.
        device: One of auto, cpu, cuda or mps.
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.workflows.visualize_checkpoint import visualize_checkpoint

    with shown.clean_stdout(output.json):
        made = visualize_checkpoint(checkpoint, objectives, out=out, start=start, settings=settings, device=device,
                                    allow_code=allow_code, progress=default_progress(quiet=output.quiet))
    if output.json:
        from shiftscope.results import SCHEMA_VERSION

        shown.write_document({"schema_version": SCHEMA_VERSION, "out": out, "syntheses": [_numbers(s) for s in made]})
        return
    show_syntheses(made)
    shown.write_line(str(out))


def _numbers(synthesis: "Synthesis") -> dict:
    """All of a synthesis but its pictures."""
    return synthesis.to_dict() | {key: getattr(synthesis, key).tolist() for key in (
        "activations", "activations_start", "predictions", "confidence")}


def show_syntheses(made: "Sequence[Synthesis]") -> None:
    """Print one row an objective: units, how many pictures are taken for their class, time."""
    rows = [(synthesis.objective, str(len(synthesis.units)), f"{float(synthesis.activations_start.mean()):.3g}",
             f"{float(synthesis.activations.mean()):.3g}", f"{synthesis.seconds:.1f}") for synthesis in made]
    columns = ("pictures", "mean activation at the start", "reached", "seconds")
    shown.write_table(("objective", *columns), rows, numbers=columns)
