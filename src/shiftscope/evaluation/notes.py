"""Notes on evaluations and audits whose figures may be unreliable; each function returns a list of sentences."""

from collections.abc import Sequence

import numpy as np

from shiftscope.placement import Placement, default_fill

FEW = 100
"""Confidence intervals are wide below this number of images."""

OFTEN = 0.001
"""Ties are noted above this fraction of the predictions."""

FAR_BELOW = 0.03
"""The centered accuracy may be this much below the expected one, in addition to its confidence interval."""

REMEDY = "check that the model expects pixels in [0, 1] and has its own normalization (normalize=)"


def few_images_notes(count: int) -> list[str]:
    """Return a note if there are few images.

    >>> few_images_notes(7)
    ['fewer than 100 images (7): the confidence intervals are wide']
    """
    return [f"fewer than {FEW} images ({count}): the confidence intervals are wide"] if count < FEW else []


def fill_notes(placement: Placement, channels: int) -> list[str]:
    """Return a note if the filled pixels of photographs affect what is measured.

    >>> fill_notes(Placement(image=(64, 64), canvas=(64, 64), mode="fill"), 3)[0][:54]
    'uncovered sides are filled with one color, which photo'
    """
    photographs = default_fill((channels, *placement.image)) == "reflect"
    if placement.mode != "fill" or not photographs:
        return []
    if placement.fill == "reflect":
        return ["uncovered sides show the mirrored image (fill reflect), so parts near the border can appear twice"]
    if placement.fill == "edge":
        return []
    return ["uncovered sides are filled with one color, which photographs do not have: the figures also measure the "
            "effect of this border, which fill='reflect' (--fill reflect) avoids"]


def tie_notes(exact_ties: int, ties: int, count: int, tolerance: float) -> list[str]:
    """Return notes if more than `OFTEN` of the predictions are decided by the order of the classes or by rounding.

    Args:
        exact_ties, ties: see `Audit`.
        count: number of predictions.
        tolerance: largest difference of a near tie.
    """
    notes = []
    if exact_ties > OFTEN * count:
        notes.append(f"{exact_ties:,} of {count:,} predictions are exact ties: the two largest outputs are equal, and "
                     "the first of them is the label")
    if ties > OFTEN * count:
        notes.append(f"{ties:,} of {count:,} predictions are near ties: the two largest outputs differ by at most "
                     f"{tolerance:.3g}, so rounding may decide")
    return notes


def one_class_notes(predictions: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Return a note if all predictions are one class although there are images of several classes.

    Args:
        predictions: (N, P) or (N,); -1, or larger than any class, if non-finite.
        labels: (N,).

    Example:
        >>> one_class_notes(np.array([1, 1, 1]), np.array([0, 1, 1]), ("cat", "dog"))
        ["one class, 'dog', is predicted for all images: consistency and unanimity are then meaningless"]
    """
    classes = np.unique(predictions)
    if len(classes) != 1 or not 0 <= classes[0] < len(class_names) or len(np.unique(labels)) < 2:
        return []
    return [f"one class, {class_names[classes[0]]!r}, is predicted for all images: consistency and unanimity are then "
            "meaningless"]


def same_class_notes(predictions: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Return a note if all predictions for several images without labels are one class.

    >>> same_class_notes(np.array([[1, 1], [1, 1]]), ("cat", "dog"))
    ["one class, 'dog', is predicted for all images: consistency is meaningful only if all show this class"]
    """
    classes = np.unique(predictions)
    if len(predictions) < 2 or len(classes) != 1 or not 0 <= classes[0] < len(class_names):
        return []
    return [f"one class, {class_names[classes[0]]!r}, is predicted for all images: consistency is meaningful only if "
            "all show this class"]


def low_accuracy_notes(centered: float, interval: Sequence[float], classes: int,
                       expected: float | None = None) -> list[str]:
    """Return a note if the accuracy of centered images is near chance, or far below the expected one.

    It is near chance if it is below 1.5 times chance and its interval ends below the midpoint between chance and 1; a
    few images can be incorrect by accident.

    Args:
        centered: accuracy of centered images.
        interval: its 95 % confidence interval.
        classes: K; chance is 1 / K.
        expected: accuracy stated by the user.
    """
    chance, high = 1 / classes, interval[1]
    if centered < 1.5 * chance and high < (1 + chance) / 2:
        return [f"centered accuracy is {100 * centered:.1f} %, near chance ({100 * chance:.1f} %): {REMEDY}"]
    if expected is not None and high + FAR_BELOW < expected:
        return [f"centered accuracy is {100 * centered:.1f} %, far below the {100 * expected:.1f} % expected: {REMEDY}"]
    return []


def nonfinite_notes(count: int, of: int, what: str) -> list[str]:
    """Return a note if some predictions are non-finite.

    >>> nonfinite_notes(2, 300, "images")
    ['2 of 300 images have non-finite outputs (NaN, or an infinite maximum); they count as incorrect']
    """
    return [f"{count:,} of {of:,} {what} have non-finite outputs (NaN, or an infinite maximum); they count as "
            "incorrect"] if count else []
