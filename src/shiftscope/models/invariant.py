"""Track B: indifferent to place by its architecture. No part of it finds the object."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers import CircularConv2d, Normalize, PhaseToOrigin
from shiftscope.models.residual import ResidualTrunk, mirror_average

WIDTHS = (32, 64, 128)


class InvariantNet(nn.Module):
    """Circular convolutions, polyphase sampling, global pooling: invariant to circular shifts.

    Every map is a torus, on which each layer commutes with shifts; the largest value of a channel does not depend on
    where it stands. An image that lies wholly on an empty canvas is moved by a circular shift, so it is exact in the
    modes canvas (constant background) and circular, up to rounding; not in mode crop.

    Args:
        canvas: (H, W) of the pictures it takes, multiples of the total stride (2 a stage). The weights fit any.
        channels: color channels.
        classes: number of classes.
        widths: channels of the stem and of each stage.
        mirror: average over the picture and its mirror image in eval mode.
        mean, std: of the pixels in [0, 1], one number or one a channel.

    Raises:
        UsageError: a canvas that the total stride does not divide; (in forward) pictures of other channels or of a size
            that it does not divide.

    Example:
        >>> model = InvariantNet(canvas=(24, 32), widths=(4, 8, 8)).double().eval()
        >>> canvas = torch.rand(1, 1, 24, 32, dtype=torch.float64)
        >>> torch.allclose(model(canvas), model(canvas.roll((5, 11), (2, 3))), atol=1e-12)
        True

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214.
    """

    def __init__(self, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 widths: Sequence[int] = WIDTHS, mirror: bool = True, mean: float | Sequence[float] = 0.0,
                 std: float | Sequence[float] = 0.35):
        super().__init__()
        self.channels, self.canvas, self.stride = channels, (canvas[0], canvas[1]), 2 ** (len(widths) - 1)
        require(all(size % self.stride == 0 for size in canvas), "canvas", tuple(canvas),
                f"multiples of the model's total stride, {self.stride}")
        self.arguments = {"canvas": tuple(canvas), "channels": channels, "classes": classes, "widths": tuple(widths),
                          "mirror": mirror, "mean": mean, "std": std}
        self.mirror = mirror
        self.normalize = Normalize(mean, std)
        self.trunk = ResidualTrunk(channels, widths, classes, conv=lambda a, b: CircularConv2d(a, b, 3, bias=False),
                                   down=lambda: nn.Sequential(PhaseToOrigin(2), nn.MaxPool2d(2)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        _, channels, height, width = pixels.shape
        if channels != self.channels or height % self.stride or width % self.stride:
            raise UsageError(f"InvariantNet takes pictures of {self.channels} channels with rows and columns in "
                             f"multiples of its total stride, {self.stride}, and was given {tuple(pixels.shape)}: "
                             "choose such a canvas, or build the model with channels=C of your pictures")
        x = self.normalize(pixels)
        return mirror_average(self.trunk, x) if self.mirror and not self.training else self.trunk(x)

