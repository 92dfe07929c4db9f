"""Figures of a sample of placements against the exact ones, enumerated over all samples."""

import itertools

import numpy as np
import pytest
from scipy import stats

from shiftscope.auditing.sampled_statistics import sampled_figures_of
from shiftscope.auditing.statistics import figures
from shiftscope.metrics import student_95


def predictions(images=5, placements=7, seed=0):
    draw = np.random.default_rng(seed)
    return draw.integers(0, 3, (images, placements)).astype(np.uint8), draw.integers(0, 3, images)


@pytest.mark.parametrize("count", [3, 4, 6])
def test_the_mean_over_all_samples_is_exact(count):
    """Every sample that contains the middle is equally likely: the estimates have no bias."""
    values, labels = predictions()
    values[0, 2] = 255  # non-finite predictions form their own class
    exact, middle = figures(values, labels, 3, middle=3), 3
    found = [sampled_figures_of(values[:, columns], labels, 3, columns.index(middle), 7)
             for others in itertools.combinations([0, 1, 2, 4, 5, 6], count - 1)
             for columns in [sorted((middle, *others))]]
    for name in ("mean_accuracy", "consistency"):
        assert np.mean([one[name] for one in found]) == pytest.approx(exact[name]), name


def test_the_jackknife_leaves_out_each_placement():
    """Means without a placement are those of the sample without it."""
    from shiftscope.auditing.sampled_statistics import _accuracy, _consistency

    values, labels = predictions(40, 9)
    correct = values == labels[:, None]
    _, without = _accuracy(correct[:, 0], correct[:, 1:], 50)
    _, consistent = _consistency(values[:, 0], values[:, 1:], 3, 50)
    for k in range(8):
        left = np.delete(values, 1 + k, 1)
        assert without[k] == pytest.approx(_accuracy(correct[:, 0], np.delete(correct, 1 + k, 1)[:, 1:], 50)[0].mean())
        assert consistent[k] == pytest.approx(_consistency(left[:, 0], left[:, 1:], 3, 50)[0].mean())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_placements_say_nothing(count):
    values, labels = predictions()
    found = sampled_figures_of(values[:, :count], labels, 3, 0, 7)
    assert found["intervals"]["mean_accuracy"] == found["intervals"]["consistency"] == [0.0, 1.0]


def test_the_worst_case_of_a_sample_is_an_upper_bound():
    values, labels = predictions(50, 4)
    found = sampled_figures_of(values, labels, 3, 0, 100)["intervals"]
    assert found["worst_case_accuracy"][0] == found["unanimity"][0] == 0
    assert found["worst_case_accuracy"][1] > (values == labels[:, None]).all(1).mean()


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 50, 1000])
def test_quantiles_of_students_distribution(freedom):
    assert student_95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=3e-3)


def test_intervals_cover_images_and_placements():
    """Accuracy depends on the placement, so intervals over images alone would rarely hold the exact figure."""
    draw, hits = np.random.default_rng(0), dict.fromkeys(("mean_accuracy", "consistency"), 0)
    images, placements, kept = 1500, 100, 16
    chance = np.clip(draw.normal(0.6, 0.2, placements)[None] + draw.normal(0, 0.2, images)[:, None], 0.02, 0.98)
    values = np.where(draw.random((images, placements)) < chance, 0, draw.integers(1, 3, (images, placements)))
    labels = np.zeros(images, int)
    exact = figures(values.astype(np.uint8), labels, 3, 50)
    for _ in range(200):
        some = draw.permutation(images)[:200]
        columns = np.append(50, draw.permutation(np.delete(np.arange(placements), 50))[:kept - 1])
        found = sampled_figures_of(values[some][:, columns], labels[some], 3, 0, placements)
        for name in hits:
            low, high = found["intervals"][name]
            hits[name] += low <= exact[name] <= high
    assert min(hits.values()) >= 182, hits  # 95 % of 200 are 190, three standard deviations less 181
