"""Accuracy of a model at random placements and on centered images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar, TypedDict

import numpy as np

from shiftscope.outputs import UNKNOWN
from shiftscope.reading import typed_dict
from shiftscope.results.base import Record
from shiftscope.results.validation import Count, table, unlike, wrong_image_names, wrong_placement


class _Places(TypedDict):
    """A metric at random placements and on centered images."""

    random: float
    centered: float


@cache
def _per_class(classes: int) -> Any:
    return typed_dict({"random": table(classes), "centered": table(classes)})


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """Accuracy of one model on one set of images, at one random placement per image and centered.

    Shapes: N images, K classes, G gallery images, M example images for cells of the confusion matrix.
    """

    kind: ClassVar[str] = "evaluation"
    arrays: ClassVar[tuple[str, ...]] = (
        "labels", "predictions", "confidence", "offsets", "predictions_centered", "confusion", "confusion_centered",
        "gallery_index", "gallery_canvases", "cell_index", "cell_images")
    layout: ClassVar[Mapping[str, str]] = {
        "labels": "i N", "predictions": "i N", "confidence": "f N", "offsets": "i N 2", "predictions_centered": "i N",
        "confusion": "i K K", "confusion_centered": "i K K", "gallery_index": "i G", "gallery_canvases": "u G C H W",
        "cell_index": "i M", "cell_images": "u M c h w"}

    model: str
    dataset: str
    synthetic: bool
    """True if the images are synthetic; every figure states it."""
    split: str
    """"test", "train" or "validation"."""
    trained: str
    """"random" or "centered": how the model was trained; "unknown" for other models."""
    images: Count
    seed: int
    placement: dict[str, Any]
    class_names: list[str]
    accuracy: dict[str, float]
    """{"random": ..., "centered": ...}, fractions from 0 to 1."""
    top5_accuracy: dict[str, float] = field(default_factory=dict)
    """Like `accuracy`: the true class is among the five largest outputs; empty for models with fewer than 100 outputs
    and in records of earlier releases."""
    per_class: dict[str, list[float | None]]
    """{"random": K fractions, "centered": K fractions}; None for a class without images."""
    nonfinite: Count
    """Images whose prediction at the random placement is non-finite; they count as incorrect."""
    output_type: str = UNKNOWN
    """"logits", "probabilities" or "log-probabilities"; "unknown" in records of release 0.1."""
    ties: Count = 0
    """Images at the random placement whose two largest outputs differ by no more than rounding explains."""
    exact_ties: Count = 0
    """Images at the random placement whose two largest outputs are equal; the first is the prediction."""
    notes: list[str]
    preparation: str = ""
    """How many image files were resized, and how; every figure states it. "" if none was."""
    image_names: list[str] = field(default_factory=list)
    """Name of each image, such as the relative path of its file, in the order of the images; empty if unknown."""

    labels: np.ndarray
    """int64 (N,), true classes."""
    predictions: np.ndarray
    """int64 (N,), predicted classes at the random placements; -1 where the prediction is non-finite."""
    confidence: np.ndarray
    """float32 (N,), probability of the predicted class, see `output_type`."""
    offsets: np.ndarray
    """int64 (N, 2), the random placements."""
    predictions_centered: np.ndarray
    """int64 (N,)."""
    confusion: np.ndarray
    """int64 (K, K), rows true, columns predicted, random placements; non-finite predictions are excluded."""
    confusion_centered: np.ndarray
    """int64 (K, K)."""
    gallery_index: np.ndarray
    """int64 (G,), indices of the gallery images: the first G, not selected."""
    gallery_canvases: np.ndarray
    """uint8 (G, C, H, W), the gallery images on their canvases."""
    cell_index: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 (M,), in increasing order: the first images (up to four) of each cell (true, predicted) of `confusion`, see
    `evaluation.examples`; empty in records of earlier releases."""
    cell_images: np.ndarray = field(default_factory=lambda: np.zeros((0, 1, 1, 1), np.uint8))
    """uint8 (M, C, h, w), the example images as stored in the dataset."""

    def sizes(self) -> dict[str, int]:
        return {"N": self.images, "K": len(self.class_names)}

    def ranges(self) -> dict[str, tuple[int, int]]:
        images, classes = self.images, len(self.class_names)
        return {"labels": (0, classes), "predictions": (-1, classes), "predictions_centered": (-1, classes),
                "gallery_index": (0, images), "cell_index": (0, images)}

    def misfits(self) -> list[str]:
        return [*unlike("accuracy", self.accuracy, _Places),
                *(unlike("top5_accuracy", self.top5_accuracy, _Places) if self.top5_accuracy else []),
                *unlike("per_class", self.per_class, _per_class(len(self.class_names))),
                *wrong_placement(self.placement), *wrong_image_names(self.image_names, self.images),
                *super().misfits()]
