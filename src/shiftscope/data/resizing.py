"""Images of different sizes as images of one size: the size, how they are resized, and notes about it."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import numpy as np
from PIL import Image

from shiftscope.errors import require
from shiftscope.geometry import check_size
from shiftscope.settings import Resize

Size = tuple[int, int]
"""(height, width) in pixels."""

MUCH, RATIO = 2.0, 1.5
"""Sizes differ much if an image is scaled by more than `MUCH`, or its aspect ratio differs by more than `RATIO`."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The size of all images of a dataset, and how images of other sizes are resized.

    Args:
        size: (height, width) in pixels.
        resize: "pad": scaled to fit with the aspect ratio kept, centered, and padded; "stretch": each side scaled.
        background: pixel value of the padding, 0 to 255.

    Raises:
        UsageError: if the size has no pixels or too many, or another value is unknown.

    Example:
        >>> Target(size=(4, 6)).fit(np.full((1, 2, 2), 9, dtype=np.uint8))[0, 0].tolist()
        [0, 9, 9, 9, 9, 0]
    """

    size: Size
    resize: Resize = "pad"
    background: int = 0

    def __post_init__(self) -> None:
        check_size("image_size", self.size)
        require(self.resize in ("pad", "stretch"), "resize", self.resize, "pad or stretch")

    def scaled(self, size: Size) -> Size:
        """Return the size to which an image of (height, width) `size` is scaled, without padding.

        >>> Target(size=(28, 28)).scaled((100, 50)), Target(size=(28, 28)).scaled((1000, 1))
        ((28, 14), (28, 1))
        """
        if self.resize == "stretch":
            return self.size
        factor = min(whole / side for whole, side in zip(self.size, size, strict=True))
        height, width = (min(whole, max(1, round(side * factor)))
                         for whole, side in zip(self.size, size, strict=True))
        return height, width

    def fit(self, pixels: np.ndarray) -> np.ndarray:
        """Return an image, uint8 (C, h, w) with C = 1 or 3, resized to `size` (bilinear, antialiased)."""
        if pixels.shape[1:] == tuple(self.size):
            return pixels
        height, width = self.scaled((pixels.shape[1], pixels.shape[2]))
        image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        scaled = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        fitted = np.full((len(pixels), *self.size), self.background, dtype=np.uint8)
        top, left = (self.size[0] - height) // 2, (self.size[1] - width) // 2
        fitted[:, top:top + height, left:left + width] = scaled[None] if scaled.ndim == 2 else scaled.transpose(2, 0, 1)
        return fitted

    def describe(self) -> str:
        """Return a phrase about the resizing of images of other sizes.

        >>> Target(size=(28, 20)).describe()
        'resized to fit 28 x 20 pixels (height x width) and padded with 0'
        """
        sizes = f"{self.size[0]} x {self.size[1]} pixels (height x width)"
        if self.resize == "stretch":
            return f"stretched to {sizes}"
        return f"resized to fit {sizes} and padded with {self.background}"


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
