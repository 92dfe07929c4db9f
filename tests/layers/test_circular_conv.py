import pytest
import torch
import torch.nn.functional as F

from shiftscope.errors import UsageError
from shiftscope.layers import CircularConv2d, PhaseToOrigin
from shiftscope.layers.padding import circular_pad
from shiftscope.layers.polyphase import roll_each


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_circular_pad_equals_that_of_torch(n, layout):
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    found, expected = circular_pad(x, n), F.pad(x, (n, n, n, n), mode="circular")
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=layout)
    weights = torch.rand_like(found)
    for ours, theirs in zip(torch.autograd.grad((found * weights).sum(), x),
                            torch.autograd.grad((expected * weights).sum(), x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-14)


def test_gradients_of_padding_as_wide_as_the_map():
    x = torch.rand(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: circular_pad(x, 3), (x,))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_the_convolution_equals_that_of_torch_and_commutes_with_shifts(kernel):
    conv = CircularConv2d(2, 3, kernel).double()
    x = torch.rand(2, 2, 6, 7, dtype=torch.float64)
    plain = torch.nn.Conv2d(2, 3, kernel, padding=kernel // 2, padding_mode="circular").double()
    plain.load_state_dict(conv.state_dict())
    torch.testing.assert_close(conv(x), plain(x), rtol=0, atol=1e-14)
    for shift in ((1, 0), (3, 5), (5, 6)):
        torch.testing.assert_close(conv(x.roll(shift, (2, 3))), conv(x).roll(shift, (2, 3)), rtol=0, atol=1e-14)


def test_an_even_kernel_is_refused():
    with pytest.raises(UsageError, match="kernel must be a positive odd integer, got 4"):
        CircularConv2d(1, 1, 4)


def test_each_map_is_rolled_by_its_own_shift():
    x = torch.rand(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    shifts = torch.tensor([[0, 0], [3, 1], [2, 4]])
    found = roll_each(x, shifts)
    for one, got, (down, right) in zip(x, found, shifts.tolist(), strict=True):
        assert torch.equal(got, one.roll((-down, -right), (1, 2)))
    assert torch.autograd.gradcheck(lambda x: roll_each(x, shifts), (x,))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_after_alignment_a_map_moves_by_multiples_of_the_stride(stride):
    x = torch.rand(2, 3, 6, 12, dtype=torch.float64)
    pool = torch.nn.MaxPool2d(stride)
    aligned = PhaseToOrigin(stride)
    reference = pool(aligned(x))
    for down in range(6):
        for right in range(12):
            found = pool(aligned(x.roll((down, right), (2, 3))))
            places = [(a, b) for a in range(6 // stride) for b in range(12 // stride)]
            for one, other in zip(found, reference, strict=True):  # each image by its own shift
                assert any(torch.equal(one, other.roll(place, (1, 2))) for place in places)
    assert stride == 1 or not torch.equal(pool(x.roll(1, 3)).sort().values, pool(x).sort().values)  # without it
