import ast
from pathlib import Path

import numpy as np
import pytest
import torch

import shiftscope
from shiftscope import hashing
from shiftscope.hashing import Stream


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
    synthetic = hashing.draw(hashing.stream(3, 4), torch.arange(84100), 841)
    counts = np.bincount(synthetic.numpy(), minlength=841)
    assert len(counts) == 841
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert 841 - 5 * 41 < chi_square < 841 + 5 * 41  # mean 840, std sqrt(2 * 840) = 41


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


def test_every_use_has_a_stream_of_its_own():
    assert len({int(stream) for stream in Stream}) == len(Stream.__members__)  # no aliases
    starts = {hashing.stream(stream, *more) for stream in Stream for more in ((), (0,), (1,), (0, 0), (1, 0), (0, 1))}
    kept = {hashing.stream(stream) for stream in (Stream.ORDER, Stream.DROPOUT)}  # two more streams begin as these do
    assert len(starts) == 6 * (len(Stream) - 2) and kept <= starts


def test_hashes_of_the_committed_results_are_unchanged():
    numbers = {"PLACEMENT": 1, "TEXTURE": 2, "VALIDATION": 3, "ORDER": 4, "DROPOUT": 5, "MIRROR": 7, "ERASE": 8,
               "RANK": 9}
    assert {name: int(Stream[name]) for name in numbers} == numbers
    assert hashing.stream(Stream.FOLDER_SPLIT) == hashing.stream(5)
    assert hashing.stream(Stream.GARMENTS, 1, 0, 0) == hashing.stream(4, 1, 0, 0)


def test_no_module_begins_a_stream_with_a_bare_number():
    """Each call of `hashing.stream` in the package names a member of `Stream`, or goes on from a start."""
    calls = 0
    for path in Path(shiftscope.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "hashing.stream":
                first = ast.unparse(node.args[0])
                assert first.startswith("Stream.") or first == "start", f"{path.name}: hashing.stream({first}, ...)"
                calls += 1
    assert calls >= 14
