"""From answers to figures: what follows from the class that every image was given at every placement."""

from typing import Any

import numpy as np

from shiftscope.metrics import mean_interval, wilson
from shiftscope.results.agreement import agreement

STRIDES = (2, 4, 8)
"""Of the phases that `by_phase` tells apart: what most networks sample by."""


def figures(predictions: np.ndarray, labels: np.ndarray, classes: int, middle: int) -> dict[str, Any]:
    """Return the five figures of an audit and their 95 % confidence intervals over images.

    Shares of images have Wilson's interval, means over images that of the normal approximation.

    Args:
        answers: (N, P).
        labels: int64 (N,).
        middle: column of the middle placement.

    Example:
        >>> found = figures(np.array([[0, 0], [0, 1]], dtype=np.uint8), np.array([0, 0]), 2, middle=1)
        >>> found["mean_accuracy"], found["worst_case_accuracy"], found["consistency"], found["middle_accuracy"]
        (0.75, 0.5, 0.75, 0.5)
    """
    images, placements = predictions.shape
    correct_counts = (predictions == labels[:, None]).sum(1, dtype=np.int32)
    consistency, unanimous = agreement(predictions, classes)
    means = {"mean_accuracy": correct_counts / placements, "consistency": consistency}
    shares = {"worst_case_accuracy": correct_counts == placements, "unanimity": unanimous,
              "middle_accuracy": predictions[:, middle] == labels}
    intervals = {name: mean_interval(values.tolist()) for name, values in means.items()}
    intervals |= {name: wilson(int(hits.sum()), images) for name, hits in shares.items()}
    mean = float(correct_counts.sum(dtype=np.int64) / (images * placements))
    return {"mean_accuracy": mean, "consistency": float(consistency.mean()),
            **{name: float(hits.mean()) for name, hits in shares.items()},
            "intervals": intervals, "correct_counts": correct_counts}


def right_by_class(predictions: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return int64 (K, P): images of each class that are right at each placement."""
    found = np.zeros((classes, predictions.shape[1]), np.int64)
    for cls in range(classes):
        found[cls] = (predictions[labels == cls] == cls).sum(0)
    return found


def maps(predictions: np.ndarray, labels: np.ndarray, classes: int, offsets: np.ndarray, rows: np.ndarray,
         columns: np.ndarray) -> dict[str, Any]:
    """Return accuracy by placement: of all images, of each class, and by the offset's phase.

    Args:
        offsets: int64 (P, 2), the placement of each column of `answers`.
        rows: int64 (R,), all values of dy, rising.
        columns: int64 (Q,), all values of dx.

    Returns:
        accuracy_map (R, Q), class_maps (K, R, Q), per_class (K), by_phase, as `Audit` has them.
    """
    hits = right_by_class(predictions, labels, classes)
    totals = np.bincount(labels, minlength=classes)
    where = np.searchsorted(rows, offsets[:, 0]), np.searchsorted(columns, offsets[:, 1])
    accuracy = np.full((len(rows), len(columns)), np.nan)
    accuracy[where] = hits.sum(0) / len(labels)
    each = np.full((classes, len(rows), len(columns)), np.nan, np.float32)
    present = np.flatnonzero(totals)
    each[present[:, None], where[0], where[1]] = hits[present] / totals[present, None]
    per_class = [int(hit) / (int(total) * predictions.shape[1]) if total else None
                 for hit, total in zip(hits.sum(1), totals, strict=True)]
    return {"accuracy_map": accuracy, "class_maps": each, "per_class": per_class,
            "by_phase": by_phase(hits.sum(0) / len(labels), offsets)}


def by_phase(accuracy: np.ndarray, offsets: np.ndarray) -> dict[str, list[list[float | None]]]:
    """Return the mean accuracy of the placements of each phase (dy mod s, dx mod s), None where there are none.

    Args:
        accuracy: float64 (P,).
        offsets: int64 (P, 2).

    Example:
        >>> by_phase(np.array([1.0, 0.5, 0.0]), np.array([[0, 0], [0, 1], [0, 2]]))["2"]
        [[0.5, 0.5], [None, None]]
    """
    tables = {}
    for stride in STRIDES:
        phase = (offsets % stride) @ np.array([stride, 1])
        counts = np.bincount(phase, minlength=stride**2)
        sums = np.bincount(phase, weights=accuracy, minlength=stride**2)
        cells = [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
        tables[str(stride)] = [cells[begin:begin + stride] for begin in range(0, stride**2, stride)]
    return tables
