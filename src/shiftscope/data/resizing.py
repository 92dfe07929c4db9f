"""Images of different sizes as images of one size: the size, how they are resized, and notes about it."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import log
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn

from shiftscope.errors import DataError, UsageError
from shiftscope.geometry import Size, check_size
from shiftscope.preparation import MOST_PIXELS, Preparation

MUCH, RATIO = 2.0, 1.5
"""Sizes differ much if an image is scaled by more than `MUCH`, or its aspect ratio differs by more than `RATIO`."""


@dataclass(frozen=True, kw_only=True)
class Target(Preparation):
    """The size of all images of a dataset, and how images of other sizes are resized and cropped.

    Args:
        size: (height, width) in pixels.
        resize, shorter_side, crop, interpolation, antialias, background: see `Preparation`.

    Raises:
        UsageError: if the size has no pixels or too many, or another value is unknown.

    Example:
        >>> Target(size=(4, 6)).fit(np.full((1, 2, 2), 9, dtype=np.uint8))[0, 0].tolist()
        [0, 9, 9, 9, 9, 0]
    """

    size: Size

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("image_size", self.size)
        if self.shorter_side is not None and self.shorter_side < max(self.size):
            raise UsageError(f"shorter_side must be at least the longer side of image_size, {self.size[0]} x "
                             f"{self.size[1]} (height x width), got {self.shorter_side}: choose a larger "
                             "--shorter-side or smaller images")

    @classmethod
    def sized(cls, how: Preparation, size: Size) -> Self:
        """Return a preparation with the size of the prepared images."""
        return cls(size=size, **{field.name: getattr(how, field.name) for field in fields(Preparation)})

    def without_size(self) -> Preparation:
        """Return the preparation alone, for images of another size."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(Preparation)}
        if self.resize == "shorter":
            values["shorter_side"] = self.side
        return Preparation(**values)

    @property
    def side(self) -> int:
        """Length of the shorter side of a scaled image, for the resizing "shorter"."""
        return self.shorter_side or max(self.size)

    def keeps(self, size: Size) -> bool:
        """Return True if an image of (height, width) `size` is neither scaled nor cropped nor padded."""
        return size == self.size and self.scaled(size) == size

    def scaled(self, size: Size) -> Size:
        """Return the size to which an image of (height, width) `size` is scaled, without padding or crop.

        >>> Target(size=(28, 28)).scaled((100, 50)), Target(size=(28, 28)).scaled((1000, 1))
        ((28, 14), (28, 1))
        >>> Target(size=(224, 224), resize="shorter", shorter_side=256).scaled((3000, 4000))
        (256, 341)
        """
        if self.resize == "stretch":
            return self.size
        if self.resize == "shorter":  # the longer side is rounded down, as in torchvision
            height, width = (self.side * side // min(size) for side in size)
            return height, width
        factor = min(whole / side for whole, side in zip(self.size, size, strict=True))
        height, width = (min(whole, max(1, round(side * factor)))
                         for whole, side in zip(self.size, size, strict=True))
        return height, width

    def check(self, size: Size, name: str) -> None:
        """Raise a `DataError` if the image called `name` is so elongated that it would be too large when scaled."""
        height, width = self.scaled(size)
        if height * width > MOST_PIXELS:
            raise DataError(f"{name} is {size[0]} x {size[1]} pixels (height x width) and would have "
                            f"{height * width:,} pixels with a shorter side of {self.side}, at most {MOST_PIXELS:,} "
                            "are possible: crop it, remove it, or use --resize pad")

    def fit(self, image: np.ndarray | Image.Image) -> np.ndarray:
        """Return an image, uint8 (C, h, w) with C = 1 or 3 or a PIL image of mode L or RGB, as uint8 (C, H, W)."""
        if isinstance(image, np.ndarray):
            if self.keeps(image.shape[1:]):
                return image
            image = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        scaled = _scale(image, self.scaled((image.height, image.width)), self)
        return self._crop(scaled) if self.resize == "shorter" else self._pad(scaled)

    def _pad(self, scaled: np.ndarray) -> np.ndarray:
        fitted = np.full((len(scaled), *self.size), self.background, dtype=np.uint8)
        height, width = scaled.shape[1:]
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        fitted[:, top:top + height, left:left + width] = scaled
        return fitted

    def _crop(self, scaled: np.ndarray) -> np.ndarray:
        """Crop so that the middle window of the size `crop` is that of torchvision's CenterCrop, which rounds half to
        even."""
        rows, columns = (slice(start := min(max(round((length - crop) / 2) - (size - crop) // 2, 0), length - size),
                               start + size)
                         for length, size, crop in zip(scaled.shape[1:], self.size, self.crop or self.size,
                                                       strict=True))
        return np.ascontiguousarray(scaled[:, rows, columns])

    def describe(self) -> str:
        """Return a phrase about the resizing of images of other sizes.

        >>> Target(size=(28, 20)).describe()
        'resized to fit 28 x 20 pixels (height x width) and padded with 0'
        >>> Target(size=(224, 224), resize="shorter", shorter_side=256, interpolation="bicubic").describe()
        'resized to a shorter side of 256 pixels (bicubic), center cropped to 224 x 224 pixels (height x width)'
        """
        sizes = f"{self.size[0]} x {self.size[1]} pixels (height x width)"
        how = [*([self.interpolation] if self.interpolation != "bilinear" or self.resize == "shorter" else []),
               *([] if self.antialias else ["no antialias"])]
        method = f" ({', '.join(how)})" if how else ""
        if self.resize == "shorter":
            return f"resized to a shorter side of {self.side} pixels{method}, center cropped to {sizes}"
        if self.resize == "stretch":
            return f"stretched to {sizes}{method}"
        return f"resized to fit {sizes}{method} and padded with {self.background}"


def _scale(image: Image.Image, size: Size, how: Preparation) -> np.ndarray:
    """Return an image of mode L or RGB, scaled to (height, width) `size`, as uint8 (C, height, width)."""
    if how.antialias or how.interpolation == "nearest":
        pixels = np.asarray(image.resize((size[1], size[0]), Image.Resampling[how.interpolation.upper()]))
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    pixels = torch.from_numpy(np.array(image))
    pixels = (pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1))[None].float()
    scaled = nn.functional.interpolate(pixels, size, mode=how.interpolation, align_corners=False)
    return scaled[0].round().clamp(0, 255).to(torch.uint8).numpy()


def usual_size(sizes: Sequence[Size]) -> Size:
    """Return the size of one of the images, to which the others are resized.

    This is the most common size if at least half of the images have it, else the one that is closest to the median
    area and the median aspect ratio. Of equally good sizes it is the smallest.

    >>> usual_size([(77, 154), (30, 30), (40, 40), (41, 41), (90, 90)])
    (41, 41)
    """
    counts = Counter(sizes)
    common = min(counts, key=lambda size: (-counts[size], _area(size), size))
    if 2 * counts[common] >= len(sizes):
        return common
    area, ratio = (statistics.median_low(map(measure, sizes)) for measure in (_area, _ratio))
    return min(counts, key=lambda size: (abs(log(_area(size) / area)) + abs(log(_ratio(size) / ratio)), _area(size),
                                         size))


def _area(size: Size) -> int:
    return size[0] * size[1]


def _ratio(size: Size) -> float:
    return size[0] / size[1]


def differ_much(sizes: Sequence[Size], size: Size) -> bool:
    """Return True if an image differs much from `size`, see `MUCH` and `RATIO`.

    >>> differ_much([(30, 30), (40, 40)], (30, 30)), differ_much([(30, 30), (30, 60)], (30, 30))
    (False, True)
    """
    return any(max(_area(one) / _area(size), _area(size) / _area(one)) > MUCH**2
               or max(_ratio(one) / _ratio(size), _ratio(size) / _ratio(one)) > RATIO for one in set(sizes))
