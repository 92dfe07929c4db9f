"""Counts that all evaluations share, and how sure one may be of them."""

import math
from collections.abc import Sequence

import torch

from shiftscope.errors import UsageError

STDS = 1.959963984540054
"""Of a normal distribution, 95 % lies within so many standard deviations of its mean."""


def confusion_counts(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """Return int64 (K, K): rows true, columns predicted; predictions outside 0 .. K-1 (not finite) are left out.

    >>> confusion_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 0, -1]), 2)
    tensor([[1, 0],
            [1, 0]])
    """
    known = (predictions >= 0) & (predictions < classes)
    flat = labels[known] * classes + predictions[known]
    return torch.bincount(flat, minlength=classes * classes).view(classes, classes)


def class_shares(labels: torch.Tensor, right: torch.Tensor, classes: int) -> list[float | None]:
    """Return the share of right answers in each class, None for a class without images.

    >>> class_shares(torch.tensor([0, 1, 1]), torch.tensor([True, True, False]), 3)
    [1.0, 0.5, None]
    """
    totals = torch.bincount(labels, minlength=classes).tolist()
    hits = torch.bincount(labels[right], minlength=classes).tolist()
    return [hit / total if total else None for hit, total in zip(hits, totals, strict=True)]


def wilson(hits: int, count: int) -> list[float]:
    """Return Wilson's 95 % confidence interval [low, high] of a share: `hits` of `count` independent images.

    Unlike mean +- 1.96 standard errors it stays sensible at shares of 0 and 1.

    Example:
        >>> [round(end, 4) for end in wilson(8, 10)]
        [0.4902, 0.9433]

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    z2 = STDS**2
    center = (hits + z2 / 2) / (count + z2)
    half = STDS / (count + z2) * math.sqrt(hits * (count - hits) / count + z2 / 4)
    return [0.0 if hits == 0 else center - half, 1.0 if hits == count else center + half]


def mean_interval(values: Sequence[float] | torch.Tensor) -> list[float]:
    """Return the 95 % confidence interval [low, high] of the mean of one share an image, by the normal approximation.

    Args:
        values: from 0 to 1; of a single one nothing is known.

    Example:
        >>> [round(end, 3) for end in mean_interval([0.4, 0.5, 0.6])]
        [0.387, 0.613]
    """
    shares = torch.as_tensor(values, dtype=torch.float64)
    if len(shares) < 2:
        return [0.0, 1.0]
    mean, half = float(shares.mean()), STDS * float(shares.std()) / math.sqrt(len(shares))
    return [max(0.0, mean - half), min(1.0, mean + half)]


def mcnemar(right_a: Sequence[bool] | torch.Tensor, right_b: Sequence[bool] | torch.Tensor) -> tuple[int, int, float]:
    """Ask whether two classifiers differ on the same images: McNemar's test, exact.

    Images that both get right, or both wrong, say nothing. Of the n others, those that only one of the two gets right
    would be a binomial count with p = 1/2, were the two equally good.

    Args:
        right_a: bool (N,), whether the first classifier is right about each image.
        right_b: the same of the second one.

    Returns:
        Images that only the first gets right, those that only the second does, and the two-sided p-value.

    Raises:
        UsageError: not the same number of images.

    Example:
        >>> mcnemar([True] * 9 + [False], [False] * 9 + [True])
        (9, 1, 0.021484375)

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947.
    """
    a, b = (torch.as_tensor(right, dtype=torch.bool) for right in (right_a, right_b))
    if a.shape != b.shape:
        raise UsageError(f"McNemar's test compares the same images, got {len(a)} of the first classifier and {len(b)} "
                         "of the second: audit both on one set")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    return only_a, only_b, min(1.0, 2 * _lower_tail(min(only_a, only_b), only_a + only_b))


def paired_interval(only_a: int, only_b: int, count: int) -> list[float]:
    """Return the 95 % confidence interval [low, high] of the difference of two shares over the same images.

    One image is added to each of the two kinds on which the classifiers differ (adjusted Wald interval): it does not
    shrink to a point where they never differ.

    Args:
        only_a: images that the first classifier alone gets right.
        only_b: those that the second alone gets right.
        count: all images.

    Example:
        >>> [round(end, 3) for end in paired_interval(9, 1, 100)]
        [0.014, 0.143]

    References:
        Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
        data", Journal of Educational and Behavioral Statistics 37, 2012.
    """
    a, b = (only_a + 1) / (count + 2), (only_b + 1) / (count + 2)
    half = STDS * math.sqrt((a + b - (a - b) ** 2) / (count + 2))
    return [max(-1.0, a - b - half), min(1.0, a - b + half)]


def _lower_tail(most: int, count: int) -> float:
    """Return the probability of at most `most` heads in `count` throws of a fair coin."""
    ways = total = 1
    for heads in range(most):
        ways = ways * (count - heads) // (heads + 1)
        total += ways
    return total / 2**count  # whole numbers until here: exact at any size
