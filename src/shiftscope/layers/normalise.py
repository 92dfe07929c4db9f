"""Normalisation of pixels, the first step of every model here."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import require


class Normalise(nn.Module):
    """Map pixels in [0, 1] to (pixels - mean) / deviation, channel by channel.

    Args:
        mean: one number for all channels, or one a channel.
        deviation: the same, above 0.

    Example:
        >>> Normalise(0.5, 0.25)(torch.ones(1, 1, 2, 2)).mean().item()
        2.0
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, mean: float | Sequence[float], deviation: float | Sequence[float]):
        super().__init__()
        deviations = deviation if isinstance(deviation, Sequence) else [deviation]
        require(all(value > 0 for value in deviations), "deviation", deviation, "above 0 in every channel")
        for name, value in (("mean", mean), ("deviation", deviation)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels - self.mean) / self.deviation
