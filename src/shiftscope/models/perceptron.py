"""The perceptron of the course: two fully connected layers."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers import Normalize
from shiftscope.layers.placed_pixels import laid_in_rows, prepared_canvases
from shiftscope.models.sizes import check_pixels
from shiftscope.placement import Placement


class TwoFullNet(nn.Module):
    """Flatten -> Linear N -> ReLU -> Linear classes -> log-softmax, after normalization.

    Args:
        N: hidden neurons.
        canvas: (H, W) of the pictures it takes.
        channels: color channels.
        classes: number of classes.
        mean, std: of the pixels in [0, 1], one number or one a channel.

    Raises:
        UsageError: (in forward) the pictures are not (batch, channels, H, W).

    Example:
        >>> model = TwoFullNet()
        >>> sum(p.numel() for p in model.parameters()), model(torch.zeros(2, 1, 56, 56)).shape
        (314710, torch.Size([2, 10]))
    """

    def __init__(self, N: int = 100, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 mean: float | Sequence[float] = 0.1307, std: float | Sequence[float] = 0.3081):
        super().__init__()
        require(N >= 1, "N", N, "a whole number of at least 1")
        self.picture = (channels, *canvas)
        self.arguments = {"N": N, "canvas": tuple(canvas), "channels": channels, "classes": classes, "mean": mean,
                          "std": std}
        self.normalize = Normalize(mean, std)
        self.fc1 = nn.Linear(math.prod(self.picture), N)
        self.fc2 = nn.Linear(N, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.picture)
        return self._rest(self.normalize(pixels))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return what `forward` gives for the images at their offsets, normalized before they are laid.

        Args:
            images: uint8 (B, C, h, w).
            offsets: int64 (B, 2).
            placement: where the offsets come from.

        Returns:
            (B, classes), or None where the images must be laid first.
        """
        if not laid_in_rows(placement, images.device) or (images.shape[1], *placement.canvas) != self.picture:
            return None
        dtype = self.fc1.weight.dtype
        return self._rest(prepared_canvases(images, offsets, placement, dtype, self.normalize))

    def _rest(self, normalized: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.fc1(normalized.flatten(1)))
        return F.log_softmax(self.fc2(hidden), dim=1)
