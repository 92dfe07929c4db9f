"""The convnet of the course: two convolutions, two fully connected layers."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers import Normalize
from shiftscope.layers.placed_conv import fits, placed_conv_pool
from shiftscope.models.sizes import check_pixels
from shiftscope.placement import Placement

KERNEL, POOL, FILTERS, GROUPS, HIDDEN = 5, 2, 30, 6, 100


class TwoConvTwoFullNet(nn.Module):
    """Conv 30 5x5 -> ReLU -> pool 2 -> Conv 30 5x5 in 6 groups -> Dropout2d -> ReLU -> pool 2 -> Linear 100 -> ReLU
    -> dropout -> Linear classes -> log-softmax, after normalization.

    Computed as convolution, pool, dropout, ReLU: a maximum commutes with ReLU and with scaling by a positive number
    or by zero, so the result is the same to the bit, at a quarter of the work for the pointwise steps.

    Args:
        canvas: (H, W) of the pictures it takes, at least 16 x 16.
        channels: color channels.
        classes: number of classes.
        dropout: share of channels (after the second convolution) and of neurons (after fc1) dropped in training.
        mean, std: of the pixels in [0, 1], one number or one a channel.

    Raises:
        UsageError: a canvas too small for the two convolutions; (in forward) pictures of another size.

    Example:
        >>> model = TwoConvTwoFullNet()
        >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 1, 56, 56)).shape
        (368670, torch.Size([2, 10]))
    """

    def __init__(self, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 dropout: float = 0.2, mean: float | Sequence[float] = 0.1307,
                 std: float | Sequence[float] = 0.3081):
        super().__init__()
        height, width = (_after_both(size) for size in canvas)
        require(height >= 1 and width >= 1, "canvas", tuple(canvas), "at least 16 x 16 for two 5 x 5 convolutions with "
                "pooling")
        self.picture = (channels, *canvas)
        self.arguments = {"dropout": dropout, "canvas": tuple(canvas), "channels": channels, "classes": classes,
                          "mean": mean, "std": std}
        self.normalize = Normalize(mean, std)
        self.conv1 = nn.Conv2d(channels, FILTERS, KERNEL)
        self.conv2 = nn.Conv2d(FILTERS, FILTERS, KERNEL, groups=GROUPS)
        self.conv2_drop = nn.Dropout2d(dropout)
        self.fc1 = nn.Linear(FILTERS * height * width, HIDDEN)
        self.fc1_drop = nn.Dropout(dropout)
        self.fc2 = nn.Linear(HIDDEN, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.picture)
        return self._rest(F.relu(F.max_pool2d(self.conv1(self.normalize(pixels)), POOL)))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return what `forward` gives for the images at their offsets, without visiting the empty canvas.

        Args:
            images: uint8 (B, C, h, w).
            offsets: int64 (B, 2).
            placement: where the offsets come from.

        Returns:
            (B, classes), or None where the short cut is not exact for this placement.
        """
        if not fits(self.conv1, placement) or (images.shape[1], *placement.canvas) != self.picture:
            return None
        return self._rest(placed_conv_pool(self.conv1, POOL, self.normalize, images, offsets, placement))

    def _rest(self, features: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv2(features), POOL)
        x = F.relu(self.conv2_drop(x)).flatten(1)
        x = self.fc1_drop(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


def _after_both(size: int) -> int:
    """Return the side length after both convolutions and pools.

    >>> _after_both(56)
    11
    """
    for _ in range(2):
        size = (size - KERNEL + 1) // POOL
    return size
