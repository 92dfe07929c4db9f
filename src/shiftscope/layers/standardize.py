"""Features brought to mean 0 and std 1 by what has been seen of them."""

import torch
from torch import nn

from shiftscope.errors import UsageError, require


class Standardize(nn.Module):
    """Subtract the mean and divide by the std of all features seen in training so far, column by column.

    For features that training does not change. Unlike batch normalization it treats each row alike, whatever else is in
    the batch, takes batches of one, and its figures settle after one pass over the data.

    Args:
        features: number of columns.
        least: added to the std, so that a column that never varies stays finite.

    Raises:
        UsageError: (in forward) the rows have another length.

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

    def __init__(self, features: int, *, least: float = 1e-5):
        super().__init__()
        require(isinstance(features, int) and features >= 1, "features", features, "a whole number of at least 1")
        require(0 < least < float("inf"), "least", least, "a number above 0")
        self.features, self.least = features, least
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("variance", torch.ones(features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.ndim != 2 or x.shape[1] != self.features:
            raise UsageError(f"features must be (batch, {self.features}), got {tuple(x.shape)}")
        if self.training and len(x):
            self._take_in(x.detach())
        return (x - self.mean) / (self.variance.sqrt() + self.least)

    @torch.no_grad()
    def _take_in(self, x: torch.Tensor) -> None:
        """Join mean and variance of these rows with those of all before."""
        total = self.seen + len(x)
        share = len(x) / total.to(self.mean.dtype)
        away = x.mean(0) - self.mean
        spread = x.var(0, correction=0)
        self.variance += share * (spread - self.variance + (1 - share) * away.square())
        self.mean += share * away
        self.seen.copy_(total)

    def extra_repr(self) -> str:
        return f"{self.features}"
