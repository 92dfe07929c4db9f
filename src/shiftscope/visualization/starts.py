"""What pictures begin with: pixels of every picture before the first step."""

import zlib
from typing import Any

import numpy as np
import torch

from shiftscope.data import ImageSet
from shiftscope.errors import UsageError, require, unknown
from shiftscope.hashing import stream
from shiftscope.placement import Placement

STARTS = ("zero", "black", "random", "mean")

_MEAN_IMAGES = 10_000  # more would change the mean image by less than a gray level


def start_name(start: Any) -> str:
    """Return "zero", "black", "random", "mean" or "image".

    >>> start_name("black"), start_name(7)
    ('black', 'image')
    """
    return start if isinstance(start, str) else "image"


def start_pixels(start: Any, shape: tuple[int, int, int], names: list[str], *, seed: int,
                 images: ImageSet | None = None, placement: Placement | None = None,
                 dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return what an ascent begins with, on the CPU.

    Args:
        start: "zero" (mid-gray everywhere), "black", "random" (noise around mid-gray, another one for each name),
            "mean" (of the images), the number of one of the images, or one picture (C, H, W), for C = 1 also (H, W):
            uint8, or floats in [0, 1].
        shape: (C, H, W) of the pictures.
        names: of the pictures, B of them; a name's noise does not depend on the others.
        images: for "mean" and numbers.
        placement: lays the images in the middle of the canvas.

    Returns:
        (B, C, H, W), in [0, 1].

    Raises:
        UsageError: an unknown word, a picture of another size, values that are not finite or outside [0, 1]; no images
            where they are needed.

    Example:
        >>> start_pixels("zero", (1, 2, 2), ["a", "b"], seed=0).unique()
        tensor([0.5000])
    """
    if isinstance(start, str) and start == "random":
        return torch.stack([torch.sigmoid(0.5 * noise_of(name, shape, seed, dtype)) for name in names])
    picture = _one_picture(start, shape, images, placement, dtype)
    return picture.expand(len(names), *shape).clone()


def noise_of(name: str, shape: tuple[int, ...], seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return standard normal noise that depends on the seed and a name alone."""
    draw = torch.Generator().manual_seed(stream(seed, zlib.crc32(name.encode())) & (2**63 - 1))
    return torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype)


def _one_picture(start: Any, shape: tuple[int, int, int], images: ImageSet | None, placement: Placement | None,
                 dtype: torch.dtype) -> torch.Tensor:
    if isinstance(start, str) and start not in STARTS:
        raise unknown("start", start, [*STARTS, "a picture", "the number of an image"])
    if isinstance(start, str) and start in ("zero", "black"):
        return torch.full(shape, 0.5 if start == "zero" else 0.0, dtype=dtype)
    if not isinstance(start, str) and not isinstance(start, int):
        return pictures_of(start, shape, "the start picture").to(dtype)[0]
    if images is None:
        raise UsageError(f"the start {start!r} is made of images: pass images=, a set of them")
    if isinstance(start, str):
        return mean_picture(images, shape, placement).to(dtype)
    require(0 <= start < len(images), "start", start, f"the number of an image, from 0 to {len(images) - 1}")
    return on_canvas(images, torch.tensor([start]), shape, placement)[0].to(dtype)


def on_canvas(images: ImageSet, indices: torch.Tensor, shape: tuple[int, int, int],
              placement: Placement | None = None) -> torch.Tensor:
    """Return images as float64 pixels (B, C, H, W), in the middle of the canvas that a model takes.

    Raises:
        UsageError: images of another number of channels, or larger than the canvas.
    """
    channels, height, width = images.shape
    if channels != shape[0]:
        raise UsageError(f"the images have {channels} channels, the model takes {shape[0]}: give images of its kind")
    placement = placement or Placement(image=(height, width), canvas=shape[1:])
    chosen = images.gather(indices)
    return placement.place(chosen, placement.centered(len(chosen), chosen.device)).cpu().double() / 255


def mean_picture(images: ImageSet, shape: tuple[int, int, int], placement: Placement | None = None) -> torch.Tensor:
    """Return the mean of the images, each in the middle of its canvas, float64 (C, H, W)."""
    count, total = min(len(images), _MEAN_IMAGES), torch.zeros(shape, dtype=torch.float64)
    for chunk in torch.arange(count).split(500):
        total += on_canvas(images, chunk, shape, placement).sum(0)
    return total / count


def pictures_of(given: Any, shape: tuple[int, int, int], what: str) -> torch.Tensor:
    """Return one or several pictures of the caller as float64 pixels (N, C, H, W).

    Args:
        given: (C, H, W), (N, C, H, W), for C = 1 also (H, W); uint8, or floats in [0, 1].
        what: what messages call it.

    Raises:
        UsageError: another size; values that are not finite or outside [0, 1].
    """
    pictures = torch.as_tensor(np.asarray(given) if not isinstance(given, torch.Tensor) else given).detach().cpu()
    size = tuple(pictures.shape)
    pictures = pictures.double() / (255 if pictures.dtype == torch.uint8 else 1)
    if size == shape[1:] and shape[0] == 1:
        pictures = pictures[None]
    if pictures.ndim == 3:
        pictures = pictures[None]
    if tuple(pictures.shape[1:]) != shape or len(pictures) == 0:
        raise UsageError(f"{what} has shape {size}, the model takes {shape} (channels, height, width): resize it first")
    inside = bool(((pictures >= 0) & (pictures <= 1)).all())  # NaN is not inside either
    require(inside, what, f"{pictures.min():g} to {pictures.max():g}", "pixels from 0 to 1, or uint8")
    return pictures
