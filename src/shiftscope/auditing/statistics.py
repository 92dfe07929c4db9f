"""Figures of an audit, computed from the predictions of all images at all placements."""

from typing import Any

import numpy as np

from shiftscope.metrics import mean_interval, wilson_interval
from shiftscope.results.agreement import agreement

STRIDES = (2, 4, 8)
"""Strides of the phases in `by_phase`: common total strides of networks."""


def figures(predictions: np.ndarray, labels: np.ndarray, classes: int, middle: int) -> dict[str, Any]:
    """Return the five figures of an audit and their 95 % confidence intervals over images.

    Fractions of images have Wilson's interval, means over images that of the normal approximation.

    Args:
        predictions: (N, P).
        labels: int64 (N,).
        middle: column of the middle placement.

    Example:
        >>> record = figures(np.array([[0, 0], [0, 1]], dtype=np.uint8), np.array([0, 0]), 2, middle=1)
        >>> record["mean_accuracy"], record["worst_case_accuracy"], record["consistency"], record["middle_accuracy"]
        (0.75, 0.5, 0.75, 0.5)
    """
    images, placements = predictions.shape
    correct_counts = (predictions == labels[:, None]).sum(1, dtype=np.int32)
    consistency, unanimous = agreement(predictions, classes)
    means = {"mean_accuracy": correct_counts / placements, "consistency": consistency}
    fractions = {"worst_case_accuracy": correct_counts == placements, "unanimity": unanimous,
                 "middle_accuracy": predictions[:, middle] == labels}
    intervals = {name: mean_interval(values.tolist()) for name, values in means.items()}
    intervals |= {name: wilson_interval(int(hits.sum()), images) for name, hits in fractions.items()}
    mean = float(correct_counts.sum(dtype=np.int64) / (images * placements))
    return {"mean_accuracy": mean, "consistency": float(consistency.mean()),
            **{name: float(hits.mean()) for name, hits in fractions.items()},
            "intervals": intervals, "correct_counts": correct_counts}


def maps(predictions: np.ndarray, labels: np.ndarray, classes: int, offsets: np.ndarray, rows: np.ndarray,
         columns: np.ndarray) -> dict[str, Any]:
    """Return accuracy by placement: of all images, of each class, and by the phase of the offset.

    Args:
        offsets: int64 (P, 2), the placement of each column of `predictions`.
        rows: int64 (R,), all values of dy, ascending.
        columns: int64 (Q,), all values of dx, ascending.

    Returns:
        accuracy_map (R, Q), class_maps (K, R, Q), per_class (K) and by_phase, as in `Audit`.
    """
    hits = np.stack([(predictions[labels == cls] == cls).sum(0, dtype=np.int64) for cls in range(classes)])  # (K, P)
    totals = np.bincount(labels, minlength=classes)
    cells = np.searchsorted(rows, offsets[:, 0]), np.searchsorted(columns, offsets[:, 1])
    accuracy = np.full((len(rows), len(columns)), np.nan)
    accuracy[cells] = hits.sum(0) / len(labels)
    class_maps = np.full((classes, len(rows), len(columns)), np.nan, np.float32)
    present = np.flatnonzero(totals)
    class_maps[present[:, None], cells[0], cells[1]] = hits[present] / totals[present, None]
    per_class = [int(hit) / (int(total) * predictions.shape[1]) if total else None
                 for hit, total in zip(hits.sum(1), totals, strict=True)]
    return {"accuracy_map": accuracy, "class_maps": class_maps, "per_class": per_class,
            "by_phase": by_phase(hits.sum(0) / len(labels), offsets)}


def by_phase(accuracy: np.ndarray, offsets: np.ndarray) -> dict[str, list[list[float | None]]]:
    """Return the mean accuracy of the placements of each phase (dy mod s, dx mod s), None if there are none.

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
        means = [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
        tables[str(stride)] = [means[begin:begin + stride] for begin in range(0, stride**2, stride)]
    return tables
