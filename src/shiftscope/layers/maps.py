"""The check that layers on maps share: the right number of axes, of channels, of rows and columns."""

import torch

from shiftscope.errors import UsageError


def check_maps(x: torch.Tensor, layer: str, *, channels: int | None = None, least: tuple[int, int] = (1, 1)) -> None:
    """Raise a `UsageError` unless x is (batch, channel, row, column) with these channels and so many rows and columns.

    Args:
        x: what the layer was given.
        layer: its name, for the message.
        channels: how many it must have; None: any number.
        least: rows and columns.

    Example:
        >>> check_maps(torch.zeros(1, 2, 5, 5), "BlurPool2d", channels=3)
        Traceback (most recent call last):
        shiftscope.errors.UsageError: BlurPool2d takes maps (batch, 3, height, width), got (1, 2, 5, 5)
    """
    if x.ndim != 4 or channels not in (None, x.shape[1]):
        raise UsageError(f"{layer} takes maps (batch, {channels or 'channel'}, height, width), got {tuple(x.shape)}")
    if x.shape[2] < least[0] or x.shape[3] < least[1]:
        raise UsageError(f"{layer} needs maps of at least {least[0]} x {least[1]}, got {x.shape[2]} x {x.shape[3]}: "
                         "choose a larger canvas, or a smaller kernel or padding")
