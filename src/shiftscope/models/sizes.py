"""Checks of sizes that name both sides and the fix."""

import torch
from torch import nn

from shiftscope.errors import UsageError

LARGEST = 2**26
"""Numbers in one picture or in a batch of a fixed size, at most, where a file says how large it is."""


def check_pixels(model: nn.Module, pixels: torch.Tensor, expected: tuple[int, int, int]) -> None:
    """Raise a `UsageError` unless `pixels` is (batch, *expected)."""
    if pixels.ndim != 4 or tuple(pixels.shape[1:]) != expected:
        channels, height, width = expected
        raise UsageError(f"{type(model).__name__} was built for pictures of {channels} x {height} x {width} (channels, "
                         f"height, width) and was given {tuple(pixels.shape)}: choose that canvas, or build the model "
                         "with canvas=(H, W) and channels=C of your pictures")
