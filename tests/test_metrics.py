import math

import pytest
import torch
from scipy.stats import binomtest

from shiftscope.errors import UsageError
from shiftscope.metrics import mcnemar, mean_interval, wilson_interval


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (3, 10), (10, 10), (8410, 10000)])
def test_wilson_equals_scipy(hits, count):
    expected = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson_interval(hits, count) == pytest.approx([expected.low, expected.high], abs=1e-12)


def test_the_interval_of_a_mean():
    values = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    half = 1.959964 * float(values.std()) / math.sqrt(50)
    assert mean_interval(values) == pytest.approx([float(values.mean()) - half, float(values.mean()) + half], abs=1e-6)
    assert mean_interval([0.0, 1.0]) == [0, 1] and mean_interval([0.4]) == [0, 1]


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (5, 5), (9, 1), (1, 9), (300, 250), (2000, 2200)])
def test_mcnemar_equals_the_exact_binomial_test(only_a, only_b):
    a = [True] * only_a + [False] * only_b + [True, False]
    b = [False] * only_a + [True] * only_b + [True, False]
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(a, b) == (only_a, only_b, pytest.approx(expected))


def test_mcnemar_requires_the_same_images():
    with pytest.raises(UsageError, match="compares the same images, got 2 of the first classifier and 3 of the second"):
        mcnemar([True, False], [True, False, True])
