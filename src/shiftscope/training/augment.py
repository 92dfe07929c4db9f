"""Training images changed a little each time they are seen: mirrored, or with a part erased.

A pure function of (seed, epoch, image index), as placements are: it depends on no device, batch size or interruption.
"""

import torch

from shiftscope import hashing
from shiftscope.hashing import Stream

AREA = (0.02, 0.33)
"""Erased share of the image, smallest and largest; with `ASPECT` the values of Zhong et al."""

ASPECT = (0.3, 1 / 0.3)
"""Height over width of the erased part."""

_STEPS = 2**20  # of the fractions drawn


def mirrored(images: torch.Tensor, indices: torch.Tensor, *, seed: int, epoch: int) -> torch.Tensor:
    """Return the images, every second one (by chance) with left and right exchanged.

    Args:
        images: (B, C, h, w).
        indices: int64 (B,), the images' numbers in the dataset.

    Example:
        >>> images = torch.arange(2).view(1, 1, 1, 2).expand(400, 1, 1, 2)
        >>> 150 < int(mirrored(images, torch.arange(400), seed=0, epoch=0)[:, 0, 0, 0].sum()) < 250
        True
    """
    turned = hashing.draw(hashing.stream(Stream.MIRROR, seed, epoch), indices, 2).bool()
    return torch.where(turned.view(-1, 1, 1, 1), images.flip(3), images)


def erased(images: torch.Tensor, indices: torch.Tensor, *, share: float, seed: int, epoch: int) -> torch.Tensor:
    """Return the images, a `share` of them with a rectangle of random size and place filled with random pixels.

    Args:
        images: uint8 (B, C, h, w).
        indices: int64 (B,), the images' numbers in the dataset.
        share: probability with which an image loses a part.

    References:
        Zhong et al., "Random erasing data augmentation", AAAI 2020, arXiv:1708.04896.
    """
    start = hashing.stream(Stream.ERASE, seed, epoch)
    chance, size, shape, down, right = (_fractions(start, indices, which) for which in range(5))
    h, w = images.shape[2:]
    area = (AREA[0] + (AREA[1] - AREA[0]) * size) * h * w
    aspect = ASPECT[0] * (ASPECT[1] / ASPECT[0]) ** shape
    tall, wide = (area * aspect).sqrt().clamp(1, h).round(), (area / aspect).sqrt().clamp(1, w).round()
    inside = _within(down, tall, h)[:, :, None] & _within(right, wide, w)[:, None]  # (B, h, w)
    inside &= (chance < share)[:, None, None]
    noise = hashing.draw(hashing.stream(Stream.ERASE, seed, epoch, 1), _pixel_counters(images, indices), 256)
    return torch.where(inside[:, None], noise.to(images.dtype), images)


def _fractions(start: int, indices: torch.Tensor, which: int) -> torch.Tensor:
    """Return a number in [0, 1) for each image, float32 (B,)."""
    return hashing.draw(start, indices * 8 + which, _STEPS).float() / _STEPS


def _within(place: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    """Return which of `size` rows lie within a stretch of `length` that begins at a random one, bool (B, size)."""
    begin = (place * (size - length + 1)).floor()[:, None]
    rows = torch.arange(size, device=place.device)
    return (rows >= begin) & (rows < begin + length[:, None])


def _pixel_counters(images: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return a number for each pixel of each image that no other one has, int64 (B, C, h, w)."""
    each = images[0].numel()
    return (indices[:, None] * each + torch.arange(each, device=indices.device)).view(images.shape)
