"""One line of the leaderboard: what one classifier, made in one way with one seed, answers at every placement."""

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.errors import CheckpointError
from shiftscope.results.audit import INTERVALS, SelfCheck
from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds, unlike

FIGURES = ("mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy")
"""The figures of an audit that the leaderboard shows."""

MOST_COUNTS = 2**24
"""Bytes of the counts of all images, unpacked."""


@dataclass(frozen=True, kw_only=True)
class Standing(Record):
    """The figures of one entry of the leaderboard with one seed.

    It is one JSON file of at most 30 kB, kept with the code: per-image counts are packed into it, so that entries can
    be compared image by image when their checkpoints are long gone.
    """

    kind: ClassVar[str] = "standing"

    entry: str
    title: str
    made: str
    """How the classifier was made, in a sentence."""
    model: str
    """Registry name of what was trained."""
    repair: str | None
    """What was done to it afterwards."""
    preset: str | None
    trained: str
    """"random" or "centered"."""
    seed: int
    parameters: Count
    """Of the classifier that was audited."""
    epochs: Count
    train_images: Count
    train_seconds: Seconds
    """Of training steps, fine-tuning included."""
    settings: dict[str, Any]
    """`TrainSettings`, resolved, with the plan."""
    asked: dict[str, Any]
    """What the leaderboard was asked for: records that differ in it are not shown together."""
    hardware: dict[str, Any]
    """Of the training."""
    claims: dict[str, dict[str, str]]
    """By mode: {"level", "why"}."""
    measured: str
    """Day of the audit."""
    dataset: str
    synthetic: bool
    split: str
    classes: Count
    images: Count
    placements: Count
    mode: str
    placement: dict[str, Any]
    engine: str
    reason: str
    audit_seconds: Seconds
    mean_accuracy: float
    worst_case_accuracy: float
    consistency: float
    unanimity: float
    middle_accuracy: float
    intervals: dict[str, list[float]]
    """95 % confidence intervals over images of the five figures."""
    flips: Count
    """Answers, of images times placements, that differ from the image's answer at the middle placement."""
    ties: Count
    nonfinite: Count
    self_check: SelfCheck
    notes: list[str]
    labels: int
    """CRC-32 of the true classes in their order: tells whether two records are of the same images."""
    packed_counts: str
    """Placements right of each image, see `pack_counts`."""

    @property
    def key(self) -> str:
        """The record's name in files and sentences, for instance "two-conv-seed0"."""
        return f"{self.entry}-seed{self.seed}"

    @property
    def correct_counts(self) -> np.ndarray:
        """int64 (N,), placements at which each image is classified right."""
        return unpack_counts(self.packed_counts, self.images, self.placements)

    def misfits(self) -> list[str]:
        return [*unlike("intervals", self.intervals, INTERVALS), *super().misfits()]

    def check(self) -> None:
        """Raise a `CheckpointError` where the counts of images do not give the figures beside them."""
        if not self.images or not self.placements:
            raise CheckpointError("it is of no images or of no placements")
        mean = self.correct_counts.sum() / (self.images * self.placements)
        worst = (self.correct_counts == self.placements).mean()
        if not (abs(mean - self.mean_accuracy) <= 1e-9 and abs(worst - self.worst_case_accuracy) <= 1e-9):  # NaN too
            raise CheckpointError(f"its images are right at {mean:.6f} of the placements and {worst:.6f} of them at "
                                  f"all, but it says {self.mean_accuracy:.6f} and {self.worst_case_accuracy:.6f}")


def pack_counts(counts: np.ndarray, placements: int) -> str:
    """Return how many placements of each image are *not* right as text: base 85 of deflated bytes.

    First the low bytes of all images, then the next ones: the high bytes are nearly all alike.

    Args:
        counts: whole numbers (N,) from 0 to `placements`, placements that are right.

    Example:
        >>> unpack_counts(pack_counts(np.array([3, 0, 841]), 841), 3, 841)
        array([  3,   0, 841])
    """
    planes = (placements - counts).astype("<u4").view(np.uint8).reshape(-1, 4)[:, :_bytes_of(placements)]
    return base64.b85encode(zlib.compress(planes.T.tobytes(), 9)).decode("ascii")


def unpack_counts(text: str, images: int, placements: int) -> np.ndarray:
    """Return what `pack_counts` was given, int64 (images,).

    Raises:
        CheckpointError: the text is no such thing, or of other numbers of images or placements.
    """
    try:
        size = _bytes_of(placements) * images
        if size > MOST_COUNTS:
            raise ValueError(f"{size:,} bytes, the limit is {MOST_COUNTS:,}")
        stream = zlib.decompressobj()
        unpacked = stream.decompress(base64.b85decode(text), size + 1)
        if not stream.eof:
            raise ValueError("cut off, or more than that")
        planes = np.frombuffer(unpacked, np.uint8).reshape(_bytes_of(placements), images)
    except (ValueError, zlib.error, binascii.Error) as error:
        raise CheckpointError(f"its counts of {images} images at {placements} placements are corrupt "
                              f"({error})") from error
    counts = placements - (planes.T.astype(np.int64) << (8 * np.arange(len(planes)))).sum(1)
    if images and counts.min() < 0:
        raise CheckpointError(f"its counts go down to {counts.min()}, expected 0 to {placements}")
    return counts


def _bytes_of(placements: int) -> int:
    return max(1, (placements.bit_length() + 7) // 8)
