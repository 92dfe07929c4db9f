"""Real images beside a synthesis: which excite a unit most, and where on the canvas they do so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.whole import Count, Seconds


@dataclass(frozen=True, kw_only=True)
class Neighbors(Record):
    """What the units of an objective give for real images at many placements.

    Shapes: U units, the k best images of each, N images at P placements each, canvases of C channels and H x W pixels,
    B bins, L units of the layer that the objective is about.
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
    """Whose units these are, for instance "fc1:all"."""
    units: list[str]
    """U names, for instance "fc1:17" or "class:Bag"."""
    dataset: str
    synthetic: bool
    """True where the images were drawn by our own code: every figure says so."""
    split: str
    class_names: list[str]
    images: Count
    """N: the first images of the split, not picked ones."""
    placements: Count
    """P, of each image."""
    possible: Count
    """Placements that there are: where P is smaller, the best placement is the best of those P."""
    placement: dict[str, Any]
    """What `Placement.to_dict` gave for the P placements."""
    seconds: Seconds
    """Wall-clock time; objectives that were asked about together share it."""
    device: str

    top_index: np.ndarray
    """int64 (U, k), numbers of the images, best first; an image counts once, at its best placement."""
    top_offset: np.ndarray
    """int64 (U, k, 2), (dy, dx) of that placement."""
    top_activation: np.ndarray
    """float32 (U, k), what the unit gives there: classes before the softmax, channels as their mean."""
    top_labels: np.ndarray
    """int64 (U, k), true classes."""
    top_canvases: np.ndarray
    """uint8 (U, k, C, H, W), those images at those placements."""
    counts: np.ndarray
    """int64 (U, B), histogram of the activation over all N x P pictures."""
    edges: np.ndarray
    """float64 (U, B + 1), of its bins."""
    mean: np.ndarray
    """float32 (U,), over all N x P pictures."""
    maximum: np.ndarray
    """float32 (U,)."""
    fields: np.ndarray
    """int64 (U, 4), receptive fields: pixels [top, left, bottom, right) of the canvas; a channel's is that of its unit
    in the middle."""
    peaks: np.ndarray
    """float32 (L,), the most that each unit of the layer gave at any of its places for any picture; empty where the
    objective is about classes or about several layers."""

    def sizes(self) -> dict[str, int]:
        return {"U": len(self.units)}

    def ranges(self) -> dict[str, tuple[int, int]]:
        return {"top_labels": (0, len(self.class_names))}

    @property
    def words(self) -> str:
        """Which pictures were looked at, in a sentence."""
        where = f"all {self.placements:,}" if self.placements == self.possible else (
            f"{self.placements:,} of {self.possible:,}")
        return f"The first {self.images:,} {self.split} images at {where} placements."
