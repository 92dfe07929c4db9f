"""The small residual convnet that both invariant tracks share: what differs is how it pads and how it downsamples."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require

MakeConv = Callable[[int, int], nn.Module]
"""(channels in, channels out) -> a 3 x 3 convolution without bias that keeps the size of the map."""


class ResidualTrunk(nn.Module):
    """Stem, then a stage a width: downsample -> conv -> x + conv(x); the largest value of each channel -> linear.

    Each convolution is followed by batch normalization and ReLU. Max pooling over the map is kinder than the mean here:
    most of a canvas is empty.

    Args:
        channels: of the pictures.
        widths: channels of the stem and of each stage.
        classes: K.
        conv: makes the convolutions.
        down: makes what halves rows and columns.

    Raises:
        UsageError: fewer than two widths, or one below 1.
    """

    def __init__(self, channels: int, widths: Sequence[int], classes: int, *, conv: MakeConv,
                 down: Callable[[], nn.Module]):
        super().__init__()
        require(len(widths) >= 2 and min(widths) >= 1, "widths", tuple(widths), "two or more whole numbers above 0: of "
                "the stem and of each stage")
        self.stem = _Unit(conv(channels, widths[0]), widths[0])
        self.stages = nn.ModuleList(_Stage(before, after, conv, down())
                                    for before, after in pairwise(widths))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.amax((2, 3)))


class _Unit(nn.Module):
    """Convolution, batch normalization, ReLU."""

    def __init__(self, conv: nn.Module, width: int):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class _Stage(nn.Module):
    def __init__(self, before: int, after: int, conv: MakeConv, down: nn.Module):
        super().__init__()
        self.down, self.widen, self.deepen = down, _Unit(conv(before, after), after), _Unit(conv(after, after), after)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.widen(self.down(x))
        return x + self.deepen(x)


def mirror_average(net: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the mean of a net's outputs for pictures (B, C, H, W) and for their mirror images, asked in one batch."""
    plain, turned = net(torch.cat((x, x.flip(3)))).chunk(2)
    return (plain + turned) / 2
