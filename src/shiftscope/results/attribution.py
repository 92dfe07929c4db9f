"""Which pixels speak for an answer, and which against it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.whole import Seconds


@dataclass(frozen=True, kw_only=True)
class Attribution(Record):
    """One signed map a picture, from one method: above zero a pixel speaks for the target, below against it.

    Shapes: B pictures of C channels and H x W pixels.
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
    """Whose map Grad-CAM weighs; empty for methods that look at pixels."""
    target: str
    """Layer whose units are explained: "class", before the softmax, or the name of a layer."""
    options: dict[str, Any]
    """What the method was asked for: steps, or window and stride, and the baseline."""
    class_names: list[str]
    """Names of the model's classes; empty where they are not known."""
    seconds: Seconds
    """Wall-clock time for all pictures together."""
    device: str
    notes: list[str]

    images: np.ndarray
    """float32 (B, C, H, W), pixels in [0, 1]."""
    maps: np.ndarray
    """float32 (B, H, W), summed over the channels of a pixel."""
    targets: np.ndarray
    """int64 (B,), the unit of the target layer that was explained: a class where the target is "class"."""
    labels: np.ndarray
    """int64 (B,), true classes; -1 where they are not known."""
    predictions: np.ndarray
    """int64 (B,), the class that the model takes each picture for; -1 where its output is no row of scores."""
    confidence: np.ndarray
    """float32 (B,), softmax probability of that class."""
    scores: np.ndarray
    """float32 (B,), what the target gives for the picture, before the softmax."""
    scores_baseline: np.ndarray
    """float32 (B,), the same for the baseline."""
    residuals: np.ndarray
    """float32 (B,), sum of the map minus (score - score of the baseline): integrated gradients should leave 0
    (completeness); NaN for the other methods, which promise no such thing."""
