"""The two networks of the course: a perceptron and a small convnet."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers import Normalize
from shiftscope.layers.placed_images import (
    can_convolve_patches,
    can_prepare_first,
    placed_conv_pool,
    prepare_and_place,
)
from shiftscope.models.forward import check_pixels
from shiftscope.placement import Placement

KERNEL, POOL, FILTERS, GROUPS, HIDDEN = 5, 2, 30, 6, 100
"""Of `TwoConvTwoFullNet`."""


class TwoFullNet(nn.Module):
    """Normalization -> flatten -> Linear N -> ReLU -> Linear classes -> log-softmax.

    Args:
        N: hidden neurons.
        canvas: (H, W) of the input.
        channels: color channels.
        classes: number of classes.
        mean, std: of the pixels in [0, 1], one number or one per channel.

    Raises:
        UsageError: if N is below 1; (in forward) if the input is not (batch, channels, H, W).

    Example:
        >>> model = TwoFullNet()
        >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 1, 56, 56)).shape
        (314710, torch.Size([2, 10]))
    """

    def __init__(self, N: int = 100, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 mean: float | Sequence[float] = 0.1307, std: float | Sequence[float] = 0.3081):
        super().__init__()
        require(N >= 1, "N", N, "a positive integer")
        self.input_shape = (channels, *canvas)
        self.arguments = {"N": N, "canvas": tuple(canvas), "channels": channels, "classes": classes, "mean": mean,
                          "std": std}
        self.normalize = Normalize(mean, std)
        self.fc1 = nn.Linear(math.prod(self.input_shape), N)
        self.fc2 = nn.Linear(N, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.input_shape)
        return self._after_normalize(self.normalize(pixels))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return the output for images (B, C, h, w) at offsets (B, 2), normalized before they are placed.

        See `placed_outputs`; None if the images must be placed first.
        """
        if not can_prepare_first(placement, images.device) or (images.shape[1], *placement.canvas) != self.input_shape:
            return None
        dtype = self.fc1.weight.dtype
        return self._after_normalize(prepare_and_place(images, offsets, placement, dtype, self.normalize))

    def _after_normalize(self, normalized: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.fc1(normalized.flatten(1)))
        return F.log_softmax(self.fc2(hidden), dim=1)


class TwoConvTwoFullNet(nn.Module):
    """Normalization -> Conv 30 5x5 -> ReLU -> max-pool 2 -> Conv 30 5x5 in 6 groups -> Dropout2d -> ReLU -> max-pool 2
    -> Linear 100 -> ReLU -> dropout -> Linear classes -> log-softmax.

    Computed as convolution, pool, dropout, ReLU: a maximum commutes with ReLU and with non-negative factors, so the
    result is the same bit for bit, at a quarter of the cost of the pointwise steps.

    Args:
        canvas: (H, W) of the input, at least 16 x 16.
        channels: color channels.
        classes: number of classes.
        dropout: fraction of channels (after the second convolution) and neurons (after fc1) dropped in training.
        mean, std: of the pixels in [0, 1], one number or one per channel.

    Raises:
        UsageError: if the canvas is too small for the two convolutions; (in forward) if the input is not
            (batch, channels, H, W).

    Example:
        >>> model = TwoConvTwoFullNet()
        >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 1, 56, 56)).shape
        (368670, torch.Size([2, 10]))
    """

    def __init__(self, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 dropout: float = 0.2, mean: float | Sequence[float] = 0.1307,
                 std: float | Sequence[float] = 0.3081):
        super().__init__()
        height, width = (((size - KERNEL + 1) // POOL - KERNEL + 1) // POOL for size in canvas)
        require(height >= 1 and width >= 1, "canvas", tuple(canvas), "at least 16 x 16 for two 5 x 5 convolutions with "
                "pooling")
        self.input_shape = (channels, *canvas)
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
        check_pixels(self, pixels, self.input_shape)
        return self._after_pool1(F.relu(F.max_pool2d(self.conv1(self.normalize(pixels)), POOL)))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return the output for images (B, C, h, w) at offsets (B, 2), without convolving the empty canvas.

        See `placed_outputs`; None if this is not exact for the placement.
        """
        if not can_convolve_patches(self.conv1, placement) or (images.shape[1], *placement.canvas) != self.input_shape:
            return None
        return self._after_pool1(placed_conv_pool(self.conv1, POOL, self.normalize, images, offsets, placement))

    def _after_pool1(self, features: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(self.conv2(features), POOL)
        x = F.relu(self.conv2_drop(x)).flatten(1)
        x = self.fc1_drop(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)
