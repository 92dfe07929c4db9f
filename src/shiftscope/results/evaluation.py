"""What a trained model gets right and wrong."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """Accuracy of one model on one set of images, at one random placement an image and centred.

    Shapes: N images, K classes, G gallery pictures.
    """

    kind: ClassVar[str] = "evaluation"
    arrays: ClassVar[tuple[str, ...]] = (
        "labels", "predictions", "confidence", "offsets", "predictions_centred", "confusion", "confusion_centred",
        "gallery_index", "gallery_canvases")

    model: str
    dataset: str
    drawn: bool
    """True where the images were drawn by our own code: every figure says so."""
    split: str
    """"test", "train" or "validation"."""
    trained: str
    """"moved" or "centred": how the model was trained; "unknown" for a foreign one."""
    images: int
    seed: int
    placement: dict[str, Any]
    class_names: list[str]
    accuracy: dict[str, float]
    """{"random": ..., "centred": ...}, shares from 0 to 1."""
    per_class: dict[str, list[float | None]]
    """{"random": K shares, "centred": K shares}; None for a class without images."""
    not_finite: int
    """Images whose outputs held a NaN or infinity at the random placement: counted as wrong."""
    notes: list[str]

    labels: np.ndarray
    """int64 (N,), true classes."""
    predictions: np.ndarray
    """int64 (N,), predicted classes at the random placements; -1 where the output is not finite."""
    confidence: np.ndarray
    """float32 (N,), softmax probability of the predicted class."""
    offsets: np.ndarray
    """int64 (N, 2), the random placements."""
    predictions_centred: np.ndarray
    """int64 (N,)."""
    confusion: np.ndarray
    """int64 (K, K), rows true, columns predicted, random placements; images that are not finite are left out."""
    confusion_centred: np.ndarray
    """int64 (K, K)."""
    gallery_index: np.ndarray
    """int64 (G,), which images the gallery shows: the first G, not picked."""
    gallery_canvases: np.ndarray
    """uint8 (G, C, H, W), those images as the model saw them."""
