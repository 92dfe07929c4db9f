"""Drawing tools for the synthetic garments: random numbers, anti-aliased shapes, cloth, and images painted in layers.

Coordinates are pixels, x to the right, y down, both from 0 to 28. A mask is the fraction of each pixel that a shape
covers, float32 (B, 28, 28). Scalars of a shape are arrays (B,), one number per image.
"""

import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

from shiftscope import hashing

SIZE = 28
"""Height and width of every image, pixels."""

SUBROWS = 4
"""Scan lines per pixel row: coverage is exact along x and has this many steps along y."""

Array = np.ndarray

_STEPS = 2**20  # of a random number
_CENTERS = (np.arange(SIZE, dtype=np.float32) + 0.5)
X, Y = _CENTERS[None, None, :], _CENTERS[None, :, None]
"""Pixel centers, shapes (1, 1, 28) and (1, 28, 1)."""


# ---------------------------------------------------------------------- random numbers

@lru_cache(maxsize=4096)
def _stream(start: int, name: str) -> int:
    return hashing.stream(start, zlib.crc32(name.encode()))


class Random:
    """Named random numbers for the images at `indices` (int64 (B,)), a function of (stream, image index, name).

    An image therefore does not depend on the number of images or on its batch.
    """

    def __init__(self, start: int, indices: torch.Tensor):
        self.start, self.indices = start, indices

    def __len__(self) -> int:
        return len(self.indices)

    def uniform(self, name: str, low: float | Array = 0.0, high: float | Array = 1.0) -> Array:
        """Return one number per image, uniform from `low` to `high`, float32 (B,)."""
        numbers = hashing.draw(_stream(self.start, name), self.indices, _STEPS).numpy()
        return (low + (numbers.astype(np.float32) / _STEPS) * (high - low)).astype(np.float32)

    def chance(self, name: str, probability: float) -> Array:
        """Return True with the given probability, bool (B,)."""
        return self.uniform(name) < probability

    def noise(self, name: str) -> Array:
        """Return independent noise per pixel, uniform from -1 to 1, float32 (B, 28, 28)."""
        cells = self.indices[:, None] * (SIZE**2 // 2) + torch.arange(SIZE**2 // 2)
        numbers = hashing.draw(_stream(self.start, name), cells, 4096**2).numpy()  # each holds two pixels
        pixels = np.concatenate((numbers % 4096, numbers // 4096), axis=1)
        return (pixels.astype(np.float32) / 2047.5 - 1).reshape(-1, SIZE, SIZE)


# ---------------------------------------------------------------------- shapes

def per_image(values: Array) -> Array:
    """Return (B,) as float32 (B, 1, 1), which broadcasts with a mask."""
    return np.asarray(values, dtype=np.float32)[:, None, None]


def points(*corners: tuple[Array | float, Array | float]) -> Array:
    """Return corners, each a pair of (B,) arrays or numbers, as (B, V, 2)."""
    flat = np.broadcast_arrays(*(value for corner in corners for value in corner))
    return np.stack(flat, axis=1).astype(np.float32).reshape(len(flat[0]), -1, 2)


def rounded(outline: Array) -> Array:
    """Return a closed outline (B, V, 2) after one step of corner cutting (Chaikin 1974): (B, 2V, 2)."""
    following = np.roll(outline, -1, axis=1)
    near, far = 0.75 * outline + 0.25 * following, 0.25 * outline + 0.75 * following
    return np.stack((near, far), axis=2).reshape(len(outline), -1, 2)


def polygon(outline: Array) -> Array:
    """Return the mask of a closed outline (B, V, 2) without self-intersections, convex or not.

    Each edge adds a signed step where it crosses a scan line; the cumulative sum along x is the coverage.
    """
    count, rows = len(outline), SIZE * SUBROWS
    x0, y0 = outline[..., 0], outline[..., 1]
    x1, y1 = np.roll(x0, -1, axis=1), np.roll(y0, -1, axis=1)
    lines = (np.arange(rows, dtype=np.float32) + 0.5) / SUBROWS
    above0, above1 = lines < y0[..., None], lines < y1[..., None]  # (B, V, rows)
    image, edge, row = np.nonzero(above0 != above1)
    along = (lines[row] - y0[image, edge]) / (y1 - y0)[image, edge]
    x = np.clip(x0[image, edge] + along * (x1 - x0)[image, edge], 0, SIZE)
    sign = np.where(above0[image, edge, row], 1.0, -1.0)
    column = x.astype(np.int64)
    part = x - column
    cell = (image * SIZE + row // SUBROWS) * (SIZE + 2) + column
    total = count * SIZE * (SIZE + 2)
    steps = np.bincount(cell, sign * (1 - part), total) + np.bincount(cell + 1, sign * part, total)
    inside = np.cumsum(steps.reshape(count, SIZE, SIZE + 2)[..., :SIZE], axis=2, dtype=np.float32)
    return np.minimum(np.abs(inside) / SUBROWS, 1)


def stroke(path: Array, width: Array) -> Array:
    """Return the mask of an open path (B, V, 2) drawn with a round pen of `width` pixels."""
    nearest = np.full((len(path), SIZE, SIZE), np.inf, dtype=np.float32)
    for k in range(path.shape[1] - 1):
        (ax, ay), (bx, by) = (path[:, i, :, None, None].swapaxes(0, 1) for i in (k, k + 1))
        dx, dy = bx - ax, by - ay
        along = ((X - ax) * dx + (Y - ay) * dy) / np.maximum(dx * dx + dy * dy, 1e-6)
        along = np.clip(along, 0, 1)
        np.minimum(nearest, (X - ax - along * dx) ** 2 + (Y - ay - along * dy) ** 2, out=nearest)
    half = per_image(width) / 2
    return np.clip(half + 0.5 - np.sqrt(nearest), 0, 1) * np.minimum(per_image(width), 1)


def ellipse(x: Array, y: Array, across: Array, down: Array) -> Array:
    """Return the mask of ellipses around (x, y) with half-axes `across` and `down`."""
    across, down = np.maximum(per_image(across), 0.1), np.maximum(per_image(down), 0.1)
    radius = np.sqrt(((X - per_image(x)) / across) ** 2 + ((Y - per_image(y)) / down) ** 2)
    return np.clip(0.5 - (radius - 1) * np.minimum(across, down), 0, 1)


def box(left: Array, right: Array, top: Array, bottom: Array) -> Array:
    """Return the mask of axis-aligned boxes; coverage is exact."""
    def cover(low: Array, high: Array, centers: Array) -> Array:
        low, high = per_image(low), per_image(high)
        return np.clip(np.minimum(centers + 0.5, high) - np.maximum(centers - 0.5, low), 0, 1)
    return cover(left, right, X) * cover(top, bottom, Y)


# ---------------------------------------------------------------------- images

class Drawing:
    """Gray images (B, 28, 28) on black, painted in layers."""

    def __init__(self, count: int):
        self.value = np.zeros((count, SIZE, SIZE), dtype=np.float32)
        self.cover = np.zeros_like(self.value)

    def paint(self, mask: Array, gray: Array) -> None:
        """Paint gray levels from 0 to 255, (B,) or (B, 28, 28), over the area of `mask`."""
        gray = per_image(gray) if gray.ndim == 1 else gray
        self.value += mask * (gray - self.value)
        np.maximum(self.cover, mask, out=self.cover)

    def shade(self, mask: Array, factor: Array) -> None:
        """Multiply the area of `mask` by `factor`, (B,)."""
        self.value *= 1 + mask * (per_image(factor) - 1)

    def erase(self, mask: Array) -> None:
        """Make the area of `mask` background again."""
        self.value *= 1 - mask
        self.cover *= 1 - mask

    def finish(self, random: Random) -> Array:
        """Return uint8 (B, 28, 28) with noise on the garment, none on the background."""
        noise = random.noise("grain") * per_image(random.uniform("grain strength", 3, 11)) * self.cover
        return np.clip(np.rint(self.value + noise), 0, 255).astype(np.uint8)


Painter = Callable[[Random], Drawing]
"""Draws the images of one class."""


# ---------------------------------------------------------------------- cloth

def gray_level(random: Random, dark: float = 0.25) -> Array:
    """Return gray levels of cloth, (B,): light ones, and dark ones with probability `dark`."""
    light = random.uniform("tone light", 130, 240)
    return np.where(random.chance("tone dark?", dark), random.uniform("tone dark", 65, 125), light)


def texture(random: Random, gray: Array, *, stripes: float = 0.1, checks: float = 0.03, spots: float = 0.1) -> Array:
    """Return cloth of mean level `gray` (B,) with a pattern, folds and lighting, (B, 28, 28).

    Args:
        stripes: probability of horizontal or vertical stripes.
        checks: probability of checks.
        spots: probability of spots.
    """
    pick = random.uniform("pattern")
    checked, striped = pick < checks, (pick >= checks) & (pick < checks + stripes)
    spotted = (pick >= checks + stripes) & (pick < checks + stripes + spots)
    upright = random.chance("stripes upright", 0.3)
    strength = random.uniform("pattern strength", 0.15, 0.6)
    across = np.where(checked | (striped & ~upright), strength, 0)
    along = np.where(checked | (striped & upright), strength, 0)
    field = 1 + per_image(across) * _waves(random, "across", Y) + per_image(along) * _waves(random, "along", X)
    field += per_image(np.where(spotted, 2.2 * strength, 0.06)) * _spots(random)
    return per_image(gray) * field * _lighting(random)


def _waves(random: Random, name: str, coordinate: Array) -> Array:
    """Return soft-edged stripes between -1 and 1."""
    turns = per_image(2 * np.pi / random.uniform(f"{name} period", 2.6, 8))
    phase = per_image(random.uniform(f"{name} phase", 0, 2 * np.pi))
    return np.clip(2 * np.sin(coordinate * turns + phase), -1, 1)


def _spots(random: Random) -> Array:
    """Return noise with spots about three pixels wide, std about 0.3."""
    noise = random.noise("blotches")
    for axis in (1, 2):
        noise = noise + np.roll(noise, 1, axis) + np.roll(noise, -1, axis)
    return noise * 0.17


def _lighting(random: Random) -> Array:
    """Return folds and light from one side: factors around 1."""
    fall = per_image(random.uniform("light x", -0.012, 0.012)) * (X - 14)
    fall = fall + per_image(random.uniform("light y", -0.008, 0.008)) * (Y - 14)
    wave = X * per_image(random.uniform("fold x", 0.2, 1.1)) + Y * per_image(random.uniform("fold y", -0.5, 0.5))
    folds = per_image(random.uniform("folds", 0, 0.1)) * np.sin(wave + per_image(random.uniform("fold phase", 0, 6.3)))
    return 1 + fall + folds
