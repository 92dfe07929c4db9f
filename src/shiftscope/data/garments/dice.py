"""Named random numbers, a pure function of (seed, split, image index, name).

An image therefore stays the same however many are asked for, in whatever batches they are drawn.
"""

import zlib
from functools import lru_cache

import numpy as np
import torch

from shiftscope import hashing
from shiftscope.data.garments.raster import SIZE, Array

_STEPS = 2**20  # finer than any gray level or pixel position needs


@lru_cache(maxsize=4096)
def _stream(start: int, name: str) -> int:
    return hashing.stream(start, zlib.crc32(name.encode()))


class Dice:
    """Random numbers for the images at `indices` (int64, (B,)) of the stream `start`."""

    def __init__(self, start: int, indices: torch.Tensor):
        self.start, self.indices = start, indices

    def __len__(self) -> int:
        return len(self.indices)

    def between(self, name: str, low: float | Array = 0.0, high: float | Array = 1.0) -> Array:
        """Return one uniform number an image from `low` to `high`, float32 (B,)."""
        synthetic = hashing.draw(_stream(self.start, name), self.indices, _STEPS).numpy()
        return (low + (synthetic.astype(np.float32) / _STEPS) * (high - low)).astype(np.float32)

    def chance(self, name: str, share: float) -> Array:
        """Return True for about `share` of the images, bool (B,)."""
        return self.between(name) < share

    def grain(self, name: str) -> Array:
        """Return independent noise a pixel, uniform from -1 to 1, float32 (B, 28, 28)."""
        cells = self.indices[:, None] * (SIZE**2 // 2) + torch.arange(SIZE**2 // 2)
        synthetic = hashing.draw(_stream(self.start, name), cells, 4096**2).numpy()  # two pixels a number
        pair = np.concatenate((synthetic % 4096, synthetic // 4096), axis=1)
        return (pair.astype(np.float32) / 2047.5 - 1).reshape(-1, SIZE, SIZE)
