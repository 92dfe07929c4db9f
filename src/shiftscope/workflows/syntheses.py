"""Synthesize the images that activate units of a model most, find similar real images, and measure their quality."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from shiftscope.data import Dataset
from shiftscope.placement import Placement
from shiftscope.progress import Progress
from shiftscope.results import Neighbors, Quality, Synthesis
from shiftscope.visualization import default_objectives, visualize
from shiftscope.visualization.neighbors import IMAGES, coarser, find_neighbors
from shiftscope.visualization.quality import measure_quality

RUN_PLACEMENTS = 64
"""Maximum number of placements per image in `shiftscope run`: 49 of 841 for 28 pixels on 56, every fourth row and
column. All of them would take too long for a demo."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSynthesis:
    """A synthesis with the real images that activate its units most, and its quality."""

    synthesis: Synthesis
    neighbors: Neighbors | None = None
    quality: Quality | None = None

    def save(self, folder: Path) -> None:
        """Write the synthesis into `folder` and the other records into subfolders."""
        self.synthesis.save(folder)
        self.save_checks(folder)

    def save_checks(self, folder: Path) -> None:
        """Write quality and neighbors into subfolders of the synthesis's folder."""
        if self.quality is not None:
            self.quality.save(folder / "quality")
        if self.neighbors is not None:
            self.neighbors.save(folder / "neighbors")


@dataclass(frozen=True, kw_only=True)
class NeighborSearch:
    """The real images among which neighbors are searched."""

    data: Dataset
    placement: Placement
    k: int = 9
    """Real images per unit."""
    images: int = IMAGES
    """Number of images searched."""
    max_time: float | None = None
    """Seconds; fewer images are searched if they take longer, see `find_neighbors`."""


def measure_syntheses(model: nn.Module, syntheses: Sequence[Synthesis], search: NeighborSearch | None = None, *,
                      progress: Progress | None = None, **options: Any) -> list[MeasuredSynthesis]:
    """Find the neighbors of syntheses among real images, and measure the quality of the syntheses.

    Without `search` there are no neighbors. `options` are further arguments of `measure_quality`.
    """
    neighbors: Sequence[Neighbors | None] = [None] * len(syntheses)
    if search is not None and syntheses:
        neighbors = find_neighbors(model, [one.objective for one in syntheses], search.data, k=search.k,
                                   placement=search.placement, images=search.images, max_time=search.max_time,
                                   name=syntheses[0].model, progress=progress)
    return [MeasuredSynthesis(synthesis=synthesis, neighbors=near,
                              quality=measure_quality(model, synthesis, neighbors=near, **options))
            for synthesis, near in zip(syntheses, neighbors, strict=True)]


def default_syntheses(model: nn.Module, data: Dataset, placement: Placement, name: str) -> list[MeasuredSynthesis]:
    """Synthesize all classes and the neurons of the first fully connected layer, as `shiftscope run` shows them.

    Neighbors are searched among a twentieth of the test images, at most 500.
    """
    shape = (data.shape[0], *placement.canvas)
    syntheses = [visualize(model, goal, shape=shape, class_names=data.class_names, name=name, placement=placement)
                 for goal in default_objectives(model, shape)]
    search = NeighborSearch(data=data, placement=coarser(placement, RUN_PLACEMENTS),
                            images=max(1, min(IMAGES, len(data.test) // 20)))
    return measure_syntheses(model, syntheses, search)
