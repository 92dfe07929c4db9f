"""The course models with other widths, for the growth of time with width."""

from torch import nn

from shiftscope.models import TwoConvTwoFullNet, TwoFullNet
from shiftscope.models.course import FILTERS, GROUPS, HIDDEN, KERNEL

WIDTHS = {"two-full": ("hidden neurons", (50, 100, 200, 400)), "two-conv": ("filters", (18, 30, 60, 120))}
"""Widened layer type and widths; the second width is that of the course."""


class WideConvnet(TwoConvTwoFullNet):
    """The convnet with another number of filters in both convolutions.

    Example:
        >>> WideConvnet(12).conv2
        Conv2d(12, 12, kernel_size=(5, 5), stride=(1, 1), groups=6)
    """

    def __init__(self, filters: int, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10):
        super().__init__(canvas=canvas, channels=channels, classes=classes)
        cells = self.fc1.in_features // FILTERS
        self.conv1 = nn.Conv2d(channels, filters, KERNEL)
        self.conv2 = nn.Conv2d(filters, filters, KERNEL, groups=GROUPS)
        self.fc1 = nn.Linear(filters * cells, HIDDEN)


def wide_model(name: str, width: int, *, canvas: tuple[int, int], channels: int, classes: int) -> nn.Module:
    """Return a course model of another width."""
    if name == "two-conv":
        return WideConvnet(width, canvas=canvas, channels=channels, classes=classes)
    return TwoFullNet(width, canvas=canvas, channels=channels, classes=classes)
