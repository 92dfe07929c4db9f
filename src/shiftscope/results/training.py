"""What training a model leaves behind."""

from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict

from shiftscope.results.base import Record
from shiftscope.results.whole import Count, Seconds


class EpochRecord(TypedDict):
    """One line of a history. Losses are mean cross entropy; accuracies are shares, 0 to 1; val_accuracy may be None."""

    epoch: int
    train_loss: float
    train_accuracy: float
    val_accuracy: float | None


@dataclass(frozen=True, kw_only=True)
class TrainResult(Record):
    """How a training went.

    `train_accuracy` is the running mean over an epoch's steps, with dropout active; `val_accuracy` is measured after
    the epoch at one fixed seeded placement an image. `train_seconds` counts training steps only, over all resumes.
    """

    kind: ClassVar[str] = "training"

    model: str
    """Name in tables and figures: "two-full", "two-conv", or "package.module:object"."""
    dataset: str
    parameters: Count
    epochs: Count
    """Epochs done."""
    seed: int
    trained: str
    """"random" (random placements) or "centered" (the middle placement only)."""
    train_images: Count
    """Images trained on, validation not counted."""
    validation_images: Count
    train_seconds: Seconds
    images_per_second: Seconds
    history: list[EpochRecord]
    settings: dict[str, Any]
    """`TrainSettings`, resolved."""
    placement: dict[str, Any]
    device: str
    checkpoint: str | None
    notes: list[str]
    """What happened on the way that a reader should know (fallbacks, warnings)."""
