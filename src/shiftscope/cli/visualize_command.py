"""`shiftscope visualize`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import (
    MODEL,
    ONE_PROCESS,
    OUTPUT,
    Canvas,
    Image,
    ModelFlags,
    OutputFlags,
    ProcessFlags,
    Result,
    Switch,
)
from shiftscope.settings import SynthesisChecks, SynthesisSettings

if TYPE_CHECKING:
    from shiftscope.workflows.syntheses import MeasuredSynthesis


@Parameter(name="*", group=Group.create_ordered("Synthesis"))
@dataclass(frozen=True, kw_only=True)
class SynthesisFlags(SynthesisSettings):
    """Settings of the synthesis."""


@Parameter(name="*", group=Group.create_ordered("Checks"))
@dataclass(frozen=True, kw_only=True)
class CheckFlags(SynthesisChecks):
    """How the synthesized images are checked."""

    data: str | None = None
    """Dataset of the real images (default: that of the training)."""
    data_dir: Path | None = None
    """Folder with the dataset's files."""

    def given(self) -> dict[str, Any]:
        """Return the settings of the dataset that are not None."""
        return {name: value for name in ("data", "data_dir") if (value := getattr(self, name)) is not None}


SYNTHESIS, CHECKS = SynthesisFlags(), CheckFlags()


def visualize(checkpoint: str, /, *objectives: str, start: Annotated[str | None, Result] = None,
              settings: SynthesisFlags = SYNTHESIS, checks: CheckFlags = CHECKS,
              attribute: Annotated[int, Result] = 0, units: Annotated[bool, Switch, Result] = False,
              out: Annotated[Path, Result] = Path("shiftscope-visualize"),
              overwrite: Annotated[bool, Switch, Result] = False, model: ModelFlags = MODEL,
              canvas: Annotated[tuple[int, int] | None, Canvas, Image] = None,
              processes: ProcessFlags = ONE_PROCESS, output: OutputFlags = OUTPUT) -> None:
    """Synthesize images that maximally activate classes and neurons of a model, and compare them with real ones.

    Args:
        checkpoint: Folder that `shiftscope train` or `shiftscope run` wrote, or another model as in `shiftscope audit`.
        objectives: What to maximize: a class (class:2, class:Bag, class:all), neurons (fc1:7, fc1:0-99, fc1:3,7,
            fc1:all; fc1+relu:7 after the ReLU), a channel (conv2:7), at one row and column of its map (conv2:7@3,4), a
            whole layer ("conv2:*"), or a weighted sum as in "class:Bag - 0.5 class:Shirt" (default: class:all and all
            neurons of the first fully connected layer).
        start: Initial image: zero (mid-gray), black, random, mean (of the training images), or a PNG or JPEG file of
            the canvas's or the image's size (default: zero for units of the first layer, otherwise that of the preset:
            black for small gray nets, zero for color).
        attribute: Number of test images to attribute (default: none).
        units: Also write a table of the layers' units on real images: dead units and duplicates.
        out: Folder for figures, images as arrays, quality measures (quality.json), and the table of parameters.
        overwrite: Replace images of the same objectives in --out.
        canvas: Size of the model's input in pixels, if its source does not say it.
    """
    from shiftscope.runs.outputs import require_new
    from shiftscope.workflows.explain_checkpoint import (
        UNIT_FILES,
        attribute_checkpoint,
        attribution_files,
        inspect_units,
    )
    from shiftscope.workflows.visualize_checkpoint import visualize_checkpoint

    common: dict[str, Any] = {"out": out, "overrides": checks.given(), "overwrite": overwrite,
                              "progress": output.progress(),
                              "device": model.device, "loading": model.options(canvas=canvas)}
    with shown.clean_stdout(output.json):
        require_new(out, [*(attribution_files() if attribute else ()), *(UNIT_FILES if units else ())],
                    overwrite=overwrite)
        syntheses = visualize_checkpoint(checkpoint, objectives, start=start, settings=settings, checks=checks,
                                         **common)
        if attribute:
            attribute_checkpoint(checkpoint, count=attribute, **common)
        if units:
            inspect_units(checkpoint, **common)
    if output.json:
        shown.write_result({"out": out, "syntheses": [_document(one) for one in syntheses]})
        return
    show_syntheses(syntheses)
    shown.write_path(out)


def _document(measured: "MeasuredSynthesis") -> dict[str, Any]:
    """Return a synthesis, its quality and its neighbors without the images."""
    synthesis, near, quality = measured.synthesis, measured.neighbors, measured.quality
    arrays = {key: getattr(synthesis, key).tolist() for key in (
        "activations", "activations_start", "predictions", "confidence")}
    neighbors = None if near is None else near.to_dict() | {key: getattr(near, key).tolist() for key in near.arrays
                                                            if key != "top_canvases"}
    return synthesis.to_dict() | arrays | {"quality": None if quality is None else quality.summary(),
                                           "neighbors": neighbors}


def show_syntheses(syntheses: "Sequence[MeasuredSynthesis]") -> None:
    """Print one row per objective.

    Columns: units, mean activation, images that activate more than all real ones, fraction of the activation at random
    placements, images that a judge classifies correctly, dead units of the layer, time.
    """
    columns = ("images", "mean", "above real", "random", "judge", "dead", "seconds")
    shown.write_table(("objective", *columns), [_row(one) for one in syntheses], numbers=columns)


def _row(measured: "MeasuredSynthesis") -> tuple[str, ...]:
    synthesis, quality = measured.synthesis, measured.quality
    fractions = (None,) * 4 if quality is None else (
        quality.exceeds_real, quality.means()["placement_stability"], quality.transfer, quality.dead)
    return (synthesis.objective, str(len(synthesis.units)), f"{float(synthesis.activations.mean()):.3g}",
            *map(shown.percent, fractions), f"{synthesis.seconds:.1f}")
