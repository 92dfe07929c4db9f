import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.layers import BackgroundPad2d, CircularPad2d

SIDES = st.tuples(*[st.integers(0, 9)] * 4)


@settings(max_examples=60, deadline=None)
@given(SIDES, st.integers(1, 5), st.integers(1, 4))
@example((3, 2, 1, 0), 5, 2)  # more columns than the map has, fewer rows
@example((1, 0, 3, 2), 2, 5)
def test_circular_padding_indexes_modulo_the_size(sides, height, width):
    left, right, top, bottom = sides
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    rows = torch.arange(-top, height + bottom) % height
    columns = torch.arange(-left, width + right) % width
    assert CircularPad2d(sides)(x).equal(x[:, :, rows][..., columns])


@settings(max_examples=40, deadline=None)
@given(SIDES, st.integers(1, 5), st.integers(1, 4))
def test_the_background_surrounds_the_unchanged_map(sides, height, width):
    left, right, top, bottom = sides
    x, value = torch.randn(2, 3, height, width, dtype=torch.float64), torch.tensor([0.3, -2.0, 5.0]).double()
    expected = value.view(1, 3, 1, 1).expand(2, 3, height + top + bottom, width + left + right).clone()
    expected[:, :, top:top + height, left:left + width] = x
    found = BackgroundPad2d(sides, value)(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    outside = F.pad(torch.zeros(1, 1, height, width), sides, value=1).bool().expand_as(found)
    assert found[outside].equal(expected[outside])


def test_circular_but_not_zero_padding_commutes_with_shifts():
    torch.manual_seed(0)
    x, conv = torch.randn(1, 2, 5, 7, dtype=torch.float64), nn.Conv2d(2, 3, (3, 5)).double().requires_grad_(False)
    circular = nn.Sequential(CircularPad2d((2, 2, 1, 1)), conv)
    zeros = nn.Sequential(nn.ZeroPad2d((2, 2, 1, 1)), conv)
    worst = 0.0
    for dy in range(5):
        for dx in range(7):
            moved = x.roll((dy, dx), (2, 3))
            torch.testing.assert_close(circular(moved), circular(x).roll((dy, dx), (2, 3)), rtol=0, atol=1e-12)
            worst = max(worst, float((zeros(moved) - zeros(x).roll((dy, dx), (2, 3))).abs().max()))
    assert worst > 0.1


def test_zero_padding_after_normalization_is_visible_as_a_frame():
    kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64)
    empty = torch.full((1, 1, 4, 6), -0.5, dtype=torch.float64)  # an empty canvas minus a mean of 0.5
    background, zeros = F.conv2d(BackgroundPad2d(1, -0.5).double()(empty), kernel), F.conv2d(empty, kernel, padding=1)
    assert background.eq(-4.5).all()
    assert zeros[0, 0, 0, 0].item() == -2.0 and zeros[0, 0, 0, 2].item() == -3.0  # 4 and 6 of 9 positions are canvas


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layer", [CircularPad2d(1), CircularPad2d(5), BackgroundPad2d(1, 7.0)])
def test_half_precision_keeps_the_map(layer, dtype):
    x = torch.tensor([[[[0.001, 3.0, -2.0]]]], dtype=dtype)
    found = layer.to(dtype)(x)
    left, top = layer.sides[0], layer.sides[2]
    assert found.dtype == dtype
    torch.testing.assert_close(found[:, :, top:top + 1, left:left + 3], x, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("layer", [CircularPad2d((2, 0, 1, 3)), CircularPad2d(7), BackgroundPad2d((2, 0, 1, 3), 0.5)])
def test_gradients(layer):
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer.double(), (x,))


def test_the_background_is_saved_with_the_weights():
    layer = BackgroundPad2d(1, [1.0, 2.0]).double()
    assert layer.state_dict()["value"].flatten().tolist() == [1.0, 2.0]
    other = BackgroundPad2d(1, [0.0, 0.0])
    other.load_state_dict(layer.state_dict())
    assert other.value.flatten().tolist() == [1.0, 2.0] and layer.value.dtype == torch.float64


@pytest.mark.parametrize("call, message", [
    (lambda: CircularPad2d(-1), r"sides must be a non-negative integer, or four of them: left, right, top, bott"),
    (lambda: CircularPad2d((1, 2)), r"sides must be .* got \(1, 2\)"),
    (lambda: CircularPad2d(1.5), "sides must be a non-negative integer"),
    (lambda: CircularPad2d(1)(torch.zeros(3, 3)), r"CircularPad2d takes maps \(batch, channel, height, width\), got"),
    (lambda: BackgroundPad2d(1, float("nan")), "value must be a finite number, or one per channel, got nan"),
    (lambda: BackgroundPad2d(1, [1.0, 2.0])(torch.zeros(1, 3, 2, 2)), r"takes maps \(batch, 2, height, width\), got"),
    (lambda: BackgroundPad2d(1, 1.0)(torch.zeros(1, 1, 2, 2).double()), "torch.float32, the maps are torch.float64"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
