import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from shiftscope.auditing import audit, compare, not_worse_checks
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


def with_predictions(audit, predictions):
    correct = (predictions == audit.labels[:, None]).sum(1)
    return dataclasses.replace(audit, predictions=predictions.astype(audit.predictions.dtype), model="net",
                               correct_counts=correct, mean_accuracy=correct.mean() / audit.placements)


def noisy(audit, draw, error):
    """Predictions with images of different difficulty: a fraction of about `error` of them is incorrect."""
    rate = draw.beta(error, 1 - error, size=(audit.images, 1))
    wrong = draw.random((audit.images, audit.placements)) < rate
    return with_predictions(audit, np.where(wrong, (audit.labels[:, None] + 1) % len(audit.class_names),
                                            audit.labels[:, None]))


def consistencies(audit):
    return np.array([(np.unique(row, return_counts=True)[1]**2).sum() for row in audit.predictions]) / 54**2


def test_tests_against_a_baseline_equal_scipy(both):
    draw = np.random.default_rng(0)
    audit, baseline = noisy(both[0], draw, 0.5), noisy(both[0], draw, 0.2)
    found = {check.metric: check for check in not_worse_checks(audit, baseline)}
    assert list(found) == ["mean", "worst", "consistency", "unanimity"]
    for name, (ours, theirs) in {
            "worst": [part.correct_counts == 54 for part in (audit, baseline)],
            "unanimity": [consistencies(part) > 0.9999 for part in (audit, baseline)]}.items():
        only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
        p_value = binomtest(only_ours, only_ours + only_theirs, alternative="less").pvalue
        assert found[name].passed == (p_value >= 0.05 / 4) and f"p = {p_value:.2g}" in found[name].required
        assert found[name].value == ours.mean() and f"than {theirs.mean():.4f} of" in found[name].required
    for name, apart in {"mean": (audit.correct_counts - baseline.correct_counts) / 54,
                        "consistency": consistencies(audit) - consistencies(baseline)}.items():
        p_value = norm.cdf(apart.mean() / (apart.std(ddof=1) / math.sqrt(40)))
        assert found[name].passed == (p_value >= 0.05 / 4) and f"p = {p_value:.2g}" in found[name].required
    assert not found["mean"].passed and "level 0.0125" in found["mean"].required


def test_a_model_as_good_as_the_baseline_rarely_fails_and_a_better_one_never(both):
    draw, alarms = np.random.default_rng(1), 0
    for _ in range(200):
        audit, baseline = noisy(both[0], draw, 0.3), noisy(both[0], draw, 0.3)
        alarms += not all(check.passed for check in not_worse_checks(audit, baseline))
    assert alarms <= 20  # 5 % of 200 are expected at most; more than 20 have a probability of 0.1 %
    assert all(check.passed for check in not_worse_checks(both[0], both[0]))
    perfect = with_predictions(both[0], np.tile(both[0].labels[:, None], (1, 54)))
    assert all(check.passed for check in not_worse_checks(perfect, noisy(both[0], draw, 0.5)))


def test_without_labels_only_consistency_and_unanimity_are_compared(both):
    audit = dataclasses.replace(both[0], labeled=False)
    assert [check.metric for check in not_worse_checks(audit, audit)] == ["consistency", "unanimity"]


def test_a_baseline_that_does_not_fit(both):
    audit = dataclasses.replace(both[0], model="net")
    for words, other in {"value of model, 'other'": dataclasses.replace(audit, model="other"),
                         "value of outputs": dataclasses.replace(audit, class_names=["x", "y", "z"]),
                         "value of partial, True": dataclasses.replace(audit, partial=True),
                         "other pixels": dataclasses.replace(audit, shown_images=255 - audit.shown_images)}.items():
        with pytest.raises(UsageError, match=words) as caught:
            not_worse_checks(audit, other)
        assert len(str(caught.value)) < 400
    with pytest.raises(UsageError, match="level must be a number above 0 and below 1, got 1"):
        not_worse_checks(audit, audit, level=1)
