"""Classifiers on scattering coefficients: fixed filters, translation-invariant by global means.

The trained layers get one mean of each scattering map over the whole torus. Circular shifts do not change it, up to
rounding, and the placements of an image on an empty canvas are circular shifts of each other.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers import Normalize, Scattering2d, Standardize
from shiftscope.layers.placed_images import can_prepare_first, prepare_and_place
from shiftscope.models.forward import check_pixels
from shiftscope.placement import Placement

MEAN, STD = 0.1307, 0.3081

SCALES, ANGLES = 5, 6
"""With 3 scales the validation accuracy on Fashion-MNIST is 2 to 3 points lower; 8 angles take twice as long as 6."""


class ScatteringFeatures(nn.Module):
    """Pixels -> normalized -> one standardized coefficient per path, (B, channels * paths), equal for all shifts.

    Args:
        canvas, channels, scales, angles, mean, std: see `ScatteringLinear`.

    Attributes:
        count: number of features per image.
        arguments: all arguments, with defaults filled in.

    Raises:
        UsageError: if the canvas is below 2 x 2 or too small for the scales; (in forward) if the input is not
            (B, channels, H, W).

    Example:
        >>> ScatteringFeatures((8, 12), channels=2, angles=4).eval()(torch.zeros(5, 2, 8, 12)).shape
        torch.Size([5, 122])
    """

    def __init__(self, canvas: tuple[int, int] = (56, 56), *, channels: int = 1, scales: int | None = None,
                 angles: int = ANGLES, mean: float | Sequence[float] = MEAN, std: float | Sequence[float] = STD):
        super().__init__()
        require(min(canvas) >= 2, "canvas", tuple(canvas), "at least 2 x 2")
        scales = min(SCALES, min(canvas).bit_length() - 1) if scales is None else scales
        self.input_shape = (channels, *canvas)
        self.arguments = {"scales": scales, "angles": angles, "canvas": tuple(canvas), "channels": channels,
                          "mean": mean, "std": std}
        self.normalize = Normalize(mean, std)
        self.scattering = Scattering2d(canvas, scales, angles, pool="rms")
        self.count = channels * len(self.scattering.paths)
        self.standardize = Standardize(self.count)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._after_normalize(self.normalize(pixels))

    def of_placed(self, images: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return the features of uint8 images (B, C, h, w), computed at the middle offset; they hold for all offsets.

        None outside of training, where every placement is evaluated as it is, and if the features depend on the offset:
        in modes crop and fill and on textures.
        """
        invariant = placement.geometry.keeps_pixels and isinstance(placement.background, int)
        if not self.training or not invariant or (images.shape[1], *placement.canvas) != self.input_shape:
            return None
        middle, dtype = placement.centered(len(images), images.device), self.standardize.mean.dtype
        if can_prepare_first(placement, images.device):
            return self._after_normalize(prepare_and_place(images, middle, placement, dtype, self.normalize))
        return self(placement.place(images, middle).to(dtype) / 255)

    def _after_normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.standardize(self.scattering(pixels).flatten(1))


class _ScatteringNet(nn.Module):
    """Scattering features, then layers with log-softmax."""

    def __init__(self, features: ScatteringFeatures, **arguments: int):
        super().__init__()
        self.features = features
        self.input_shape = features.input_shape
        self.arguments = features.arguments | arguments

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.input_shape)
        return self._classify(self.features(pixels))

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return the output for images (B, C, h, w) at offsets (B, 2), in training, with all at the middle offset.

        See `placed_outputs`; None in eval mode, and if the result may depend on the offsets.
        """
        features = self.features.of_placed(images, placement)
        return None if features is None else self._classify(features)

    def _classify(self, features: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class ScatteringLinear(_ScatteringNet):
    """Normalize -> scattering -> one mean per map -> standardize -> Linear classes -> log-softmax.

    Exact, up to rounding, for all circular shifts, hence at all placements on an empty canvas. Not in mode crop, nor on
    a texture fixed to the canvas. Coefficients of order 1 are means of the modulus, those of order 2 root mean squares.

    Args:
        canvas: (H, W) of the input.
        channels: color channels.
        classes: number of classes.
        scales: J of the scattering (default: 5, or as many as fit on the canvas).
        angles: L of the scattering.
        mean, std: of the pixels in [0, 1], one number or one per channel.

    Raises:
        UsageError: if the canvas is too small for the scales; (in forward) if the input is not (batch, channels, H, W).

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
        super().__init__(ScatteringFeatures(canvas, channels=channels, scales=scales, angles=angles, mean=mean,
                                            std=std), classes=classes)
        self.fc = nn.Linear(self.features.count, classes)

    def _classify(self, features: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc(features), dim=1)


class ScatteringFull(_ScatteringNet):
    """`ScatteringLinear` with N hidden neurons: the course's perceptron on scattering coefficients instead of pixels.

    Args:
        N: hidden neurons.
        canvas, channels, classes, scales, angles, mean, std: see `ScatteringLinear`.

    Raises:
        UsageError: if N is below 1, or the canvas too small; (in forward) if the input is not (batch, channels, H, W).

    Example:
        >>> sum(p.numel() for p in ScatteringFull().parameters())
        40210
    """

    def __init__(self, N: int = 100, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 scales: int | None = None, angles: int = ANGLES, mean: float | Sequence[float] = MEAN,
                 std: float | Sequence[float] = STD):
        require(N >= 1, "N", N, "a positive integer")
        super().__init__(ScatteringFeatures(canvas, channels=channels, scales=scales, angles=angles, mean=mean,
                                            std=std), N=N, classes=classes)
        self.fc1 = nn.Linear(self.features.count, N)
        self.fc2 = nn.Linear(N, classes)

    def _classify(self, features: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.fc2(F.relu(self.fc1(features))), dim=1)
