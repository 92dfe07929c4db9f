"""Figures of an audit, computed from the predictions of all images at all placements."""

import math
from typing import Any

import numpy as np

from shiftscope.metrics import mean_interval, wilson_interval
from shiftscope.results.agreement import agreement, agreement_map

STRIDES = (2, 4, 8)
"""Strides of the phases in `by_phase`: common total strides of networks."""


def figures(predictions: np.ndarray, labels: np.ndarray, classes: int, middle: int) -> dict[str, Any]:
    """Return the five figures of an audit and their 95 % confidence intervals over images.

    Fractions of images have Wilson's interval, means over images that of the normal approximation. Without labels, the
    figures of accuracy and their intervals are NaN, and `correct_counts` is -1.

    Args:
        predictions: (N, P).
        labels: int64 (N,); -1 for all images: they have no labels.
        middle: column of the middle placement.

    Example:
        >>> record = figures(np.array([[0, 0], [0, 1]], dtype=np.uint8), np.array([0, 0]), 2, middle=1)
        >>> record["mean_accuracy"], record["worst_case_accuracy"], record["consistency"], record["middle_accuracy"]
        (0.75, 0.5, 0.75, 0.5)
    """
    images, placements = predictions.shape
    consistency, unanimous = agreement(predictions, classes)
    found: dict[str, Any] = {"consistency": float(consistency.mean()), "unanimity": float(unanimous.mean())}
    intervals = {"consistency": mean_interval(consistency.tolist()),
                 "unanimity": wilson_interval(int(unanimous.sum()), images)}
    if not has_labels(labels):
        missing = dict.fromkeys(("mean_accuracy", "worst_case_accuracy", "middle_accuracy"), math.nan)
        intervals |= {name: [math.nan, math.nan] for name in missing}
        return found | missing | {"intervals": intervals, "correct_counts": np.full(images, -1, np.int32)}
    correct_counts = (predictions == labels[:, None]).sum(1, dtype=np.int32)
    fractions = {"worst_case_accuracy": correct_counts == placements,
                 "middle_accuracy": predictions[:, middle] == labels}
    intervals["mean_accuracy"] = mean_interval((correct_counts / placements).tolist())
    intervals |= {name: wilson_interval(int(hits.sum()), images) for name, hits in fractions.items()}
    found["mean_accuracy"] = float(correct_counts.sum(dtype=np.int64) / (images * placements))
    found |= {name: float(hits.mean()) for name, hits in fractions.items()}
    return found | {"intervals": intervals, "correct_counts": correct_counts}


def has_labels(labels: np.ndarray) -> bool:
    """Return True if images have labels: no label is -1."""
    return bool((labels >= 0).all())


def top5_figures(top5: np.ndarray) -> dict[str, Any]:
    """Return the top-5 accuracy over images and placements with its 95 % confidence interval over images.

    Args:
        top5: bool (N, P), True where the true class is among the five largest outputs; (N, 0): not computed.

    Returns:
        top5_accuracy, top5_counts and intervals, as in `Audit`; NaN, -1 and no interval if not computed.

    Example:
        >>> top5_figures(np.array([[True, True], [True, False]]))["top5_accuracy"]
        0.75
    """
    if not top5.shape[1]:
        return {"top5_accuracy": math.nan, "top5_counts": np.full(len(top5), -1, np.int32), "intervals": {}}
    counts = top5.sum(1, dtype=np.int32)
    return {"top5_accuracy": float(top5.mean()), "top5_counts": counts,
            "intervals": {"top5_accuracy": mean_interval((counts / top5.shape[1]).tolist())}}


def maps(predictions: np.ndarray, labels: np.ndarray, classes: int, offsets: np.ndarray, rows: np.ndarray,
         columns: np.ndarray, middle: int | None = None) -> dict[str, Any]:
    """Return accuracy by placement: of all images, of each class, by the phase of the offset; and the agreement map.

    Without labels, all accuracies are NaN in arrays and None in lists.

    Args:
        offsets: int64 (P, 2), the placement of each column of `predictions`.
        rows: int64 (R,), all values of dy, ascending.
        columns: int64 (Q,), all values of dx, ascending.
        middle: column of the middle placement; None: the agreement map is NaN.

    Returns:
        accuracy_map (R, Q), agreement_map (R, Q), class_maps (K, R, Q), per_class (K) and by_phase, as in `Audit`.
    """
    accuracy = np.full((len(rows), len(columns)), np.nan)
    class_maps = np.full((classes, len(rows), len(columns)), np.nan, np.float32)
    per_class: list[float | None] = [None] * classes
    found = {"accuracy_map": accuracy, "class_maps": class_maps, "per_class": per_class,
             "agreement_map": agreement_map(predictions, middle, offsets, rows, columns)}
    if not has_labels(labels):
        return found | {"by_phase": by_phase(np.full(len(offsets), np.nan), offsets)}
    present, totals = np.unique(labels, return_counts=True)
    hits = np.stack([(predictions[labels == cls] == cls).sum(0, dtype=np.int64) for cls in present])  # (present, P)
    cells = np.searchsorted(rows, offsets[:, 0]), np.searchsorted(columns, offsets[:, 1])
    accuracy[cells] = hits.sum(0) / len(labels)
    class_maps[present[:, None], cells[0], cells[1]] = hits / totals[:, None]
    for cls, hit, total in zip(present, hits.sum(1), totals, strict=True):
        per_class[cls] = int(hit) / (int(total) * predictions.shape[1])
    return found | {"by_phase": by_phase(hits.sum(0) / len(labels), offsets)}


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
        means = [float(total / count) if count and not math.isnan(total) else None
                 for total, count in zip(sums, counts, strict=True)]
        tables[str(stride)] = [means[begin:begin + stride] for begin in range(0, stride**2, stride)]
    return tables
