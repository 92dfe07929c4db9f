"""Convolutions on a torus, padded by one copy forwards and one backwards."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require


class _Ring(torch.autograd.Function):
    """Circular padding by n on all sides.

    Torch's own gives up the channels-last layout and adds up a map of zeros for each side in the backward pass: in a
    net of 3 x 3 convolutions that takes longer than the convolutions.
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


def ring(x: torch.Tensor, n: int) -> torch.Tensor:
    """Return maps (B, C, H, W) continued by n places on all sides, as on a torus; n is at most H and W.

    >>> ring(torch.tensor([[[[1.0, 2.0, 3.0]]]]), 1)[0, 0, 1]
    tensor([3., 1., 2., 3., 1.])
    """
    if torch.compiler.is_exporting():
        return F.pad(x, (n, n, n, n), mode="circular")
    return _Ring.apply(x, n)


class CircularConv2d(nn.Conv2d):
    """A convolution of stride 1 on a torus: its output has the size of its input and rolls along with it.

    Args:
        channels, filters: in and out.
        kernel: rows and columns of the filters, odd.
        bias: whether to add one.

    Raises:
        UsageError: an even kernel.

    Example:
        >>> conv = CircularConv2d(1, 2, 3).double()
        >>> x = torch.rand(1, 1, 5, 6, dtype=torch.float64)
        >>> torch.allclose(conv(x).roll((2, 3), (2, 3)), conv(x.roll((2, 3), (2, 3))))
        True
    """

    def __init__(self, channels: int, filters: int, kernel: int, *, bias: bool = True):
        require(kernel >= 1 and kernel % 2 == 1, "kernel", kernel, "an odd number of at least 1")
        super().__init__(channels, filters, kernel, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # named as in torch's own
        n = self.kernel_size[0] // 2
        return F.conv2d(ring(input, n) if n else input, self.weight, self.bias)
