"""Initial images of a synthesis, and images from the caller."""

import zlib
from typing import Any

import numpy as np
import torch

from shiftscope.data import ImageSet
from shiftscope.errors import UsageError, require, unknown
from shiftscope.hashing import stream
from shiftscope.placement import Placement
from shiftscope.visualization.layer_outputs import as_pixels

STARTS = ("zero", "black", "random", "mean")

_MEAN_IMAGES = 10_000  # more would change the mean image by less than a gray level


def initial_images(start: Any, shape: tuple[int, int, int], names: list[str], *, seed: int,
                   images: ImageSet | None = None, placement: Placement | None = None,
                   dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return the initial images of a synthesis, (B, C, H, W) in [0, 1], on the CPU.

    Args:
        start: see `visualize`.
        shape: (C, H, W) of the result.
        names: of the B units; the noise for a name does not depend on the other names.
        images: for "mean" and indices.
        placement: places `images` in the middle of the canvas.

    Raises:
        UsageError: if `start` is unknown, has the wrong size or values outside [0, 1], or needs `images`.
    """
    if isinstance(start, str) and start == "random":
        return torch.stack([torch.sigmoid(0.5 * seeded_noise(name, shape, seed, dtype)) for name in names])
    image = _initial_image(start, shape, images, placement)
    return image.to(dtype).expand(len(names), *shape).clone()


def seeded_noise(name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return standard normal noise that depends on the seed and a name only."""
    generator = torch.Generator().manual_seed(stream(seed, zlib.crc32(name.encode())) & (2**63 - 1))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _initial_image(start: Any, shape: tuple[int, int, int], images: ImageSet | None,
                   placement: Placement | None) -> torch.Tensor:
    if isinstance(start, str) and start not in STARTS:
        raise unknown("start", start, [*STARTS, "an image", "the index of an image"])
    if isinstance(start, str) and start in ("zero", "black"):
        return torch.full(shape, 0.5 if start == "zero" else 0.0, dtype=torch.float64)
    if not isinstance(start, str | int):
        return to_images(start, shape, "the start image")[0]
    if images is None:
        raise UsageError(f"the start {start!r} needs images: pass images=, an image set")
    if isinstance(start, str):
        return _mean_image(images, shape, placement)
    require(0 <= start < len(images), "start", start, f"the index of an image, from 0 to {len(images) - 1}")
    return on_canvas(images, torch.tensor([start]), shape, placement)[0]


def _mean_image(images: ImageSet, shape: tuple[int, int, int], placement: Placement | None) -> torch.Tensor:
    count, total = min(len(images), _MEAN_IMAGES), torch.zeros(shape, dtype=torch.float64)
    for chunk in torch.arange(count).split(500):
        total += on_canvas(images, chunk, shape, placement).sum(0)
    return total / count


def on_canvas(images: ImageSet, indices: torch.Tensor, shape: tuple[int, int, int],
              placement: Placement | None = None) -> torch.Tensor:
    """Return images in the middle of their canvas as float64 pixels (B, C, H, W)."""
    channels, height, width = images.shape
    if channels != shape[0]:
        raise UsageError(f"the images have {channels} channels, the model takes {shape[0]}: pass images with "
                         f"{shape[0]} channels")
    placement = placement or Placement(image=(height, width), canvas=shape[1:])
    chosen = images.gather(indices)
    return placement.place(chosen, placement.centered(len(chosen), chosen.device)).cpu().double() / 255


def to_images(values: Any, shape: tuple[int, int, int], name: str) -> torch.Tensor:
    """Return images (C, H, W), (N, C, H, W), or (H, W) if C = 1, as float64 pixels (N, C, H, W).

    They are uint8 or floats in [0, 1] and must have the shape (C, H, W); `name` is for error messages.
    """
    images = torch.as_tensor(np.asarray(values) if not isinstance(values, torch.Tensor) else values).detach().cpu()
    size = tuple(images.shape)
    images = images.double() / (255 if images.dtype == torch.uint8 else 1)
    if size == shape[1:] and shape[0] == 1:
        images = images[None]
    images = images[None] if images.ndim == 3 else images
    if tuple(images.shape[1:]) != shape or len(images) == 0:
        raise UsageError(f"{name} has shape {size}, the model takes {shape} (channels, height, width): resize it")
    return as_pixels(images, name)
