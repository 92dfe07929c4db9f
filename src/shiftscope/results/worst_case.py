"""The worst-case accuracy alone, without the figures that need every prediction."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from shiftscope.results.audit import SelfCheck
from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds


@dataclass(frozen=True, kw_only=True)
class WorstCase(Record):
    """Which of N images are classified correctly at every placement. Other figures of an `Audit` are unknown: None."""

    kind: ClassVar[str] = "worst-case"
    arrays: ClassVar[tuple[str, ...]] = ("labels", "failed", "error_offset", "error_prediction")
    layout: ClassVar[Mapping[str, str]] = {"labels": "i N", "failed": "b N", "error_offset": "i N 2",
                                           "error_prediction": "i N"}

    model: str
    dataset: str
    synthetic: bool
    """True if the images are synthetic."""
    split: str
    trained: str
    """"random", "centered" or "unknown"."""
    class_names: list[str]
    images: Count
    placements: Count
    mode: str
    placement: dict[str, Any]
    """Return value of `Placement.to_dict`."""
    computed: Count
    """Number of predictions that were computed, of `images` times `placements`."""
    partial: bool
    """True if the audit was interrupted. Figures are then of the first `images` images."""
    engine: Literal["dense", "brute"]
    reason: str
    seconds: Seconds
    device: str
    worst_case_accuracy: float
    """Fraction of images with a correct prediction at every placement."""
    middle_accuracy: float
    """Accuracy of the centered images."""
    mean_accuracy: None = None
    """Unknown: an image was left at its first error."""
    consistency: None = None
    """Unknown, as `mean_accuracy`."""
    unanimity: None = None
    """Unknown, as `mean_accuracy`."""
    intervals: dict[str, list[float]]
    """95 % confidence intervals [low, high] over images, of the two accuracies."""
    self_check: SelfCheck
    notes: list[str]

    labels: np.ndarray
    """int64 (N,), true classes."""
    failed: np.ndarray
    """bool (N,), True if a prediction is incorrect."""
    error_offset: np.ndarray
    """int64 (N, 2), offset of the error that was found first; of an image without errors, the middle."""
    error_prediction: np.ndarray
    """int64 (N,), the prediction there; -1 if it is non-finite."""

    def sizes(self) -> dict[str, int]:
        return {"N": self.images}
