"""Pooling: local pooling with a blur against aliasing, and global pooling over all positions."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.common import check_maps, require_positive

Border = Literal["circular", "reflect", "zeros"]
BORDERS: dict[str, str] = {"circular": "circular", "reflect": "reflect", "zeros": "constant"}
"""Padding modes of convolutions, and the modes of `torch.nn.functional.pad` that they correspond to."""


def binomial(taps: int) -> torch.Tensor:
    """Return the normalized binomial kernel of a length, float64 (taps,).

    >>> binomial(3).tolist()
    [0.25, 0.5, 0.25]
    """
    return torch.tensor([math.comb(taps - 1, k) for k in range(taps)], dtype=torch.float64) / 2 ** (taps - 1)


class BlurPool2d(nn.Module):
    """Blur each channel with a binomial kernel and keep every `stride`-th row and column.

    Blurring before subsampling reduces aliasing, so that small shifts change the output less; it does not make the
    output invariant (for that, see `PolyphaseDownsample2d`). With padding "circular" the layer commutes with circular
    shifts by multiples of the stride.

    Args:
        channels: number of channels.
        stride: row and column stride; 1 only blurs.
        taps: length of the kernel, 1 to 7 in the paper. The kernel sums to 1, so a constant map does not change.
        padding: "circular", "reflect" or "zeros".

    Returns:
        (in forward) (B, C, ceil(H / stride), ceil(W / stride)).

    Raises:
        UsageError: if channels, stride or taps is below 1, or the padding is unknown; (in forward) if the number of
            channels differs, or the maps are too small for the padding.

    Example:
        >>> BlurPool2d(1, taps=2)(torch.tensor([[[[0.0, 4.0], [8.0, 0.0]]]]))
        tensor([[[[3.]]]])

    References:
        Zhang, "Making convolutional networks shift-invariant again", ICML 2019, arXiv:1904.11486.
    """

    kernel: torch.Tensor

    def __init__(self, channels: int, *, stride: int = 2, taps: int = 4, padding: Border = "circular"):
        super().__init__()
        require_positive(channels=channels, stride=stride, taps=taps)
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


class GlobalMaxPool(nn.Module):
    """Maximum of each channel: (B, C, H, W) -> (B, C).

    Positions that share the maximum share its gradient. Unlike adaptive pooling, `amax` has a gradient that does not
    depend on the order of CUDA threads.

    Example:
        >>> GlobalMaxPool()(torch.arange(8.0).view(1, 2, 2, 2))
        tensor([[3., 7.]])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x, "GlobalMaxPool")
        return x.amax((2, 3))


class GeM(nn.Module):
    """Generalized mean of each channel, `mean(max(x, eps) ** p) ** (1 / p)`: (B, C, H, W) -> (B, C).

    p = 1 gives the mean of positive values; the result approaches the maximum as p grows.

    Args:
        p: exponent above 0, the initial value if it is learned.
        learn: make p a parameter instead of a buffer.
        eps: lower clamp of the values.

    Raises:
        UsageError: if p or eps is not above 0.

    Example:
        >>> GeM(2.0)(torch.tensor([[[[1.0, 7.0]]]])).item()
        5.0

    References:
        Radenovic, Tolias & Chum, "Fine-tuning CNN image retrieval with no human annotation", 2018, arXiv:1711.02512.
    """

    p: torch.Tensor

    def __init__(self, p: float = 3.0, *, learn: bool = True, eps: float = 1e-6):
        super().__init__()
        require(p > 0, "p", p, "above 0")
        require(eps > 0, "eps", eps, "above 0")
        self.eps = eps
        value = torch.tensor(float(p))
        if learn:
            self.p = nn.Parameter(value)
        else:
            self.register_buffer("p", value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x, "GeM")
        wide = x if x.dtype.itemsize >= 4 else x.float()  # powers underflow in half precision
        p = self.p.to(wide.dtype)
        powers = wide.clamp_min(self.eps).pow(p).mean((2, 3))
        least = torch.finfo(wide.dtype).tiny  # with a large p even these underflow; a root has no gradient at 0
        return powers.clamp_min(least).pow(1 / p).to(x.dtype)

    def extra_repr(self) -> str:
        return f"eps={self.eps}, learn={isinstance(self.p, nn.Parameter)}"
