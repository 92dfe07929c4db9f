"""Consistency, unanimity and most frequent label of the predictions for an image over its placements."""

import numpy as np

_CHUNK = 2**22  # predictions counted at a time: tens of MB


def agreement(predictions: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the consistency of each image, and if it has a single label at all placements.

    The consistency is sum_k (n_k / P)^2, where n_k of the P placements have label k: the probability that two
    independent uniform placements get the same label. Non-finite predictions count as a separate label.

    Args:
        predictions: (N, P), classes below `classes`; larger values are non-finite predictions.
        classes: number of classes K.

    Returns:
        float64 (N,) and bool (N,).

    Example:
        >>> agreement(np.array([[0, 0, 1, 255], [255, 255, 255, 255]], dtype=np.uint8), 3)
        (array([0.375, 1.   ]), array([False,  True]))
    """
    consistency, unanimous, _ = label_summary(predictions, classes)
    return consistency, unanimous


def label_summary(predictions: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the result of `agreement` and the most frequent label of each image.

    Returns:
        float64 (N,), bool (N,) and int64 (N,): the smallest one of equally frequent labels; `classes` if most
        predictions are non-finite.

    Example:
        >>> label_summary(np.array([[2, 0, 2, 255], [1, 0, 0, 1], [255, 255, 1, 255]], dtype=np.uint8), 3)[2]
        array([2, 0, 3])
    """
    images, placements = predictions.shape
    step = max(1, _CHUNK // max(placements, classes + 1))
    squares, largest, frequent = np.zeros(images), np.zeros(images, np.int64), np.zeros(images, np.int64)
    for begin in range(0, images, step):
        rows = slice(begin, begin + step)
        part = np.minimum(predictions[rows].astype(np.int64), classes)
        flat = part + np.arange(len(part))[:, None] * (classes + 1)
        counts = np.bincount(flat.ravel(), minlength=len(part) * (classes + 1)).reshape(len(part), -1)
        squares[rows] = np.square(counts).sum(1) / placements**2
        largest[rows], frequent[rows] = counts.max(1), counts.argmax(1)
    return squares, largest == placements, frequent


def agreement_map(predictions: np.ndarray, middle: int | None, offsets: np.ndarray, rows: np.ndarray,
                  columns: np.ndarray) -> np.ndarray:
    """Return the fraction of images whose prediction at each placement equals that at the middle one.

    Non-finite predictions are equal to each other, as in `agreement`.

    Args:
        predictions: (N, P).
        middle: column of the middle placement; None: it was not computed.
        offsets: int64 (P, 2), the placement of each column.
        rows: int64 (R,), all values of dy, ascending.
        columns: int64 (Q,), all values of dx, ascending.

    Returns:
        float64 (R, Q), NaN at placements that were not computed, and everywhere without a middle one.

    Example:
        >>> agreement_map(np.array([[0, 1], [1, 1]]), 0, np.array([[0, 0], [0, 2]]), np.array([0]), np.array([0, 1, 2]))
        array([[1. , nan, 0.5]])
    """
    values = np.full((len(rows), len(columns)), np.nan)
    if middle is not None and len(predictions):
        cells = np.searchsorted(rows, offsets[:, 0]), np.searchsorted(columns, offsets[:, 1])
        values[cells] = (predictions == predictions[:, [middle]]).mean(0)
    return values
