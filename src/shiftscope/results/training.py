"""Result of a training."""

from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds


class EpochRecord(TypedDict):
    """One epoch. Losses are mean cross entropy; accuracies are fractions from 0 to 1; val_accuracy may be None."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class TrainResult(Record):
    """Result of a training.

    `train_accuracy` is the running mean over an epoch's steps, with dropout active; `val_accuracy` is measured after
    the epoch at one fixed random placement per image. `train_seconds` counts training steps only, including those
    before a resume.
    """

    kind: ClassVar[str] = "training"

    model: str
    """Name in tables and figures: "two-full", "two-conv", or "package.module:object"."""
    dataset: str
    parameters: Count
    epochs: Count
    """Number of completed epochs."""
    seed: int
    trained: str
    """"random" (random placements) or "centered" (the middle placement only)."""
    train_images: Count
    """Number of training images, without validation images."""
    validation_images: Count
    train_seconds: Seconds
    images_per_second: Seconds
    history: list[EpochRecord]
    settings: dict[str, Any]
    """Resolved `TrainSettings`."""
    placement: dict[str, Any]
    device: str
    checkpoint: str | None
    notes: list[str]
    """Fallbacks and warnings during the training."""
