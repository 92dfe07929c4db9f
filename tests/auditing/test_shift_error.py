import math
from fractions import Fraction

import pytest
import torch

from shiftscope.auditing.shift_error import remove_unknown, shift_maps

MAPS = torch.randn(2, 3, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def naive(row: list[float], by: float) -> list[float]:
    """The band-limited picture of a row, read `by` pixels to the left: plain sums over frequencies."""
    size, moved = len(row), []
    for place in range(size):
        value = 0.0
        for frequency in range(-((size - 1) // 2), size // 2 + 1):
            for source, sample in enumerate(row):
                value += sample * math.cos(2 * math.pi * frequency * (place - by - source) / size) / size
        if size % 2 == 0:  # the highest frequency: cos(pi n) can only shrink when it is moved
            top = sum(sample * (-1) ** source for source, sample in enumerate(row)) / size
            value += top * math.cos(math.pi * by) * (-1) ** place
            value -= sum(sample * math.cos(math.pi * (place - by - source)) for source, sample in enumerate(row)) / size
        moved.append(value)
    return moved


@pytest.mark.parametrize("by", [Fraction(1, 2), Fraction(5, 4), Fraction(7, 3), Fraction(2), Fraction(0)])
def test_wrapped_shifts_equal_plain_sums_in_both_directions(by):
    right = torch.tensor([[naive(row, float(by)) for row in image] for image in MAPS.flatten(0, 1).tolist()])
    assert torch.allclose(shift_maps(MAPS, by, -1, wraps=True).flatten(0, 1), right.double(), atol=1e-6)
    down = shift_maps(MAPS.transpose(2, 3), by, -2, wraps=True).transpose(2, 3)
    assert torch.allclose(down, shift_maps(MAPS, by, -1, wraps=True), atol=1e-12)


def test_fractional_shifts_add_up():
    odd = MAPS[..., :5, :]  # an odd size has no highest frequency, so that nothing shrinks on the way
    twice = shift_maps(shift_maps(odd, Fraction(1, 2), -2, wraps=True), Fraction(3, 2), -2, wraps=True)
    assert torch.allclose(twice, odd.roll(2, -2), atol=1e-12)
    assert torch.equal(shift_maps(odd, Fraction(2), -2, wraps=True), odd.roll(2, -2))


@pytest.mark.parametrize(("by", "left"), [(Fraction(1), 8), (Fraction(3, 2), 7), (Fraction(0), 9), (Fraction(20), 0)])
def test_unknown_values_are_removed(by, left):
    moved = shift_maps(MAPS, by, -1, wraps=False)
    assert moved.shape == (2, 3, 6, left) == remove_unknown(MAPS, by, -1).shape
    if by.denominator == 1:
        assert torch.equal(moved, MAPS[..., :left])


def test_a_centered_blob_moves_as_on_an_infinite_map():
    places = torch.arange(24, dtype=torch.float64)
    blob = torch.exp(-((places - 11) / 2) ** 2 / 2)
    moved = shift_maps(blob.expand(3, 24), Fraction(5, 4), -1, wraps=False)
    assert torch.allclose(moved[0], torch.exp(-((places - 12.25) / 2) ** 2 / 2)[2:], atol=2e-5)  # its spectrum's tail
