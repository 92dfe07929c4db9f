"""What a model likes to see, from a model to syntheses, what stands beside them, and figures: shared by the main job
and `visualize`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from torch import nn

from shiftscope.data import Dataset, ImageSet
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.reporting import class_neurons, image_credit, model_title
from shiftscope.results import Neighbors, Quality, Synthesis
from shiftscope.visualization import class_weights, default_objectives, visualize
from shiftscope.visualization.neighbors import IMAGES, coarser, find_neighbors
from shiftscope.visualization.quality import measure_quality

RUN_PLACEMENTS = 64
"""Placements of each image that the main job looks at, at most: every fourth row and column of 28 on 56, 49 of 841.
All of them would take the convnet longer than its share of a demo."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A synthesis and what stands beside it."""

    synthesis: Synthesis
    neighbors: Neighbors | None
    """None where there are no real images."""
    quality: Quality

    def save(self, folder: Path) -> None:
        """Write the synthesis into `folder` and the rest into subfolders of it."""
        self.synthesis.save(folder)
        self.quality.save(folder / "quality")
        if self.neighbors is not None:
            self.neighbors.save(folder / "neighbors")


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is to stand beside syntheses."""

    data: Dataset | None = None
    """Real images; none are looked for without it."""
    placement: Placement | None = None
    """Where they lie; needed with `data`."""
    k: int = 9
    """Real images for each unit."""
    images: int = IMAGES
    """How many are looked at."""
    judge: nn.Module | None = None
    """Another classifier of the same classes."""
    judge_name: str | None = None
    seeds: int = 0
    """Random starts that pictures are made again from; 0: none."""
    canvas: Placement | None = None
    """What `visualize` was told about the canvas."""
    train: ImageSet | None = None
    """The training images that it was given."""


def look_beside(model: nn.Module, made: Sequence[Synthesis], beside: Beside, *,
                progress: Progress | None = None) -> list[Look]:
    """Find the real images that excite the units of syntheses most, and measure how good their pictures are."""
    near: Sequence[Neighbors | None] = [None] * len(made)
    if beside.data is not None and beside.placement is not None and made:
        near = find_neighbors(model, [synthesis.objective for synthesis in made], beside.data, k=beside.k,
                               placement=beside.placement, images=beside.images, name=made[0].model,
                               progress=progress)
    return [Look(synthesis=synthesis, neighbors=found, quality=measure_quality(
        model, synthesis, neighbors=found, judge=beside.judge, judge_name=beside.judge_name, seeds=beside.seeds,
        images=beside.train, placement=beside.canvas))
        for synthesis, found in zip(made, near, strict=True)]


def looks(model: nn.Module, data: Dataset, placement: Placement, name: str) -> list[Look]:
    """Return what all classes and the neurons of the first fully connected layer like to see, beside real images.

    A twentieth of the test images are looked at, 500 at most.

    Args:
        data: what the model was trained on.
        placement: where the images lie.
        name: of the model, in tables and figures.
    """
    picture = (data.shape[0], *placement.canvas)
    made = [visualize(model, goal, shape=picture, class_names=data.class_names, name=name, placement=placement)
            for goal in default_objectives(model, picture)]
    few = max(1, min(IMAGES, len(data.test) // 20))
    return look_beside(model, made, Beside(data=data, placement=coarser(placement, RUN_PLACEMENTS), images=few))


def learned_from(dataset: str, *, synthetic: bool = False) -> str:
    """Return the line that says what a model was trained on, for pictures that are none of its images.

    >>> learned_from("folder:cats")
    'The model learned from folder:cats'
    """
    return f"The model learned from {image_credit(dataset, synthetic=synthetic).removeprefix('Images: ')}"


def class_neurons_figure(model: nn.Module, synthesis: Synthesis, *, credit: str) -> Figure | None:
    """Draw which of a layer's neurons speak for which class; None where they do not lead to the classes at once."""
    layer, _, units = synthesis.objective.partition(":")
    if layer == "class" or units != "all" or not synthesis.class_names:
        return None
    found = class_weights(model, neurons=len(synthesis.units), classes=len(synthesis.class_names))
    if found is None:
        return None
    weights, bias = (part.cpu().float().numpy() for part in found)
    title = f"Which neurons of {layer} speak for a class in the {model_title(synthesis.model)}"
    return class_neurons(weights, bias, synthesis.class_names, title=title, layer=layer, credit=credit)
