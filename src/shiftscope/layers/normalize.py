"""Normalization of pixels with a given mean and standard deviation, and of features with running statistics."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.common import require_positive


class Normalize(nn.Module):
    """Normalize pixels in [0, 1] to (pixels - mean) / std, per channel.

    Args:
        mean: one number for all channels, or one per channel.
        std: the same, above 0.

    Raises:
        UsageError: if a std is not above 0, or mean and std have different numbers of channels; (in forward) if the
            pixels have another number of channels.

    Example:
        >>> Normalize(0.5, 0.25)(torch.ones(1, 1, 2, 2)).mean().item()
        2.0
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        super().__init__()
        means, stds = (value if isinstance(value, Sequence) else [value] for value in (mean, std))
        require(all(value > 0 for value in stds), "std", std, "above 0 in every channel")
        require(len(means) == len(stds) or 1 in (len(means), len(stds)), "mean and std", (mean, std),
                "one number each, or one per channel")
        self.channels = max(len(means), len(stds))
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.shape[1] not in (1, self.channels) and self.channels > 1:
            raise UsageError(f"the normalization is for {self.channels} channels, got pixels of shape "
                             f"{tuple(pixels.shape)}: give one mean and one std for each channel")
        return (pixels - self.mean) / self.std


class Standardize(nn.Module):
    """Standardize features with the mean and std, per column, of all features seen in training mode.

    For features that training does not change. Unlike batch normalization, the result for a row does not depend on
    the other rows of the batch, batches of one are possible, and the statistics are final after one pass over the data.

    Args:
        features: number of columns.
        eps: added to the std, so that constant columns stay finite.

    Raises:
        UsageError: (in forward) if the input is not (B, features).

    Example:
        >>> standardize = Standardize(1)
        >>> standardize(torch.tensor([[1.0], [3.0]])).flatten().round(decimals=3).tolist()
        [-1.0, 1.0]
        >>> standardize.eval()(torch.tensor([[4.0]])).round(decimals=3).item()
        2.0

    References:
        Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The American Statistician 37 (1983).
    """

    seen: torch.Tensor
    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, features: int, *, eps: float = 1e-5):
        super().__init__()
        require_positive(features=features)
        require(0 < eps < float("inf"), "eps", eps, "a number above 0")
        self.features, self.eps = features, eps
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or x.shape[1] != self.features:
            raise UsageError(f"features must be (batch, {self.features}), got {tuple(x.shape)}")
        if self.training and len(x):
            self._update(x.detach())
        return (x - self.mean) / (self.variance.sqrt() + self.eps)

    @torch.no_grad()
    def _update(self, x: torch.Tensor) -> None:
        """Merge mean and variance of these rows into those of all previous rows."""
        total = self.seen + len(x)
        weight = len(x) / total.to(self.mean.dtype)
        delta = x.mean(0) - self.mean
        self.variance += weight * (x.var(0, correction=0) - self.variance + (1 - weight) * delta.square())
        self.mean += weight * delta
        self.seen.copy_(total)

    def extra_repr(self) -> str:
        return f"{self.features}"
