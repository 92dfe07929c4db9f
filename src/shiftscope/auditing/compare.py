"""Two classifiers on the same images and placements: do they differ by more than chance?"""

import math
from typing import Any, Protocol

import numpy as np

from shiftscope.errors import UsageError
from shiftscope.metrics import STDS, mcnemar
from shiftscope.results import Audit


def compare(a: Audit, b: Audit) -> dict[str, Any]:
    """Compare two audits image by image.

    Images at the middle placement, and those right at every placement, are compared with McNemar's exact test; the
    shares of placements right with a paired z-test over images.

    Returns:
        Plain JSON: {"models", "images", "middle", "worst_case", "mean"}. The tests of shares hold "a" and "b" (the
        shares), "only_a" and "only_b" (images that one model alone gets right) and "p_value"; "mean" holds "a", "b",
        "difference" (a - b), its 95 % "interval" over images, and "p_value".

    Raises:
        UsageError: the audits are of other images or other placements.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947.
    """
    _check(a, b)
    middle = [_middle(audit) for audit in (a, b)]
    return {"models": [a.model, b.model], "images": a.images, "middle": _shares(*middle),
            "worst_case": compare_worst_case(a, b), "mean": compare_means(a, b)}


class Counted(Protocol):
    """What is left of an audit where its answers are not kept: an `Audit`, or a record of the leaderboard."""

    @property
    def placements(self) -> int: ...

    @property
    def correct_counts(self) -> np.ndarray:
        """Placements right of each image, (N,)."""
        ...

    @property
    def mean_accuracy(self) -> float: ...


def compare_worst_case(a: Counted, b: Counted) -> dict[str, Any]:
    """Return McNemar's test of the images right at every placement, see `compare`; they must be the same images."""
    return _shares(*(counted.correct_counts == counted.placements for counted in (a, b)))


def _check(a: Audit, b: Audit) -> None:
    for what in ("dataset", "split", "images", "mode"):
        if getattr(a, what) != getattr(b, what):
            raise UsageError(f"the audits of {a.model} and {b.model} differ in {what}: {getattr(a, what)!r} and "
                             f"{getattr(b, what)!r}; audit both on the same images, to the end")
    if not np.array_equal(a.labels, b.labels):
        raise UsageError(f"the audits of {a.model} and {b.model} are of other images: their labels differ")
    if a.placement != b.placement or not np.array_equal(a.offsets, b.offsets):
        raise UsageError(f"the audits of {a.model} and {b.model} are of other placements: {a.placements} of "
                         f"{a.placement} and {b.placements} of {b.placement}; audit both with one placement (and, "
                         "where it is sampled, one seed)")


def _middle(audit: Audit) -> np.ndarray:
    return audit.predictions[:, audit.geometry.column(audit.offsets)] == audit.labels


def _shares(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    only_a, only_b, p_value = mcnemar(a.tolist(), b.tolist())
    return {"a": float(a.mean()), "b": float(b.mean()), "only_a": only_a, "only_b": only_b, "p_value": p_value}


def compare_means(a: Counted, b: Counted) -> dict[str, Any]:
    """Return the paired z-test of shares of placements right, see `compare`; they must be the same images."""
    difference = (a.correct_counts - b.correct_counts) / a.placements
    mean, images = float(difference.mean()), len(difference)
    error = float(difference.std(ddof=1)) / math.sqrt(images) if images > 1 else math.inf
    p_value = math.erfc(abs(mean) / (error * math.sqrt(2))) if error > 0 else float(mean == 0)
    half = min(2.0, STDS * error)
    return {"a": a.mean_accuracy, "b": b.mean_accuracy, "difference": mean,
            "interval": [max(-1.0, mean - half), min(1.0, mean + half)], "p_value": p_value}
