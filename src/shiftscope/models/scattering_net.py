"""Scattering and a classifier: filters that are known instead of learned, and indifferent to place by their average.

All that is trained sees one mean of each scattering map over the whole torus. A circular shift changes none of them,
up to rounding, and the placements of an image on an empty canvas are circular shifts of one another.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.normalize import Normalize
from shiftscope.layers.placed_pixels import laid_in_rows, prepared_canvases
from shiftscope.layers.scattering import Scattering2d
from shiftscope.layers.standardize import Standardize
from shiftscope.models.sizes import check_pixels
from shiftscope.placement import Placement

MEAN, STD = 0.1307, 0.3081

SCALES, ANGLES = 5, 6
"""On the validation split of Fashion-MNIST 3 scales lose 2 to 3 points; 8 angles take twice as long as 6."""


class ScatteringFeatures(nn.Module):
    """Pixels -> normalized -> one standardized coefficient a path, (B, channels * paths): the same for all shifts.

    Args:
        canvas, channels, scales, angles, mean, std: see `ScatteringLinear`.

    Attributes:
        count: features a picture.
        arguments: as given, with what was left open filled in.

    Raises:
        UsageError: a canvas below 2 x 2, or too small for the scales; (in forward) pictures of another size.

    Example:
        >>> ScatteringFeatures((8, 12), channels=2, angles=4).eval()(torch.zeros(5, 2, 8, 12)).shape
        torch.Size([5, 122])
    """

    def __init__(self, canvas: tuple[int, int] = (56, 56), *, channels: int = 1, scales: int | None = None,
                 angles: int = ANGLES, mean: float | Sequence[float] = MEAN,
                 std: float | Sequence[float] = STD):
        super().__init__()
        require(min(canvas) >= 2, "canvas", tuple(canvas), "at least 2 x 2")
        scales = min(SCALES, min(canvas).bit_length() - 1) if scales is None else scales
        self.picture = (channels, *canvas)
        self.arguments = {"scales": scales, "angles": angles, "canvas": tuple(canvas), "channels": channels,
                          "mean": mean, "std": std}
        self.normalize = Normalize(mean, std)
        self.scattering = Scattering2d(canvas, scales, angles, pool="rms")
        self.count = channels * len(self.scattering.paths)
        self.standardize = Standardize(self.count)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._of_normalized(self.normalize(pixels))

    def of_placed(self, images: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return the features that uint8 images (B, C, h, w) have at each of their placements, from the middle one.

        In training alone: what is evaluated is evaluated at its place. None then, and where places matter: in mode crop
        and on textures.
        """
        same = placement.mode != "crop" and isinstance(placement.background, int)
        if not self.training or not same or (images.shape[1], *placement.canvas) != self.picture:
            return None
        middle, dtype = placement.centered(len(images), images.device), self.standardize.mean.dtype
        if laid_in_rows(placement, images.device):
            return self._of_normalized(prepared_canvases(images, middle, placement, dtype, self.normalize))
        return self(placement.place(images, middle).to(dtype) / 255)

    def _of_normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.standardize(self.scattering(pixels).flatten(1))


class ScatteringLinear(nn.Module):
    """Normalize -> scattering -> one mean a map -> standardize -> Linear classes -> log-softmax.

    Exact, up to rounding, under all circular shifts, hence at all placements on an empty canvas. Not in mode crop, nor
    on a texture that stays in place. The mean is the modulus's own for order 1, its root mean square for order 2.

    Args:
        canvas: (H, W) of the pictures it takes.
        channels: color channels.
        classes: number of classes.
        scales: J of the scattering (default: 5, or as many as fit on the canvas).
        angles: L of the scattering.
        mean, std: of the pixels in [0, 1], one number or one a channel.

    Raises:
        UsageError: (in forward) the pictures are not (batch, channels, H, W).

    Example:
        >>> model = ScatteringLinear()
        >>> sum(p.numel() for p in model.parameters()), model.eval()(torch.zeros(2, 1, 56, 56)).shape
        (3920, torch.Size([2, 10]))

    References:
        Bruna & Mallat, "Invariant scattering convolution networks", IEEE PAMI 35 (2013), arXiv:1203.1513.
    """

    def __init__(self, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 scales: int | None = None, angles: int = ANGLES, mean: float | Sequence[float] = MEAN,
                 std: float | Sequence[float] = STD):
        super().__init__()
        self.features = ScatteringFeatures(canvas, channels=channels, scales=scales, angles=angles, mean=mean,
                                           std=std)
        self.picture = self.features.picture
        self.arguments = self.features.arguments | {"classes": classes}
        self.fc = nn.Linear(self.features.count, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.picture)
        return self._rest(self.features(pixels))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return what `forward` gives for the images at their offsets, in training laid at the middle one.

        Args:
            images: uint8 (B, C, h, w).
            offsets: int64 (B, 2).
            placement: where the offsets come from.

        Returns:
            (B, classes), or None where the model is not training, or the place may matter.
        """
        features = self.features.of_placed(images, placement)
        return None if features is None else self._rest(features)

    def _rest(self, features: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc(features), dim=1)


class ScatteringFull(nn.Module):
    """`ScatteringLinear` with N hidden neurons: the course's perceptron on scattering coefficients instead of pixels.

    Args:
        N: hidden neurons.
        canvas, channels, classes, scales, angles, mean, std: see `ScatteringLinear`.

    Raises:
        UsageError: (in forward) the pictures are not (batch, channels, H, W).

    Example:
        >>> sum(p.numel() for p in ScatteringFull().parameters())
        40210
    """

    def __init__(self, N: int = 100, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 scales: int | None = None, angles: int = ANGLES, mean: float | Sequence[float] = MEAN,
                 std: float | Sequence[float] = STD):
        super().__init__()
        require(N >= 1, "N", N, "a whole number of at least 1")
        self.features = ScatteringFeatures(canvas, channels=channels, scales=scales, angles=angles, mean=mean,
                                           std=std)
        self.picture = self.features.picture
        self.arguments = self.features.arguments | {"N": N, "classes": classes}
        self.fc1 = nn.Linear(self.features.count, N)
        self.fc2 = nn.Linear(N, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.picture)
        return self._rest(self.features(pixels))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return what `forward` gives for the images at their offsets, see `ScatteringLinear.forward_placed`."""
        features = self.features.of_placed(images, placement)
        return None if features is None else self._rest(features)

    def _rest(self, features: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc2(F.relu(self.fc1(features))), dim=1)
