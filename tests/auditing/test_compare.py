import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from shiftscope.auditing import audit, compare
from shiftscope.errors import UsageError
from shiftscope.placement import Placement


@pytest.fixture
def both(made, place):
    data = made.noise(count=40)
    return [audit(made.SmallNet(seed=seed), data, placement=place, engine="brute", name=f"net {seed}")
            for seed in (0, 1)]


def test_counts_equal_a_loop_over_images_and_scipy(both, place):
    a, b = both
    found = compare(a, b)
    middle = a.offsets.tolist().index(list(place.middle))
    right = {"middle": [audit.predictions[:, middle] == audit.labels for audit in both],
             "worst_case": [audit.correct_counts == 54 for audit in both]}
    for test, (ours, theirs) in right.items():
        only_a = sum(x and not y for x, y in zip(ours, theirs, strict=True))
        only_b = sum(y and not x for x, y in zip(ours, theirs, strict=True))
        assert (found[test]["only_a"], found[test]["only_b"]) == (only_a, only_b)
        expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
        assert found[test]["p_value"] == pytest.approx(expected)
    assert found["models"] == ["net 0", "net 1"] and found["images"] == 40
    assert found["middle"]["only_a"] + found["middle"]["only_b"] > 0
    assert found["middle"]["a"] == a.middle_accuracy and found["worst_case"]["b"] == b.worst_case_accuracy


def test_means_are_compared_image_by_image(both):
    a, b = both
    found, apart = compare(a, b)["mean"], (a.correct_counts - b.correct_counts) / 54
    assert found["difference"] == pytest.approx(a.mean_accuracy - b.mean_accuracy)
    error = np.std(apart, ddof=1) / math.sqrt(40)
    assert found["interval"] == pytest.approx([apart.mean() - 1.96 * error, apart.mean() + 1.96 * error], abs=1e-4)
    assert found["p_value"] == pytest.approx(math.erfc(abs(apart.mean()) / error / math.sqrt(2)))


def test_a_model_does_not_differ_from_itself(both):
    found = compare(both[0], both[0])
    assert [found[test]["p_value"] for test in ("middle", "worst_case", "mean")] == [1, 1, 1]


def test_other_images_or_placements_raise(both, made, place):
    a, _ = both
    cases = {"differ in dataset: 'made' and 'other'": dataclasses.replace(a, dataset="other"),
             "differ in images: 40 and 39": audit(made.SmallNet(), made.noise(count=40), placement=place, limit=39),
             "have different labels": dataclasses.replace(a, labels=a.labels[::-1]),
             "have different placements": audit(made.SmallNet(), made.noise(count=40), placement=Placement(
                 image=(4, 6), canvas=(9, 14), max_shift=1))}
    for words, other in cases.items():
        with pytest.raises(UsageError, match=words):
            compare(a, other)
