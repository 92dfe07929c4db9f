"""Pixel attributions of predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Seconds


@dataclass(frozen=True, kw_only=True)
class Attribution(Record):
    """One signed attribution map per image: positive pixels increase the score of the target, negative ones decrease
    it.

    Shapes: B images of C channels and H x W pixels.
    """

    kind: ClassVar[str] = "attribution"
    arrays: ClassVar[tuple[str, ...]] = ("images", "maps", "targets", "labels", "predictions", "confidence", "scores",
                                         "scores_baseline", "residuals")
    layout: ClassVar[Mapping[str, str]] = {
        "images": "f B C H W", "maps": "f B H W", "targets": "i B", "labels": "i B", "predictions": "i B",
        "confidence": "f B", "scores": "f B", "scores_baseline": "f B", "residuals": "f B"}

    model: str
    method: str
    """"integrated-gradients", "grad-cam", "occlusion" or "saliency"."""
    layer: str
    """Layer that Grad-CAM uses; empty for other methods."""
    target: str
    """Layer with the target units: "class" (outputs before the softmax) or the name of a layer."""
    options: dict[str, Any]
    """Options of the method: steps, or window and stride, and the baseline."""
    class_names: list[str]
    """Class names; empty if unknown."""
    seconds: Seconds
    """Wall-clock time for all images."""
    device: str
    notes: list[str]
    dataset: str = ""
    """Dataset of the images; empty if unknown, as for image files."""
    split: str = ""
    trained: str = "unknown"
    """"random", "centered" or "unknown"."""
    placement: dict[str, Any] = field(default_factory=dict)
    """Return value of `Placement.to_dict`; empty if unknown."""
    index: list[int] = field(default_factory=list)
    """B indices of the images in their split; empty if unknown."""
    offsets: list[tuple[int, int]] = field(default_factory=list)
    """B offsets (dy, dx) of the images on their canvases; empty if unknown."""

    images: np.ndarray
    """float32 (B, C, H, W), pixels in [0, 1]."""
    maps: np.ndarray
    """float32 (B, H, W), summed over the channels of a pixel."""
    targets: np.ndarray
    """int64 (B,), target unit of each image: a class if `target` is "class"."""
    labels: np.ndarray
    """int64 (B,), true classes; -1 if unknown."""
    predictions: np.ndarray
    """int64 (B,), predicted classes; -1 if the output is not a vector of scores."""
    confidence: np.ndarray
    """float32 (B,), softmax probability of that class."""
    scores: np.ndarray
    """float32 (B,), activation of the target for the image (classes: before the softmax)."""
    scores_baseline: np.ndarray
    """float32 (B,), the same for the baseline."""
    residuals: np.ndarray
    """float32 (B,), sum of the map minus (score - score of the baseline). It is 0 for exact integrated gradients
    (completeness); NaN for other methods."""

    def misfits(self) -> list[str]:
        lengths = {name: len(getattr(self, name)) for name in ("index", "offsets")}
        return [*(f"{name} has {length} entries, expected one for each of the {len(self.images)} images"
                  for name, length in lengths.items() if length not in (0, len(self.images))), *super().misfits()]
