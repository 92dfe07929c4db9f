"""Counts, confidence intervals and tests that all evaluations share, and the tolerance for rounding."""

import math
from collections.abc import Sequence

import torch

from shiftscope.errors import UsageError
from shiftscope.outputs import is_finite, top_two

Z_95 = 1.959963984540054
"""A normal distribution has 95 % of its mass within this many standard deviations of its mean."""

SPREAD_TOLERANCE = 1e-5
"""Rounding tolerance as a fraction of the spread of the outputs. Sums of thousands of float32 products in another
order differ by about 1e-6 of it."""

EPS_TOLERANCE = 4
"""Rounding tolerance in units of the last place of the largest output, for outputs far from zero and close together."""

MASK = 1e4
"""Outputs larger than this multiple of the usual maximum are masks such as -1e9, not scores."""


def confusion_counts(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """Return int64 (K, K), rows true and columns predicted classes, without non-finite predictions (outside 0 .. K-1).

    >>> confusion_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 0, -1]), 2)
    tensor([[1, 0],
            [1, 0]])
    """
    known = (predictions >= 0) & (predictions < classes)
    flat = labels[known] * classes + predictions[known]
    return torch.bincount(flat, minlength=classes * classes).view(classes, classes)


def class_accuracies(labels: torch.Tensor, correct: torch.Tensor, classes: int) -> list[float | None]:
    """Return the accuracy of each class, None for a class without images.

    >>> class_accuracies(torch.tensor([0, 1, 1]), torch.tensor([True, True, False]), 3)
    [1.0, 0.5, None]
    """
    totals = torch.bincount(labels, minlength=classes).tolist()
    hits = torch.bincount(labels[correct], minlength=classes).tolist()
    return [hit / total if total else None for hit, total in zip(hits, totals, strict=True)]


def wilson_interval(hits: int, count: int) -> list[float]:
    """Return Wilson's 95 % confidence interval [low, high] of a fraction: `hits` of `count` independent images.

    Unlike mean +- 1.96 standard errors it is valid at fractions of 0 and 1.

    Example:
        >>> [round(end, 4) for end in wilson_interval(8, 10)]
        [0.4902, 0.9433]

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    z2 = Z_95**2
    center = (hits + z2 / 2) / (count + z2)
    half = Z_95 / (count + z2) * math.sqrt(hits * (count - hits) / count + z2 / 4)
    return [0.0 if hits == 0 else center - half, 1.0 if hits == count else center + half]


def student_95(freedom: int) -> float:
    """Return the number of standard errors within which Student's t has 95 % of its mass.

    Args:
        freedom: degrees of freedom, at least 1.

    Example:
        >>> [round(student_95(freedom), 2) for freedom in (1, 2, 3, 8, 100)]
        [12.71, 4.3, 3.18, 2.31, 1.98]

    References:
        Abramowitz and Stegun, Handbook of Mathematical Functions, 1964, 26.7.5.
    """
    if freedom <= 3:
        return (12.706, 4.303, 3.182)[freedom - 1]
    z, n = Z_95, freedom
    return (z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
            + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3))


def mean_interval(values: Sequence[float] | torch.Tensor) -> list[float]:
    """Return the 95 % confidence interval [low, high] of a mean of one fraction per image (normal approximation).

    Args:
        values: numbers from 0 to 1; the interval of a single one is [0, 1].

    Example:
        >>> [round(end, 3) for end in mean_interval([0.4, 0.5, 0.6])]
        [0.387, 0.613]
    """
    fractions = torch.as_tensor(values, dtype=torch.float64)
    if len(fractions) < 2:
        return [0.0, 1.0]
    mean, half = float(fractions.mean()), Z_95 * float(fractions.std()) / math.sqrt(len(fractions))
    return [max(0.0, mean - half), min(1.0, mean + half)]


def mcnemar(correct_a: Sequence[bool] | torch.Tensor,
            correct_b: Sequence[bool] | torch.Tensor) -> tuple[int, int, float]:
    """Test whether two classifiers differ on the same images: McNemar's exact test.

    Images on which both are correct, or both incorrect, carry no information. Of the n others, the number on which
    only the first is correct has a binomial distribution with p = 1/2 if the two are equally accurate.

    Args:
        correct_a: bool (N,), images that the first classifier predicts correctly.
        correct_b: the same for the second classifier.

    Returns:
        Images that only the first predicts correctly, those that only the second does, and the two-sided p-value.

    Raises:
        UsageError: if the numbers of images differ.

    Example:
        >>> mcnemar([True] * 9 + [False], [False] * 9 + [True])
        (9, 1, 0.021484375)

    References:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
        Psychometrika 12, 1947.
    """
    a, b = (torch.as_tensor(correct, dtype=torch.bool) for correct in (correct_a, correct_b))
    if a.shape != b.shape:
        raise UsageError(f"McNemar's test compares the same images, got {len(a)} of the first classifier and {len(b)} "
                         "of the second; audit both on one set")
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    return only_a, only_b, min(1.0, 2 * _lower_tail(min(only_a, only_b), only_a + only_b))


def paired_interval(only_a: int, only_b: int, count: int) -> list[float]:
    """Return the 95 % confidence interval [low, high] of the difference of two accuracies on the same images.

    One image is added to each of the two kinds on which the classifiers differ (adjusted Wald interval), so that the
    interval has a positive length even if they never differ.

    Args:
        only_a: images that only the first classifier predicts correctly.
        only_b: images that only the second one predicts correctly.
        count: all images.

    Example:
        >>> [round(end, 3) for end in paired_interval(9, 1, 100)]
        [0.014, 0.143]

    References:
        Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
        data", Journal of Educational and Behavioral Statistics 37, 2012.
    """
    a, b = (only_a + 1) / (count + 2), (only_b + 1) / (count + 2)
    half = Z_95 * math.sqrt((a + b - (a - b) ** 2) / (count + 2))
    return [max(-1.0, a - b - half), min(1.0, a - b + half)]


def _lower_tail(most: int, count: int) -> float:
    """Return the probability of at most `most` heads in `count` tosses of a fair coin."""
    ways = total = 1
    for heads in range(most):
        ways = ways * (count - heads) // (heads + 1)
        total += ways
    return total / 2**count  # integers until here, so the result is exact at any size


def rounding_tolerance(outputs: torch.Tensor, dtype: torch.dtype) -> float:
    """Return the largest difference of two outputs that rounding explains; it scales with the outputs.

    Args:
        outputs: (n, K), of the plain model. Infinite values and masks (such as -1e9) are ignored, as are rows without
            a finite prediction if other rows have one.
        dtype: data type in which the model computes; below float32 its precision determines the tolerance.

    Example:
        >>> outputs = torch.tensor([[1.0, -1.0], [-3.0, 3.0]])
        >>> round(rounding_tolerance(outputs, torch.float32), 9)
        3e-05
    """
    values = outputs.detach().cpu().double()
    rows = values[is_finite(values)] if len(values) else values
    if not len(rows):  # no prediction is finite: use the finite values
        rows = values.masked_fill(~values.isfinite(), 0)
    _, best, second = top_two(rows)
    maxima = torch.maximum(best.abs(), second.masked_fill(second.isinf(), 0).abs())
    maxima = maxima[maxima > 0]
    if not maxima.numel():
        return 0.0
    unmasked = rows.abs() <= MASK * maxima.median()
    largest = float(rows.abs().masked_fill(~unmasked, 0).max())
    mean = rows.masked_fill(~unmasked, 0).sum(1, keepdim=True) / unmasked.sum(1, keepdim=True)
    spread = float((rows - mean).abs().masked_fill(~unmasked, 0).max())
    return max(SPREAD_TOLERANCE * spread, EPS_TOLERANCE * torch.finfo(dtype).eps * largest)
