"""Real images, and placements, with the highest activation of a unit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds


@dataclass(frozen=True, kw_only=True)
class Neighbors(Record):
    """Activations of the units of an objective for real images at many placements.

    Shapes: U units, the k images with the highest activation of each, N images at P placements each, canvases of C
    channels and H x W pixels, B bins, L units of the layer of the objective.
    """

    kind: ClassVar[str] = "neighbors"
    arrays: ClassVar[tuple[str, ...]] = (
        "top_index", "top_offset", "top_activation", "top_labels", "top_canvases", "counts", "edges", "mean", "maximum",
        "fields", "peaks")
    layout: ClassVar[Mapping[str, str]] = {
        "top_index": "i U k", "top_offset": "i U k 2", "top_activation": "f U k", "top_labels": "i U k",
        "top_canvases": "u U k C H W", "counts": "i U B", "edges": "f U E", "mean": "f U", "maximum": "f U",
        "fields": "i U 4", "peaks": "f L"}

    model: str
    objective: str
    """The objective, for example "fc1:all"."""
    units: list[str]
    """U names, for example "fc1:17" or "class:Bag"."""
    dataset: str
    synthetic: bool
    """True if the images are synthetic; every figure states it."""
    split: str
    class_names: list[str]
    images: Count
    """N: the first images of the split."""
    placements: Count
    """P: number of placements of each image."""
    possible: Count
    """Number of possible placements. If P is smaller, the best placement is the best of those P."""
    placement: dict[str, Any]
    """Return value of `Placement.to_dict` for the P placements."""
    seconds: Seconds
    """Wall-clock time, shared by objectives that were computed together."""
    device: str

    top_index: np.ndarray
    """int64 (U, k), image indices in decreasing order of activation; each image is listed once, at its best
    placement."""
    top_offset: np.ndarray
    """int64 (U, k, 2), offset (dy, dx) of that placement."""
    top_activation: np.ndarray
    """float32 (U, k), activation there: classes before the softmax, channels averaged over positions."""
    top_labels: np.ndarray
    """int64 (U, k), true classes."""
    top_canvases: np.ndarray
    """uint8 (U, k, C, H, W), the images at these placements."""
    counts: np.ndarray
    """int64 (U, B), histogram of the activation over all N x P placed images."""
    edges: np.ndarray
    """float64 (U, B + 1), bin edges."""
    mean: np.ndarray
    """float32 (U,), over all N x P placed images."""
    maximum: np.ndarray
    """float32 (U,)."""
    fields: np.ndarray
    """int64 (U, 4), receptive fields: pixels [top, left, bottom, right) of the canvas; for a channel, that of its
    middle position."""
    peaks: np.ndarray
    """float32 (L,), largest activation of each unit of the layer over positions and images; empty for classes and for
    objectives with several layers."""

    def sizes(self) -> dict[str, int]:
        return {"U": len(self.units)}

    def ranges(self) -> dict[str, tuple[int, int]]:
        return {"top_labels": (0, len(self.class_names))}

    @property
    def words(self) -> str:
        """The images and placements that were searched, in a sentence."""
        where = f"all {self.placements:,}" if self.placements == self.possible else (
            f"{self.placements:,} of {self.possible:,}")
        return f"The first {self.images:,} {self.split} images at {where} placements."
