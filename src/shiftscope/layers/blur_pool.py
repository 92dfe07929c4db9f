"""Downsampling with a blur before it: less aliasing, so smaller changes when the input moves, but not none."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.maps import check_maps

Border = Literal["circular", "reflect", "zeros"]
BORDERS: dict[str, str] = {"circular": "circular", "reflect": "reflect", "zeros": "constant"}
"""The modes of `torch.nn.functional.pad` by the names that convolutions use."""


def binomial(taps: int) -> torch.Tensor:
    """Return the row of Pascal's triangle of that length, its sum 1, float64 (taps,).

    >>> binomial(3).tolist()
    [0.25, 0.5, 0.25]
    """
    return torch.tensor([math.comb(taps - 1, k) for k in range(taps)], dtype=torch.float64) / 2 ** (taps - 1)


class BlurPool2d(nn.Module):
    """Blur each channel with a binomial kernel and keep every `stride`-th row and column.

    It makes a strided layer less sensitive to small shifts, not invariant: put it where a stride is, and
    `PolyphaseDownsample2d` where invariance is wanted. With padding "circular" it commutes with circular shifts by
    multiples of the stride.

    Args:
        channels: of the maps.
        stride: rows and columns to step; 1 only blurs.
        taps: length of the kernel, 1 to 7 in the paper; the kernel sums to 1, so a constant map stays as it is.
        padding: what lies beyond the border: "circular", "reflect" or "zeros".

    Returns:
        (in forward) (B, C, ceil(H / stride), ceil(W / stride)).

    Raises:
        UsageError: a stride, taps or channels below 1, an unknown padding; (in forward) maps of other channels, or too
            small to be padded.

    Example:
        >>> BlurPool2d(1, taps=2)(torch.tensor([[[[0.0, 4.0], [8.0, 0.0]]]]))
        tensor([[[[3.]]]])

    References:
        Zhang, "Making convolutional networks shift-invariant again", ICML 2019, arXiv:1904.11486.
    """

    kernel: torch.Tensor

    def __init__(self, channels: int, *, stride: int = 2, taps: int = 4, padding: Border = "circular"):
        super().__init__()
        for name, value in (("channels", channels), ("stride", stride), ("taps", taps)):
            require(isinstance(value, int) and value >= 1, name, value, "a whole number of at least 1")
        require(padding in BORDERS, "padding", padding, f"one of {', '.join(BORDERS)}")
        self.channels, self.stride, self.taps, self.padding = channels, stride, taps, padding
        row = binomial(taps).to(torch.get_default_dtype())
        kernel = (row[:, None] * row).expand(channels, 1, taps, taps).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before, after = (self.taps - 1) // 2, self.taps // 2
        least = {"circular": after, "reflect": after + 1}.get(self.padding, 1)
        check_maps(x, "BlurPool2d", channels=self.channels, least=(least, least))
        padded = F.pad(x, (before, after, before, after), mode=BORDERS[self.padding])
        return F.conv2d(padded, self.kernel, stride=self.stride, groups=self.channels)

    def extra_repr(self) -> str:
        return f"{self.channels}, stride={self.stride}, taps={self.taps}, padding={self.padding!r}"
