"""Padding that preserves translation: circular, or with the values of an empty canvas.

Zero padding draws a frame around every feature map, because the background is rarely zero after normalization and
never after a bias. Filters respond to that frame, and a network can infer an object's position from it.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.common import check_maps

Sides = tuple[int, int, int, int]
"""(left, right, top, bottom), the order of `torch.nn.functional.pad`."""


def four_sides(sides: int | Sequence[int]) -> Sides:
    """Return (left, right, top, bottom); one number is used for all four.

    >>> four_sides(2), four_sides((0, 1, 2, 3))
    ((2, 2, 2, 2), (0, 1, 2, 3))
    """
    values = tuple(sides) if isinstance(sides, Sequence) else (sides,) * 4
    valid = len(values) == 4 and all(isinstance(n, int) and n >= 0 for n in values)
    require(valid, "sides", sides, "a non-negative integer, or four of them: left, right, top, bottom")
    left, right, top, bottom = values
    return left, right, top, bottom


class CircularPad2d(nn.Module):
    """Pad maps circularly, so that convolutions after it commute with circular shifts.

    Unlike the circular padding of PyTorch, the padding may be larger than the map.

    Args:
        sides: rows and columns to add on each side, or (left, right, top, bottom).

    Raises:
        UsageError: if sides are negative; (in forward) if the input is not (B, C, H, W).

    Example:
        >>> CircularPad2d((2, 1, 0, 0))(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
        tensor([[[[2., 3., 1., 2., 3., 1.]]]])
    """

    def __init__(self, sides: int | Sequence[int]):
        super().__init__()
        self.sides = four_sides(sides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x, "CircularPad2d")
        left, right, top, bottom = self.sides
        if max(left, right) <= x.shape[3] and max(top, bottom) <= x.shape[2]:
            return F.pad(x, self.sides, mode="circular")
        return _wrapped(_wrapped(x, 2, top, bottom), 3, left, right)

    def extra_repr(self) -> str:
        return f"sides={self.sides}"


def _wrapped(x: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """Pad one axis circularly, repeating the map as often as needed."""
    size = x.shape[axis]
    copies_before, copies_after = -(-before // size), -(-after // size)
    repeated = torch.cat([x] * (copies_before + 1 + copies_after), axis)
    return repeated.narrow(axis, copies_before * size - before, before + size + after)


class BackgroundPad2d(nn.Module):
    """Pad maps with the value that an empty canvas has at this layer, so that the border is not visible.

    An object then has the same surroundings near the border as far from it. Responses that extend beyond the border
    are lost, so a network with this padding is translation-invariant only while the receptive fields that see the
    object stay inside.

    Args:
        sides: rows and columns to add on each side, or (left, right, top, bottom).
        value: of the empty canvas, one for all channels or one per channel; a buffer, saved with the weights.

    Raises:
        UsageError: if sides are negative or values are not finite; (in forward) if the number of channels or the dtype
            differs.

    Example:
        >>> BackgroundPad2d((1, 0, 0, 0), [5.0, 7.0])(torch.zeros(1, 2, 1, 1)).flatten().tolist()
        [5.0, 0.0, 7.0, 0.0]
    """

    value: torch.Tensor

    def __init__(self, sides: int | Sequence[int], value: float | Sequence[float] | torch.Tensor):
        super().__init__()
        self.sides = four_sides(sides)
        values = torch.as_tensor(value).detach().clone()
        values = values if values.is_floating_point() else values.float()
        valid = values.ndim <= 1 and values.numel() >= 1 and bool(values.isfinite().all())
        require(valid, "value", value, "a finite number, or one per channel")
        self.register_buffer("value", values.reshape(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.value.shape[1]
        check_maps(x, "BackgroundPad2d", channels=channels if channels > 1 else None)
        if x.dtype != self.value.dtype:
            raise UsageError(f"the value of BackgroundPad2d has dtype {self.value.dtype}, the maps are {x.dtype}: "
                             f"convert the model with .to({x.dtype})")
        if x.dtype.itemsize >= 4:  # subtract, pad with zeros, add: operations that the dense engine supports
            return F.pad(x - self.value, self.sides) + self.value
        wide = self.value.float()  # in half precision the difference would lose digits of the map
        return (F.pad(x.float() - wide, self.sides) + wide).to(x.dtype)

    def extra_repr(self) -> str:
        return f"sides={self.sides}"


class _CircularPad(torch.autograd.Function):
    """Circular padding by n on all sides, faster than that of PyTorch.

    `F.pad` loses the channels-last layout and adds a map of zeros for each side in the backward pass: with 3 x 3
    convolutions that takes longer than the convolutions.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, n: int) -> torch.Tensor:
        batch, channels, height, width = x.shape
        ctx.n = n
        last = x.is_contiguous(memory_format=torch.channels_last)
        out = torch.empty(batch, channels, height + 2 * n, width + 2 * n, dtype=x.dtype, device=x.device,
                          memory_format=torch.channels_last if last else torch.contiguous_format)
        out[:, :, n:-n, n:-n] = x
        out[:, :, :n, n:-n] = x[:, :, -n:]
        out[:, :, -n:, n:-n] = x[:, :, :n]
        out[..., :n] = out[..., -2 * n:-n]
        out[..., -n:] = out[..., n:2 * n]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        grad, n = grads[0], ctx.n
        rows = grad[:, :, n:-n].clone(memory_format=torch.preserve_format)
        rows[:, :, :n] += grad[:, :, -n:]
        rows[:, :, -n:] += grad[:, :, :n]
        rows[..., n:2 * n] += rows[..., -n:]
        rows[..., -2 * n:-n] += rows[..., :n]
        return rows[..., n:-n], None


def circular_pad(x: torch.Tensor, n: int) -> torch.Tensor:
    """Pad maps (B, C, H, W) circularly by n on all sides, n at most H and W, in the memory format of x.

    >>> circular_pad(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 1)[0, 0, 1]
    tensor([3., 1., 2., 3., 1.])
    """
    if torch.compiler.is_exporting():
        return F.pad(x, (n, n, n, n), mode="circular")
    return _CircularPad.apply(x, n)


class CircularConv2d(nn.Conv2d):
    """Convolution of stride 1 with circular padding: the output has the size of the input and commutes with shifts.

    Args:
        channels: input channels.
        filters: output channels.
        kernel: height and width of the filters, odd.
        bias: add a bias.

    Raises:
        UsageError: if the kernel size is even.

    Example:
        >>> conv = CircularConv2d(1, 2, 3).double()
        >>> x = torch.rand(1, 1, 5, 6, dtype=torch.float64)
        >>> torch.allclose(conv(x).roll((2, 3), (2, 3)), conv(x.roll((2, 3), (2, 3))))
        True
    """

    def __init__(self, channels: int, filters: int, kernel: int, *, bias: bool = True):
        require(kernel >= 1 and kernel % 2 == 1, "kernel", kernel, "a positive odd integer")
        super().__init__(channels, filters, kernel, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # the parameter name of `nn.Conv2d`
        n = self.kernel_size[0] // 2
        return F.conv2d(circular_pad(input, n) if n else input, self.weight, self.bias)
