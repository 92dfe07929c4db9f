"""Normalization of pixels, the first step of every model here."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import UsageError, require


class Normalize(nn.Module):
    """Map pixels in [0, 1] to (pixels - mean) / std, channel by channel.

    Args:
        mean: one number for all channels, or one a channel.
        std: the same, above 0.

    Raises:
        UsageError: a std that is not above 0, or means and stds of different numbers of channels; (in
            forward) pixels of another number of channels.

    Example:
        >>> Normalize(0.5, 0.25)(torch.ones(1, 1, 2, 2)).mean().item()
        2.0
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]):
        super().__init__()
        stds = std if isinstance(std, Sequence) else [std]
        require(all(value > 0 for value in stds), "std", std, "above 0 in every channel")
        means = mean if isinstance(mean, Sequence) else [mean]
        require(len(means) == len(stds) or 1 in (len(means), len(stds)), "mean and std",
                (mean, std), "one number each, or as many as there are channels")
        self.channels = max(len(means), len(stds))
        for name, value in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        if pixels.shape[1] not in (1, self.channels) and self.channels > 1:
            raise UsageError(f"the normalization is for {self.channels} channels, got pixels of shape "
                             f"{tuple(pixels.shape)}: give one mean and one std for each channel")
        return (pixels - self.mean) / self.std
