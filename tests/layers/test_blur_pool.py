import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftscope.errors import UsageError
from shiftscope.layers import BlurPool2d, PolyphaseDownsample2d
from shiftscope.layers.pooling import BORDERS, binomial

ROWS = {1: [1], 2: [1, 1], 3: [1, 2, 1], 4: [1, 3, 3, 1], 5: [1, 4, 6, 4, 1], 6: [1, 5, 10, 10, 5, 1],
        7: [1, 6, 15, 20, 15, 6, 1]}
"""The kernels of the paper's table, before division by their sum."""


def naive(x, row, stride):
    """Sum kernel times input at each position."""
    batch, channels, height, width = x.shape
    before = (len(row) - 1) // 2
    result = torch.zeros(batch, channels, -(-height // stride), -(-width // stride), dtype=x.dtype)
    for y in range(result.shape[2]):
        for x_ in range(result.shape[3]):
            for i, a in enumerate(row):
                for j, b in enumerate(row):
                    result[:, :, y, x_] += a * b * x[:, :, (y * stride + i - before) % height,
                                                     (x_ * stride + j - before) % width]
    return result / sum(row) ** 2


@pytest.mark.parametrize("taps", ROWS)
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_equals_the_explicit_sum_on_a_torus(taps, stride):
    torch.manual_seed(taps)
    x = torch.randn(2, 3, 7, 8, dtype=torch.float64)
    found = BlurPool2d(3, stride=stride, taps=taps).double()(x)
    torch.testing.assert_close(found, naive(x, ROWS[taps], stride), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.sampled_from(list(BORDERS)), st.integers(4, 11), st.integers(4, 11))
def test_sizes_and_a_constant_map(stride, taps, padding, height, width):
    layer = BlurPool2d(2, stride=stride, taps=taps, padding=padding).double()
    found = layer(torch.full((1, 2, height, width), 3.0, dtype=torch.float64))
    assert found.shape == (1, 2, -(-height // stride), -(-width // stride))
    if padding != "zeros":  # which reduces values at the border
        torch.testing.assert_close(found, torch.full_like(found, 3.0), rtol=0, atol=1e-12)
    assert layer.kernel.sum((2, 3)).allclose(torch.ones(2, 1, dtype=torch.float64)) and binomial(taps).sum() == 1


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_commutes_with_circular_shifts_by_the_stride(stride):
    torch.manual_seed(0)
    x, layer = torch.randn(1, 2, 12, 6, dtype=torch.float64), BlurPool2d(2, stride=stride).double()
    for dy in range(0, 12, stride):
        for dx in range(0, 6, stride):
            expected = layer(x).roll((dy // stride, dx // stride), (2, 3))
            torch.testing.assert_close(layer(x.roll((dy, dx), (2, 3))), expected, rtol=0, atol=1e-12)


def test_a_moving_impulse_changes_blur_pooling_less_than_slicing():
    x = torch.zeros(1, 1, 8, 10, dtype=torch.float64)
    x[..., 2, 4] = 1
    moved = x.roll((1, 1), (2, 3))
    # slicing sees the impulse (1) or nothing (0); blurred by (1, 3, 3, 1)/8 it is at most 3/8 * 3/8 of either phase
    assert x[:, :, ::2, ::2].amax().item() == 1 and moved[:, :, ::2, ::2].amax().item() == 0
    blurred = BlurPool2d(1).double()
    assert blurred(x).amax().item() == blurred(moved).amax().item() == 9 / 64
    odd = BlurPool2d(1, taps=3).double()  # (1, 2, 1)/4: the phases see 1/2 or 1/4 of it in each direction
    assert odd(x).amax().item() == 1 / 4 and odd(moved).amax().item() == 1 / 16
    exact = PolyphaseDownsample2d(2)
    assert exact(x).amax().item() == exact(moved).amax().item() == 1


@pytest.mark.parametrize("padding", list(BORDERS))
def test_gradients(padding):
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(BlurPool2d(2, padding=padding).double(), (x,))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    x = torch.rand(1, 2, 6, 6)
    found = BlurPool2d(2).to(dtype)(x.to(dtype))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), BlurPool2d(2)(x), rtol=2e-2, atol=2e-2)


def test_the_kernel_is_not_saved():
    assert not BlurPool2d(3).state_dict()


@pytest.mark.parametrize("call, message", [
    (lambda: BlurPool2d(0), "channels must be a positive integer, got 0"),
    (lambda: BlurPool2d(1, stride=0), "stride must be a positive integer, got 0"),
    (lambda: BlurPool2d(1, taps=0), "taps must be a positive integer, got 0"),
    (lambda: BlurPool2d(1, padding="same"), "padding must be one of circular, reflect, zeros, got 'same'"),
    (lambda: BlurPool2d(2)(torch.zeros(1, 3, 4, 4)), r"BlurPool2d takes maps \(batch, 2, height, width\), got \(1, 3"),
    (lambda: BlurPool2d(1)(torch.zeros(1, 1, 1, 4)), "needs maps of at least 2 x 2, got 1 x 4: choose a larger canvas"),
    (lambda: BlurPool2d(1, padding="reflect")(torch.zeros(1, 1, 2, 4)), "at least 3 x 3, got 2 x 4"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
