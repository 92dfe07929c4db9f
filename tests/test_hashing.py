import numpy as np
import pytest
import torch

from shiftscope import hashing


def splitmix64(state: int) -> int:
    """The published algorithm on Python's own unsigned whole numbers."""
    mask = 2**64 - 1
    state = (state + 0x9E3779B97F4A7C15) & mask
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


@pytest.mark.parametrize("state", [0, 1, 7, 2**31, 2**62 + 12345, -1, -(2**63)])
def test_mix_is_splitmix64(state):
    found = int(hashing.mix(torch.tensor([state]))) & (2**64 - 1)
    assert found == splitmix64(state & (2**64 - 1))


def test_draw_is_uniform_and_within_bounds():
    drawn = hashing.draw(hashing.stream(3, 4), torch.arange(84100), 841)
    counts = np.bincount(drawn.numpy(), minlength=841)
    assert len(counts) == 841
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert 841 - 5 * 41 < chi_square < 841 + 5 * 41  # mean 840, deviation sqrt(2 * 840) = 41


def test_draw_does_not_depend_on_the_batch():
    start = hashing.stream(9)
    together = hashing.draw(start, torch.arange(50), 29)
    alone = torch.cat([hashing.draw(start, torch.tensor([i]), 29) for i in range(50)])
    assert together.equal(alone)


def test_permutation_is_one_and_differs_between_streams():
    first, second = (hashing.permutation(hashing.stream(0, epoch), 1000) for epoch in (0, 1))
    assert first.sort().values.equal(torch.arange(1000))
    assert not first.equal(second)
    assert abs(np.corrcoef(first.numpy(), np.arange(1000))[0, 1]) < 0.1


def test_streams_depend_on_every_counter_and_their_order():
    found = {hashing.stream(*counters) for counters in ((1, 2), (2, 1), (1, 2, 0), (1,), (0, 1, 2))}
    assert len(found) == 5
