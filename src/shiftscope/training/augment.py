"""Augmentation of training images: random mirroring, random erasing, and a small canvas for the first epochs.

Each is a pure function of (seed, epoch, image index), as placements are. Device, batch size and interruptions do not
matter.
"""

from dataclasses import replace

import torch

from shiftscope import hashing
from shiftscope.hashing import Stream
from shiftscope.placement import Placement

AREA = (0.02, 0.33)
"""Smallest and largest erased fraction of the image; with `ASPECT` the values of Zhong et al."""

ASPECT = (0.3, 1 / 0.3)
"""Height over width of the erased rectangle."""

_STEPS = 2**20  # resolution of the random fractions
_MARGIN = 4  # least difference between a small canvas and the image, in pixels


def random_mirror(images: torch.Tensor, indices: torch.Tensor, *, seed: int, epoch: int) -> torch.Tensor:
    """Flip each image horizontally with probability 0.5.

    Args:
        images: (B, C, h, w).
        indices: int64 (B,), the images' indices in the dataset.

    Example:
        >>> images = torch.arange(2).view(1, 1, 1, 2).expand(400, 1, 1, 2)
        >>> 150 < int(random_mirror(images, torch.arange(400), seed=0, epoch=0)[:, 0, 0, 0].sum()) < 250
        True
    """
    flip = hashing.draw(hashing.stream(Stream.MIRROR, seed, epoch), indices, 2).bool()
    return torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)


def random_erase(images: torch.Tensor, indices: torch.Tensor, *, fraction: float, seed: int,
                 epoch: int) -> torch.Tensor:
    """Fill a rectangle of random size and position with random pixels in a `fraction` of the images.

    Args:
        images: uint8 (B, C, h, w).
        indices: int64 (B,), the images' indices in the dataset.
        fraction: probability that an image is changed.

    References:
        Zhong et al., "Random erasing data augmentation", AAAI 2020, arXiv:1708.04896.
    """
    start = hashing.stream(Stream.ERASE, seed, epoch)
    chance, size, shape, top, left = (hashing.draw(start, indices * 8 + which, _STEPS).float() / _STEPS
                                      for which in range(5))
    h, w = images.shape[2:]
    area = (AREA[0] + (AREA[1] - AREA[0]) * size) * h * w
    aspect = ASPECT[0] * (ASPECT[1] / ASPECT[0]) ** shape
    height, width = (area * aspect).sqrt().clamp(1, h).round(), (area / aspect).sqrt().clamp(1, w).round()
    inside = _random_interval(top, height, h)[:, :, None] & _random_interval(left, width, w)[:, None]  # (B, h, w)
    inside &= (chance < fraction)[:, None, None]
    pixels = images[0].numel()
    counters = (indices[:, None] * pixels + torch.arange(pixels, device=indices.device)).view(images.shape)
    noise = hashing.draw(hashing.stream(Stream.ERASE, seed, epoch, 1), counters, 256)
    return torch.where(inside[:, None], noise.to(images.dtype), images)


def _random_interval(position: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    """Return bool (B, size): True inside an interval of `length`, placed by `position` in [0, 1)."""
    begin = (position * (size - length + 1)).floor()[:, None]
    rows = torch.arange(size, device=position.device)
    return (rows >= begin) & (rows < begin + length[:, None])


def small_placement(placement: Placement) -> Placement:
    """Return the centered placement on a canvas slightly larger than the image, with sides in multiples of 8.

    If the given canvas is not larger than that, or does not show the whole image, return `placement`.

    >>> small_placement(Placement(image=(28, 28), canvas=(56, 56))).canvas
    (32, 32)
    """
    canvas = tuple(-(-(size + _MARGIN) // 8) * 8 for size in placement.image)
    fits = all(small <= large for small, large in zip(canvas, placement.canvas, strict=True))
    if not placement.geometry.keeps_pixels or not isinstance(placement.background, int) or not fits:
        return placement
    return replace(placement, mode="canvas", canvas=(canvas[0], canvas[1]), max_shift=0, step=1)
