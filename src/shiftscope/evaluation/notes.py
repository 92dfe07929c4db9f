"""Sentences that say what makes the figures of an evaluation or an audit doubtful, each only where it is true."""

from collections.abc import Sequence

import numpy as np

FEW = 100
"""Fewer images than these give wide confidence intervals, and a note says so."""

OFTEN = 0.001
"""Share of the predictions above which ties are noted."""

FAR_BELOW = 0.03
"""So much may the centered accuracy lie below what the user states, beyond its confidence interval."""

REMEDY = "check that the model wants pixels in [0, 1] and was given its own normalization (normalize=)"


def few_images(count: int) -> list[str]:
    """Say that there are few images.

    >>> few_images(7)
    ['fewer than 100 images (7): the confidence intervals are wide']
    """
    return [f"fewer than {FEW} images ({count}): the confidence intervals are wide"] if count < FEW else []


def tie_notes(exact_ties: int, ties: int, count: int, tolerance: float) -> list[str]:
    """Say how many predictions rounding or the order of the classes decides, where they are more than `OFTEN`.

    Args:
        exact_ties, ties: see `Audit`.
        count: all predictions.
        tolerance: of near ties.
    """
    notes = []
    if exact_ties > OFTEN * count:
        notes.append(f"{exact_ties:,} of {count:,} predictions are exact ties: the two largest outputs are equal, and "
                     "the first of them is the label")
    if ties > OFTEN * count:
        notes.append(f"{ties:,} of {count:,} predictions are near ties: the two largest outputs differ by at most "
                     f"{tolerance:.3g}, so rounding may decide")
    return notes


def one_class(predictions: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Say that one class is predicted for everything, though the images are of several.

    Args:
        predictions: (N, P) or (N,), at least 0; larger than any class, or -1, where non-finite.
        labels: (N,).

    Example:
        >>> one_class(np.array([1, 1, 1]), np.array([0, 1, 1]), ("cat", "dog"))
        ["one class, 'dog', is predicted for everything: consistency and unanimity say nothing then"]
    """
    found = np.unique(predictions)
    if len(found) != 1 or not 0 <= found[0] < len(class_names) or len(np.unique(labels)) < 2:
        return []
    return [f"one class, {class_names[found[0]]!r}, is predicted for everything: consistency and unanimity say nothing "
            "then"]


def doubtful(centered: float, interval: Sequence[float], classes: int, expected: float | None = None) -> list[str]:
    """Say where the centered accuracy makes all figures doubtful.

    It is near chance where it is below 1.5 times chance and its interval ends below the middle between chance and 1: so
    few images may well be wrong by accident.

    Args:
        centered: accuracy of centered images.
        interval: its 95 % confidence interval.
        classes: K; chance is 1 / K.
        expected: what the caller knows.
    """
    chance, high = 1 / classes, interval[1]
    if centered < 1.5 * chance and high < (1 + chance) / 2:
        return [f"centered accuracy is {100 * centered:.1f} %, near chance ({100 * chance:.1f} %): {REMEDY}"]
    if expected is not None and high + FAR_BELOW < expected:
        return [f"centered accuracy is {100 * centered:.1f} %, far below the {100 * expected:.1f} % expected: {REMEDY}"]
    return []
