"""Comparison of two audits of the same images and placements."""

import math
from typing import Any, Protocol

import numpy as np

from shiftscope.errors import UsageError
from shiftscope.metrics import Z_95, mcnemar
from shiftscope.results import Audit
from shiftscope.results.agreement import agreement


class CorrectCounts(Protocol):
    """The part of an audit that comparisons need: an `Audit`, or a record of the leaderboard."""

    @property
    def placements(self) -> int: ...

    @property
    def correct_counts(self) -> np.ndarray:
        """Number of placements at which each image is predicted correctly, (N,)."""
        ...

    @property
    def mean_accuracy(self) -> float: ...


def compare(a: Audit, b: Audit) -> dict[str, Any]:
    """Compare two audits image by image.

    Images that are correct at the middle placement, those correct at every placement, and those with a single label at
    all placements are compared with McNemar's exact test; the fractions of correct placements with a paired z-test over
    images.

    Returns:
        Plain JSON: {"models", "images", "middle", "worst_case", "mean", "unanimity"}; the first three comparisons are
        None without labels. "unanimity" has the keys of "middle", for images with a single label. "middle" and
        "worst_case" hold "a" and "b"
        (the accuracies), "only_a" and "only_b" (images that only one model predicts correctly) and "p_value"; "mean"
        holds "a", "b", "difference" (a - b), its 95 % "interval" over images, and "p_value".

    Raises:
        UsageError: if the audits have other images or other placements.

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947.
    """
    _check(a, b)
    unanimous = [agreement(audit.predictions, len(audit.class_names))[1] for audit in (a, b)]
    common = {"models": [a.model, b.model], "images": a.images, "unanimity": _accuracies(*unanimous)}
    if not a.labeled:
        return common | {"middle": None, "worst_case": None, "mean": None}
    middle = [audit.predictions[:, audit.geometry.column(audit.offsets)] == audit.labels for audit in (a, b)]
    return common | {"middle": _accuracies(*middle), "worst_case": compare_worst_case(a, b),
                     "mean": compare_means(a, b)}


def compare_worst_case(a: CorrectCounts, b: CorrectCounts) -> dict[str, Any]:
    """Return McNemar's test of the images that are correct at every placement; both must have the same images."""
    return _accuracies(*(counts.correct_counts == counts.placements for counts in (a, b)))


def compare_means(a: CorrectCounts, b: CorrectCounts) -> dict[str, Any]:
    """Return the paired z-test of the fractions of correct placements; both must have the same images."""
    difference = (a.correct_counts - b.correct_counts) / a.placements
    mean, images = float(difference.mean()), len(difference)
    error = float(difference.std(ddof=1)) / math.sqrt(images) if images > 1 else math.inf
    p_value = math.erfc(abs(mean) / (error * math.sqrt(2))) if error > 0 else float(mean == 0)
    half = min(2.0, Z_95 * error)
    return {"a": a.mean_accuracy, "b": b.mean_accuracy, "difference": mean,
            "interval": [max(-1.0, mean - half), min(1.0, mean + half)], "p_value": p_value}


def _check(a: Audit, b: Audit) -> None:
    for name in ("dataset", "split", "images", "mode"):
        if getattr(a, name) != getattr(b, name):
            raise UsageError(f"the audits of {a.model} and {b.model} differ in {name}: {getattr(a, name)!r} and "
                             f"{getattr(b, name)!r}; audit both on the same images, to the end")
    if not np.array_equal(a.labels, b.labels):
        raise UsageError(f"the audits of {a.model} and {b.model} have different labels; audit both on the same images")
    if a.placement != b.placement or not np.array_equal(a.offsets, b.offsets):
        raise UsageError(f"the audits of {a.model} and {b.model} have different placements: {a.placements} of "
                         f"{a.placement} and {b.placements} of {b.placement}; audit both with one placement (and one "
                         "seed, if it is sampled)")


def _accuracies(a: np.ndarray, b: np.ndarray) -> dict[str, Any]:
    only_a, only_b, p_value = mcnemar(a.tolist(), b.tolist())
    return {"a": float(a.mean()), "b": float(b.mean()), "only_a": only_a, "only_b": only_b, "p_value": p_value}
