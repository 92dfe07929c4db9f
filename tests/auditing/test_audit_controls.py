"""Negative controls: models whose answers are worked out by hand, at the 6 x 9 placements of 4 x 6 on 9 x 14."""

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit

ENGINES = ["brute", "dense"]


class ReadsPosition(nn.Module):
    """Says 1 where the brightest pixel lies in the right half of the canvas, else 0."""

    def forward(self, pixels):
        column = pixels.flatten(1).argmax(1) % pixels.shape[3]
        return nn.functional.one_hot((column >= 7).long(), 2).float()


def test_a_head_that_reads_the_position_of_the_brightest_pixel(made, place):
    data = made.dataset(made.dot(1, 2, count=4), [1, 1, 1, 0], classes=2)
    found = audit(ReadsPosition(), data, placement=place)
    # the pixel lies in column dx + 2, which is 7 or more at 4 of the 9 values of dx
    by_column = [0.25] * 5 + [0.75] * 4
    assert found.accuracy_map == pytest.approx(np.tile(by_column, (6, 1)))
    assert found.mean_accuracy == pytest.approx((3 * 4 / 9 + 5 / 9) / 4)
    assert (found.worst_case_accuracy, found.unanimity, found.middle_accuracy) == (0, 0, 0.25)
    assert found.consistency == pytest.approx((16 + 25) / 81)
    assert found.per_class == pytest.approx([5 / 9, 4 / 9])
    assert found.engine == "brute" and "argmax" in found.reason


@pytest.mark.parametrize("engine", ENGINES)
def test_subsampling_of_an_impulse_by_two(engine, made, place):
    conv = nn.Conv2d(1, 2, 1, stride=2)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, 0.0]).view(2, 1, 1, 1))
        conv.bias.copy_(torch.tensor([0.0, 0.5]))
    model = nn.Sequential(conv, nn.AdaptiveMaxPool2d(1), nn.Flatten())
    found = audit(model, made.dataset(made.dot(1, 2), [0], classes=2), placement=place, engine=engine)
    # seen where row 1 + dy and column 2 + dx are even: 3 of 6 values of dy, 5 of 9 of dx
    expected = np.zeros((6, 9))
    expected[1::2, ::2] = 1
    assert (found.accuracy_map == expected).all() and found.engine == engine
    assert found.mean_accuracy == pytest.approx(15 / 54)
    assert found.consistency == pytest.approx((15**2 + 39**2) / 54**2)
    assert found.by_phase["2"] == [[0, 0], [1, 0]]
    assert (found.worst_case_accuracy, found.unanimity) == (0, 0)
    assert found.margins[0].tolist() == pytest.approx([-0.5, (15 * 0.5 - 39 * 0.5) / 54])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_is_correct_at_exactly_one_placement(engine, made, place):
    weights = torch.zeros(2, 9, 14)
    weights[1, 2, 7] = 1.0
    found = audit(made.linear(weights, [0.5, 0.0]), made.dataset(made.dot(0, 0), [1], classes=2), placement=place,
                  engine=engine)
    expected = np.zeros((6, 9))
    expected[2, 7] = 1
    assert (found.accuracy_map == expected).all() and found.correct_counts.tolist() == [1]
    assert found.mean_accuracy == pytest.approx(1 / 54)
    assert found.consistency == pytest.approx((1 + 53**2) / 54**2)
    assert (found.worst_case_accuracy, found.unanimity) == (0, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_is_incorrect_at_one_placement(engine, made, place):
    weights = torch.zeros(2, 9, 14)
    weights[1, 5, 0] = 1.0
    found = audit(made.linear(weights, [0.5, 0.0]), made.dataset(made.dot(0, 0), [0], classes=2), placement=place,
                  engine=engine)
    assert found.mean_accuracy == pytest.approx(53 / 54) and found.worst_case_accuracy == 0
    assert found.worst_offset.tolist() == [[5, 0]] and found.margins[0, 0] == pytest.approx(-0.5)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_map_that_is_flipped_or_transposed_would_fail(engine, made, place):
    cells = torch.arange(9 * 14).view(9, 14)
    weights = torch.stack([(cells % 3 == cls).float() for cls in range(3)])
    found = audit(made.linear(weights, [0.0, 0.0, 0.0]), made.dataset(made.dot(0, 0), [0]), placement=place,
                  engine=engine)
    by_hand = [[(dy * 14 + dx) % 3 for dx in range(9)] for dy in range(6)]
    assert found.predictions.reshape(6, 9).tolist() == by_hand
    assert found.shown_logits.shape == (1, 54, 3) and found.shown_logits[0, 9].tolist() == [0, 0, 1]  # offset (1, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_of_the_mean_is_invariant(engine, made, place):
    found = audit(made.linear(torch.ones(2, 9, 14) * torch.tensor([1.0, 2.0]).view(2, 1, 1), [0.0, 0.0]),
                  made.dataset(made.dot(2, 3, count=2), [1, 0], classes=2), placement=place, engine=engine)
    assert (found.consistency, found.unanimity, found.mean_accuracy, found.worst_case_accuracy) == (1, 1, 0.5, 0.5)
