"""`shiftscope visualize`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import ONE_PROCESS, OUTPUT, RESULTS, OutputFlags, ProcessFlags
from shiftscope.progress import default_progress
from shiftscope.settings import BesideSettings, SynthesisSettings

if TYPE_CHECKING:
    from shiftscope.workflows.syntheses import MeasuredSynthesis

Shown = Parameter(group=RESULTS)
Switched = Parameter(group=RESULTS, negative=())


@Parameter(name="*", group=Group.create_ordered("Ascent"))
@dataclass(frozen=True, kw_only=True)
class SynthesisFlags(SynthesisSettings):
    """How the pictures are made."""


@Parameter(name="*", group=Group.create_ordered("Beside the pictures"))
@dataclass(frozen=True, kw_only=True)
class BesideFlags(BesideSettings):
    """What stands beside them."""

    data: str | None = None
    """Where the real images come from (default: what the model was trained on)."""
    data_dir: Path | None = None
    """Folder that holds the dataset's files."""

    def given(self) -> dict[str, Any]:
        """Return where the images come from, as far as it was said."""
        return {name: value for name in ("data", "data_dir") if (value := getattr(self, name)) is not None}


ASCENT, BESIDE = SynthesisFlags(), BesideFlags()


def visualize(checkpoint: Path, /, *objectives: str, start: Annotated[str | None, Shown] = None,
              settings: SynthesisFlags = ASCENT, beside: BesideFlags = BESIDE, attribute: Annotated[int, Shown] = 0,
              units: Annotated[bool, Switched] = False,
              out: Annotated[Path, Shown] = Path("shiftscope-visualize"),
              overwrite: Annotated[bool, Switched] = False, device: Annotated[str, Shown] = "auto",
              allow_code: Annotated[str | None, Shown] = None, processes: ProcessFlags = ONE_PROCESS,
              output: OutputFlags = OUTPUT) -> None:
    """Make the pictures that classes and neurons of a trained model like best, and put real images beside them.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote.
        objectives: What to excite: a class (class:2, class:Bag, class:all), neurons (fc1:7, fc1:0-99, fc1:3,7, fc1:all;
            fc1+relu:7 after the ReLU), a channel (conv2:7), at one row and column of its map (conv2:7@3,4), a whole
            layer ("conv2:*"), or a weighted sum as in "class:Bag - 0.5 class:Shirt" (default: class:all and all
            neurons of the first fully connected layer).
        start: What the pictures begin with: zero (mid-gray), black, random, mean (of the training images), or a PNG or
            JPEG file of the canvas's or the image's size (default: zero for units of the first layer, else what the
            preset says: black for small gray nets, zero for color).
        attribute: Explain so many test images by the pixels that decide (default: none).
        units: Table the layers' units on real images too: which are dead, which are duplicates.
        out: Folder for figures, pictures as arrays, the figures of merit (quality.json), and the table of parameters.
        overwrite: Replace pictures of the same objectives in --out.
        device: One of auto, cpu, cuda or mps.
        allow_code: Where the checkpoint is of your own code: its model as package.module:object, to be imported.
    """
    from shiftscope.workflows.visualize_checkpoint import visualize_checkpoint

    with shown.clean_stdout(output.json):
        _check_further(attribute, units, out, overwrite)
        looks = visualize_checkpoint(checkpoint, objectives, out=out, start=start, settings=settings, compare=beside,
                                     overrides=beside.given(), overwrite=overwrite, device=device,
                                     allow_code=allow_code, progress=default_progress(quiet=output.quiet))
        _further(checkpoint, attribute, units, out=out, overrides=beside.given(), overwrite=overwrite, device=device,
                 allow_code=allow_code, progress=default_progress(quiet=output.quiet))
    if output.json:
        from shiftscope.results import SCHEMA_VERSION

        shown.write_document({"schema_version": SCHEMA_VERSION, "out": out, "syntheses": [_numbers(x) for x in looks]})
        return
    show_looks(looks)
    shown.write_path(out)


def _check_further(attribute: int, units: bool, out: Path, overwrite: bool) -> None:
    """Raise an error before anything is made where files that `_further` writes are there already."""
    from shiftscope.runs.outputs import require_new
    from shiftscope.workflows.explain_checkpoint import attribution_files
    from shiftscope.workflows.explain_checkpoint import UNIT_FILES

    names = [*(attribution_files() if attribute else ()), *(UNIT_FILES if units else ())]
    require_new(out, names, overwrite=overwrite)


def _further(checkpoint: Path, attribute: int, units: bool, **common: Any) -> None:
    """Write what was asked for besides pictures of units."""
    if attribute:
        from shiftscope.workflows.explain_checkpoint import attribute_checkpoint

        attribute_checkpoint(checkpoint, count=attribute, **common)
    if units:
        from shiftscope.workflows.explain_checkpoint import inspect_units

        inspect_units(checkpoint, **common)


def _numbers(look: "Look") -> dict:
    """All of a synthesis, its figures of merit and its neighbors but the pictures."""
    synthesis, near = look.synthesis, look.neighbors
    arrays = {key: getattr(synthesis, key).tolist() for key in (
        "activations", "activations_start", "predictions", "confidence")}
    neighbors = None if near is None else near.to_dict() | {key: getattr(near, key).tolist() for key in near.arrays
                                                             if key != "top_canvases"}
    return synthesis.to_dict() | arrays | {"quality": look.quality.summary(), "neighbors": neighbors}


def show_looks(looks: "Sequence[Look]") -> None:
    """Print one row an objective: units, mean activation, pictures that beat all real ones, what is left of the
    activation when they move, how many a judge names right, dead units of the layer, time."""
    columns = ("pictures", "mean", "beat real", "random", "judge", "dead", "seconds")
    shown.write_table(("objective", *columns), [_row(look) for look in looks], numbers=columns)


def _row(look: "Look") -> tuple[str, ...]:
    synthesis, quality = look.synthesis, look.quality
    return (synthesis.objective, str(len(synthesis.units)), f"{float(synthesis.activations.mean()):.3g}",
            shown.percent(quality.exceeds_real), shown.percent(quality.means()["placement_stability"]),
            shown.percent(quality.transfer), shown.percent(quality.dead), f"{synthesis.seconds:.1f}")
