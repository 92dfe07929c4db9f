"""Estimates of an audit's figures at all placements from a random sample that all images share."""

import math
from typing import Any

import numpy as np

from shiftscope.auditing.statistics import has_labels
from shiftscope.metrics import Z_95, student_95, wilson_interval

LEAST = 3
"""Placements besides the middle one from which the variance over placements can be estimated."""

_IMAGES = 1024


def sampled_figures_of(predictions: np.ndarray, labels: np.ndarray, classes: int, middle: int, possible: int,
                       top5: np.ndarray | None = None) -> dict[str, Any]:
    """Return mean accuracy, top-5 accuracy and consistency without bias, and 95 % intervals of the exact figures.

    The sample holds the middle placement, and others drawn without replacement. The intervals of these three are over
    images and placements: the variance over images, and that over placements (jackknife, Student's t, finite
    population). Worst-case accuracy and unanimity of all placements are at most those of the sample, so their intervals
    begin at 0.

    Args:
        predictions: (N, n), at n of the placements; values of at least `classes` are non-finite predictions.
        labels: int64 (N,); -1 for all images: they have no labels, and accuracies are left out.
        classes: K.
        middle: column of the middle placement.
        possible: P, the number of all placements, more than n.
        top5: bool (N, n), True where the true class is among the five largest outputs; None or (N, 0): not computed.

    Returns:
        mean_accuracy, top5_accuracy, consistency and intervals, as in `Audit`.

    Example:
        >>> found = sampled_figures_of(np.array([[0, 0, 0, 1, 1]] * 4), np.zeros(4, int), 2, middle=0, possible=9)
        >>> round(found["mean_accuracy"], 4)
        0.5556
    """
    others = np.delete(predictions, middle, axis=1)
    estimates = {"consistency": _consistency(predictions[:, middle], others, classes, possible)}
    upper = {"unanimity": (predictions == predictions[:, :1]).all(1)}
    if has_labels(labels):
        correct = predictions == labels[:, None]
        estimates["mean_accuracy"] = _accuracy(correct[:, middle], np.delete(correct, middle, axis=1), possible)
        upper["worst_case_accuracy"] = correct.all(1)
    if top5 is not None and top5.shape[1]:
        estimates["top5_accuracy"] = _accuracy(top5[:, middle], np.delete(top5, middle, axis=1), possible)
    intervals = {name: _interval(values, leave_out, possible) for name, (values, leave_out) in estimates.items()}
    intervals |= {name: [0.0, wilson_interval(int(hits.sum()), len(labels))[1]] for name, hits in upper.items()}
    return {"intervals": intervals, **{name: float(np.clip(values.mean(), 0, 1))
                                       for name, (values, _) in estimates.items()}}


def _accuracy(middle: np.ndarray, others: np.ndarray, possible: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimated fraction of correct placements of each image (N,), and the mean without each placement."""
    count, rest = others.shape[1], 1 - 1 / possible
    values = middle / possible + rest * (others.mean(1) if count else middle)
    sums = others.mean(0)
    without = middle.mean() / possible + rest * (sums.sum() - sums) / max(1, count - 1)
    return values, without


def _consistency(middle: np.ndarray, others: np.ndarray, classes: int,
                 possible: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the estimated consistency of each image (N,), and the mean without each placement.

    Of the P * P pairs of placements, P are pairs of a placement with itself, 2 (P - 1) contain the middle once.
    """
    count = others.shape[1]
    with_middle, of_others = 2 * (possible - 1) / possible**2, (possible - 1) * (possible - 2) / possible**2
    same = others == middle[:, None]
    pairs, less = np.ones(len(others)), np.zeros(count)
    for begin in range(0, len(others) if count > 1 else 0, _IMAGES):
        some = np.minimum(others[begin:begin + _IMAGES].astype(np.int64), classes)
        counts = np.zeros((len(some), classes + 1), np.int64)
        np.add.at(counts, (np.arange(len(some))[:, None], some), 1)
        agreeing = (counts**2).sum(1) - count
        pairs[begin:begin + _IMAGES] = agreeing / (count * (count - 1))
        less += (agreeing[:, None] - 2 * (np.take_along_axis(counts, some, 1) - 1)).sum(0)
    values = 1 / possible + with_middle * (same.mean(1) if count else 1.0) + of_others * pairs
    if count < LEAST:
        return values, np.full(count, values.mean())
    sums = same.mean(0)
    without = (1 / possible + with_middle * (sums.sum() - sums) / (count - 1)
               + of_others * less / (len(others) * (count - 1) * (count - 2)))
    return values, without


def _interval(values: np.ndarray, without: np.ndarray, possible: int) -> list[float]:
    """Return the interval of a mean: of one value per image, with the means without each drawn placement."""
    count = len(without)
    if count < LEAST or len(values) < 2:
        return [0.0, 1.0]
    over_images = values.var(ddof=1) / len(values)
    over_placements = (count - 1) / count * ((without - without.mean()) ** 2).sum() * (1 - count / (possible - 1))
    half = math.sqrt(Z_95**2 * over_images + student_95(count - 1) ** 2 * over_placements)
    mean = float(values.mean())
    return [min(1.0, max(0.0, mean - half)), max(0.0, min(1.0, mean + half))]
