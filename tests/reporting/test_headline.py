"""The sentences at the top of a report, against figures computed from the predictions in plain NumPy."""

import dataclasses
import re

import numpy as np
import pytest

from shiftscope.reporting.controls import control_cells
from shiftscope.reporting.headline import FEW, difference_interval, few_images, headline


@pytest.fixture
def audit_with(audit_of):
    """An audit of N images at 4 x 5 offsets with given predictions (N, 20): 0 is correct."""
    def make(correct: np.ndarray, **changed):
        labels = np.zeros(len(correct), int)
        return audit_of(np.eye(3)[np.where(correct, 0, 1)], labels, np.arange(4), np.arange(5), **changed)

    return make


def draw(images: int, chance: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((images, 20)) < chance


def test_the_accuracy_is_that_of_all_placements_with_its_interval(audit_with, make_evaluation):
    correct = draw(200, 0.7, 0)
    audit = audit_with(correct, model="net", intervals={"mean_accuracy": [0.6, 0.8], "worst_case_accuracy": [0.0, 0.1]})
    evaluation = make_evaluation(model="net", accuracy={"random": 0.123, "centered": 0.456})
    first, second = headline([audit], control_cells([evaluation]), [evaluation])
    assert first == ("The net has a mean accuracy over all 20 placements of 200 test images: "
                     f"{100 * correct.mean():.1f} % (95 % confidence interval 60.0 to 80.0 %).")
    assert second == (f"The net is correct at every placement for {100 * correct.all(axis=1).mean():.1f} % "
                      "(95 % confidence interval 0.0 to 10.0 %) of the images.")


def test_the_best_model_has_a_lead_with_the_interval_of_paired_images(audit_with):
    good, bad = draw(300, 0.8, 1), draw(300, 0.5, 2)
    sentence = headline([audit_with(bad, model="bad"), audit_with(good, model="good")])[0]
    differences = good.mean(axis=1) - bad.mean(axis=1)
    half = 1.959964 * differences.std(ddof=1) / 300**0.5
    low, high = differences.mean() - half, differences.mean() + half
    assert sentence.startswith("The good has the highest mean accuracy over all 20 placements of 300 test images")
    assert sentence.endswith(f", {100 * differences.mean():.1f} points ({100 * low:.1f} to {100 * high:.1f}) more than "
                             "the bad.")


def test_a_difference_within_its_interval_can_be_chance(audit_with):
    correct = draw(50, 0.6, 3)
    other = correct.copy()
    other[0] = ~other[0]
    audits = [audit_with(correct, model="a"), audit_with(other, model="b")]
    mean, low, high = difference_interval(*audits)
    assert low < 0 < high and low <= mean <= high
    assert re.search(r"The difference from the [ab], \d\.\d points? \(.*\), can be chance\.", headline(audits)[0])


def test_intervals_of_differences_cover_the_truth_as_often_as_they_claim(audit_with):
    """Images with their own difficulty; the difference of the two expectations is 0.1."""
    numbers, covered = np.random.default_rng(4), 0
    for _ in range(200):
        level = numbers.uniform(0.2, 0.8, (60, 1))
        one, other = (numbers.random((60, 20)) < level + shift for shift in (0.05, -0.05))
        _, low, high = difference_interval(audit_with(one), audit_with(other))
        covered += low <= 0.1 <= high
    assert 0.9 <= covered / 200 <= 0.99


def test_training_placements_are_compared_between_audits(audit_with):
    centered = dataclasses.replace(audit_with(draw(200, 0.2, 5), model="two-full", trained="centered"),
                                   middle_accuracy=0.9)
    random = audit_with(draw(200, 0.7, 6), model="two-full")
    sentences = headline([random, centered])
    assert sentences[0].startswith("The perceptron has a mean accuracy")  # no comparison with the centered one
    mean = 100 * centered.mean_accuracy
    assert (f"Trained on centered images only, the perceptron drops from 90.0 % on centered images to {mean:.1f} % "
            "averaged over the placements.") in sentences
    assert (f"Trained on random placements, the perceptron has {90 - 100 * random.mean_accuracy:.1f} points less than "
            "with centered images in training and test.") in sentences


def test_seeds_have_their_mean_and_standard_deviation(audit_with):
    seeds = [dataclasses.replace(audit_with(draw(200, 0.5, 7)), mean_accuracy=value) for value in (0.5, 0.6)]
    assert "55.0 % (± 7.1, standard deviation over 2 seeds)." in headline(seeds)[0]
    other = audit_with(draw(200, 0.2, 8), model="other")
    lead = 100 * (0.55 - other.mean_accuracy)
    assert headline([*seeds, other])[0].endswith(f", {lead:.1f} points more than the other.")


def test_sampled_and_interrupted_audits_say_so(audit_with):
    correct = draw(150, 0.5, 9)[:, :7]
    logits = np.zeros((150, 20), bool)
    logits[:, :7] = correct
    audit = audit_with(logits, computed=np.arange(7), partial=True)
    assert "over 7 sampled placements of the first 150 test images" in headline([audit])[0]
    assert "at every audited placement" in headline([audit])[1]


@pytest.mark.parametrize("images, says", [(1, "There is only 1 test image: one image is 100.0 points"),
                                          (9, "There are only 9 test images: one image is 11.1 points"),
                                          (FEW - 1, "1.0 point of"), (FEW, ""), (0, "")])
def test_few_images_are_stated(images, says, audit_with):
    assert says in few_images(images, "test") and bool(says) == bool(few_images(images, "test"))
    if images:
        last = headline([audit_with(draw(images, 0.5, 10))])[-1]
        assert ("There " in last) == bool(says)


def test_without_audits_the_page_says_that_one_placement_was_evaluated(make_evaluation):
    evaluation = make_evaluation(images=12)
    sentences = headline([], control_cells([evaluation]), [evaluation])
    assert "one random placement for each of 12 test images; an audit evaluates all placements" in sentences[-2]
    assert sentences[-1].startswith("There are only 12 test images: one image is 8.3 points")
    assert headline([]) == []


def test_accuracies_that_are_not_finite_are_left_out(audit_with):
    audit = dataclasses.replace(audit_with(draw(200, 0.5, 11)), mean_accuracy=float("nan"))
    assert headline([audit]) == []
    good = audit_with(draw(200, 0.5, 11), model="good")
    assert headline([audit, good])[0].startswith("The good has a mean accuracy")
