"""Records of the leaderboard: one JSON file per entry and seed. This module does not import torch."""

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from shiftscope import files
from shiftscope.errors import CheckpointError, UsageError, quoted
from shiftscope.reading import read_json
from shiftscope.results.audit import INTERVALS, SelfCheck
from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds, unlike

COMMON = ("settings_requested", "dataset", "split", "images", "labels", "placements", "mode", "placement")
"""Fields that are equal in all records of a table."""

MAX_RECORD_BYTES = 2**18
"""Size limit of a record, which is about 30 kB."""

METRICS = ("mean_accuracy", "worst_case_accuracy", "consistency", "unanimity", "middle_accuracy")
"""Metrics of an audit that the leaderboard shows."""

MAX_COUNT_BYTES = 2**24
"""Size limit of the unpacked counts."""


@dataclass(frozen=True, kw_only=True)
class LeaderboardRecord(Record):
    """Results of one entry of the leaderboard with one seed.

    It is stored in a JSON file of at most 30 kB. Packed counts per image allow comparisons image by image without the
    checkpoints.
    """

    kind: ClassVar[str] = "leaderboard-entry"

    entry: str
    title: str
    description: str
    """How the classifier was trained and repaired."""
    model: str
    """Registry name."""
    repair: str | None
    """Method of the repair."""
    preset: str | None
    trained: str
    """"random" or "centered"."""
    seed: int
    parameters: Count
    """Of the audited classifier."""
    epochs: Count
    train_images: Count
    train_seconds: Seconds
    """Of training steps, fine-tuning included."""
    settings: dict[str, Any]
    """`TrainSettings`, resolved, with the plan."""
    settings_requested: dict[str, Any]
    """Settings of the leaderboard; only records with the same ones share a table."""
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
    """95 % confidence intervals over images of the five metrics."""
    flips: Count
    """Predictions, of images times placements, that differ from the image's prediction at the middle placement."""
    ties: Count
    nonfinite: Count
    self_check: SelfCheck
    notes: list[str]
    labels: int
    """CRC-32 of the true classes in their order, equal for records of the same images."""
    packed_counts: str
    """Number of correct placements per image, see `pack_counts`."""

    @property
    def key(self) -> str:
        """The record's name in files and messages, for instance "two-conv-seed0"."""
        return f"{self.entry}-seed{self.seed}"

    @property
    def correct_counts(self) -> np.ndarray:
        """int64 (N,), number of correct placements per image."""
        return unpack_counts(self.packed_counts, self.images, self.placements)

    def misfits(self) -> list[str]:
        return [*unlike("intervals", self.intervals, INTERVALS), *super().misfits()]

    def check(self) -> None:
        """Raise a `CheckpointError` if the counts contradict the metrics."""
        if not self.images or not self.placements:
            raise CheckpointError("it has no images or no placements")
        mean = self.correct_counts.sum() / (self.images * self.placements)
        worst = (self.correct_counts == self.placements).mean()
        if not (abs(mean - self.mean_accuracy) <= 1e-9 and abs(worst - self.worst_case_accuracy) <= 1e-9):  # NaN too
            raise CheckpointError(f"its counts give a mean accuracy of {mean:.6f} and a worst-case accuracy of "
                                  f"{worst:.6f}, its metrics are {self.mean_accuracy:.6f} and "
                                  f"{self.worst_case_accuracy:.6f}")


def pack_counts(counts: np.ndarray, placements: int) -> str:
    """Return the number of incorrect placements per image as text: base 85 of deflated bytes.

    The low bytes of all images come first, then the next ones: the high bytes are nearly all equal.

    Args:
        counts: integers (N,) from 0 to `placements`, numbers of correct placements.

    Example:
        >>> unpack_counts(pack_counts(np.array([3, 0, 841]), 841), 3, 841)
        array([  3,   0, 841])
    """
    planes = (placements - counts).astype("<u4").view(np.uint8).reshape(-1, 4)[:, :_bytes_of(placements)]
    return base64.b85encode(zlib.compress(planes.T.tobytes(), 9)).decode("ascii")


def unpack_counts(text: str, images: int, placements: int) -> np.ndarray:
    """Return the counts that `pack_counts` packed, int64 (images,).

    Raises:
        CheckpointError: if the text is invalid or has another number of images or placements.
    """
    try:
        size = _bytes_of(placements) * images
        if size > MAX_COUNT_BYTES:
            raise ValueError(f"{size:,} bytes, the limit is {MAX_COUNT_BYTES:,}")
        stream = zlib.decompressobj()
        unpacked = stream.decompress(base64.b85decode(text), size + 1)
        if not stream.eof:
            raise ValueError("truncated or too long")
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


def record_path(folder: Path, entry: str, seed: int) -> Path:
    """Return the file of the record of an entry and seed."""
    return folder / f"{entry}-seed{seed}.json"


def write_record(record: LeaderboardRecord, folder: Path) -> Path:
    """Write a record into the folder and return its path."""
    path = record_path(folder, record.entry, record.seed)
    files.write_json(path, record.to_dict())
    return path


def read_record(path: Path) -> LeaderboardRecord:
    """Read a record and check its metrics against its counts.

    Raises:
        CheckpointError: if it is unreadable, corrupt, from another version, or of another entry.
    """
    try:
        record = LeaderboardRecord.from_dict(read_json(path, limit=MAX_RECORD_BYTES))
        record.check()
        if path.name != record_path(path.parent, record.entry, record.seed).name:
            raise CheckpointError(f"it is of {record.entry} and seed {record.seed}")
    except (OSError, CheckpointError) as error:
        why = files.reason(error) if isinstance(error, OSError) else error
        raise CheckpointError(f"{path} is not a valid record of the leaderboard: {why}; remove it to compute it "
                              "again") from error
    return record


def read_records(folder: Path) -> list[LeaderboardRecord]:
    """Return all records of a folder, by entry and seed; none if the folder does not exist.

    Raises:
        CheckpointError: if one of them is unreadable or corrupt.
        UsageError: if two of them have different settings and cannot share a table.
    """
    records = [read_record(path) for path in sorted(folder.glob("*.json"))]
    for record in records[1:]:
        for name in COMMON:
            one, other = getattr(records[0], name), getattr(record, name)
            if one != other:
                raise UsageError(f"the records {records[0].key} and {record.key} in {folder} differ in {name} "
                                 f"({quoted(one)} and {quoted(other)}) and cannot share a table; move one of them to "
                                 "another folder with --results")
    return sorted(records, key=lambda record: (record.entry, record.seed))


def by_entry(records: Sequence[LeaderboardRecord]) -> dict[str, list[LeaderboardRecord]]:
    """Return the records of each entry, ordered by seed."""
    groups: dict[str, list[LeaderboardRecord]] = {}
    for record in sorted(records, key=lambda one: one.seed):
        groups.setdefault(record.entry, []).append(record)
    return groups
