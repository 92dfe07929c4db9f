"""From a map to one number a channel, whatever the place: the largest value, or a mean that leans toward it.

Written with `amax` and `mean`, whose gradients on CUDA do not depend on the order of threads, as those of adaptive
pooling do.
"""

import torch
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.maps import check_maps


class GlobalMaxPool(nn.Module):
    """Return each channel's largest value: (B, C, H, W) -> (B, C).

    Places that share the largest value share its gradient.

    Example:
        >>> GlobalMaxPool()(torch.arange(8.0).view(1, 2, 2, 2))
        tensor([[3., 7.]])
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x, "GlobalMaxPool")
        return x.amax((2, 3))


class GeM(nn.Module):
    """Return each channel's generalized mean, `mean(max(x, eps) ** p) ** (1 / p)`: (B, C, H, W) -> (B, C).

    p = 1 is the mean (of positive values), and the larger p the nearer it comes to the largest value.

    Args:
        p: exponent above 0, where it starts if it is learned.
        learn: whether p is a parameter; else it is a buffer.
        eps: values below it count as it.

    Raises:
        UsageError: p or eps not above 0.

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
        wide = x if x.dtype.itemsize >= 4 else x.float()  # powers of half precision vanish
        p = self.p.to(wide.dtype)
        powers = wide.clamp_min(self.eps).pow(p).mean((2, 3))
        least = torch.finfo(wide.dtype).tiny  # a large p makes even these vanish; the root of 0 has no gradient
        return powers.clamp_min(least).pow(1 / p).to(x.dtype)

    def extra_repr(self) -> str:
        return f"eps={self.eps}, learn={isinstance(self.p, nn.Parameter)}"
