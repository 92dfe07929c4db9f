import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.layers import PhaseToOrigin
from shiftscope.layers.polyphase import PolyphaseDownsample2d, components

SHAPE = (3, 2, 12, 18)


def maps(seed=0):
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("stride", [2, 3, 6])
def test_the_strongest_component_is_rolled_to_the_origin(stride):
    x = maps()
    rolled = PhaseToOrigin(stride)(x)
    energy = components(rolled.square().sum(1), stride).sum((-2, -1)).flatten(1)
    assert (energy.argmax(1) == 0).all()
    assert rolled.flatten(1).sort().values.equal(x.flatten(1).sort().values)
    torch.testing.assert_close(rolled[:, :, ::stride, ::stride], PolyphaseDownsample2d(stride)(x))


@pytest.mark.parametrize("stride", [2, 3])
def test_shifts_become_shifts_by_multiples_of_the_stride(stride):
    x, layer = maps(), PhaseToOrigin(stride)
    still = layer(x)
    steps = [(dy, dx) for dy in range(0, 12, stride) for dx in range(0, 18, stride)]
    for shift in ((1, 0), (0, 1), (5, 7), (11, 17)):
        moved = layer(x.roll(shift, (2, 3)))
        for one, other in zip(moved, still, strict=True):
            assert any(one.equal(other.roll(step, (1, 2))) for step in steps)


def test_a_strided_convolution_after_it_commutes_with_shifts():
    x, conv = maps(), nn.Conv2d(2, 4, 3, stride=2, padding=1, padding_mode="circular").double()

    def answer(pictures):
        return F.relu(conv(PhaseToOrigin(2)(pictures))).mean((2, 3))

    assert (answer(x) - answer(x.roll((1, 3), (2, 3)))).abs().max() < 1e-12
    assert (answer(x)[0] - answer(x)[1]).abs().max() > 1e-2
    assert (F.relu(conv(x)).mean((2, 3)) - F.relu(conv(x.roll((1, 3), (2, 3)))).mean((2, 3))).abs().max() > 1e-3


def test_gradients_flow_through_the_roll():
    x = torch.rand(1, 1, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PhaseToOrigin(2), x)


def test_it_is_one_node_of_an_exported_graph():
    program = torch.export.export(PhaseToOrigin(2), (torch.zeros(2, 1, 4, 6),))
    calls = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert calls == ["shiftscope.phase_to_origin.default"]
    x = torch.rand(2, 1, 4, 6)
    assert program.module()(x).equal(PhaseToOrigin(2)(x))


def test_bad_input():
    with pytest.raises(UsageError, match="stride must be a positive integer, got 0"):
        PhaseToOrigin(0)
    with pytest.raises(UsageError, match="order must be a positive integer, got 0"):
        PhaseToOrigin(2, order=0)
    with pytest.raises(UsageError, match="a map of 12 x 18 cannot be downsampled by 4"):
        PhaseToOrigin(4)(maps())
