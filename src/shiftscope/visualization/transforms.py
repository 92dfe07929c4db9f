"""Random transforms of images before each forward pass, which make activation maximization robust.

A transform is a function of pixels (B, C, H, W) and an integer key that determines its random choices, independent of
the device and the batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from shiftscope.hashing import draw, stream

_MAX_DISTANCE = 6  # stds: weights beyond are below 1e-8, and denormal numbers further out are 20 times slower

Transform = Callable[[torch.Tensor, int], torch.Tensor]
"""(pixels (B, C, H, W), key) -> pixels of the same shape, differentiable."""


def view_key(seed: int, step: int, view: int = 0) -> int:
    """Return the key of a view of a step."""
    return stream(seed, step, view) if view else stream(seed, step)


def compose(transforms: Sequence[Transform]) -> Transform:
    """Return the composition of transforms, each with its own key."""
    def apply(pixels: torch.Tensor, key: int) -> torch.Tensor:
        for number, transform in enumerate(transforms):
            pixels = transform(pixels, stream(key, number) if number else key)
        return pixels

    return apply


@dataclass(frozen=True)
class Jitter:
    """Shifts images by up to `max_shift` pixels along each axis."""

    max_shift: int
    ground: torch.Tensor | float | None = None  # fills empty pixels, broadcastable to (B, C, H, W); None: roll

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        shift = random_shift(key, self.max_shift)
        if self.ground is None:
            return torch.roll(pixels, shift, dims=(2, 3))
        return translate(pixels, shift, self.ground)


@dataclass(frozen=True)
class Blur:
    """Applies a Gaussian blur of 0 to `max_sigma` pixels."""

    max_sigma: float

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        return blur(pixels, self.max_sigma * _random_fraction(key))


@dataclass(frozen=True)
class Scale:
    """Scales images about their middle by a factor from 1 - `max_change` to 1 + `max_change`."""

    max_change: float

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        return scale(pixels, 1 + self.max_change * (2 * _random_fraction(key) - 1))


@dataclass(frozen=True)
class Noise:
    """Adds the same normal noise to all images."""

    std: float

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(key & (2**63 - 1))
        noise = torch.randn(pixels.shape[1:], generator=generator, dtype=torch.float64)
        return pixels + self.std * noise.to(pixels)


def random_shift(key: int, max_shift: int) -> tuple[int, int]:
    """Return a shift (dy, dx), each from -max_shift to max_shift."""
    dy, dx = draw(key, torch.arange(2), 2 * max_shift + 1).tolist()
    return dy - max_shift, dx - max_shift


def _random_fraction(key: int) -> float:
    return int(draw(key, torch.tensor([2]), 2**20 + 1)) / 2**20


def translate(pixels: torch.Tensor, shift: tuple[int, int], ground: torch.Tensor | float) -> torch.Tensor:
    """Return images (B, C, H, W) shifted by (dy, dx); empty pixels are filled with `ground`."""
    rows, columns = (torch.arange(size) - by for size, by in zip(pixels.shape[2:], shift, strict=True))
    inside = ((rows >= 0) & (rows < len(rows)))[:, None] & (columns >= 0) & (columns < len(columns))
    return torch.where(inside.to(pixels.device), torch.roll(pixels, shift, (2, 3)), torch.as_tensor(ground).to(pixels))


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return images (B, C, H, W) after a Gaussian blur; at the edges the weights are renormalized."""
    if sigma == 0:
        return images
    rows, columns = (_gaussian(size, sigma, images) for size in images.shape[2:])
    return _separable(rows, columns, images)


def _separable(rows: torch.Tensor, columns: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return rows @ image @ columns^T for images (B, C, H, W), as two large matrix products."""
    across = (images.flatten(0, 2) @ columns.T).unflatten(0, images.shape[:3])  # (B, C, H, W')
    turned = across.transpose(2, 3)
    return (turned.flatten(0, 2) @ rows.T).unflatten(0, turned.shape[:3]).transpose(2, 3).contiguous()


def _gaussian(size: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """Weights (size, size): row i is a Gaussian around i. For these sizes a matrix product beats a convolution."""
    positions = torch.arange(size, device=like.device, dtype=like.dtype)
    distance = (positions[:, None] - positions).abs() / sigma
    return torch.softmax((-0.5 * distance**2).masked_fill(distance > _MAX_DISTANCE, -torch.inf), dim=1)


def scale(images: torch.Tensor, factor: float) -> torch.Tensor:
    """Return images (B, C, H, W) scaled about their middle with bilinear interpolation; edge pixels are repeated."""
    rows, columns = (_resampling(size, factor, images) for size in images.shape[2:])
    return _separable(rows, columns, images)


def _resampling(size: int, factor: float, like: torch.Tensor) -> torch.Tensor:
    """Interpolation weights (size, size); unlike `interpolate`, matrix products are deterministic on GPUs."""
    positions = torch.arange(size, device=like.device, dtype=like.dtype)
    source = (((positions - (size - 1) / 2) / factor) + (size - 1) / 2).clamp(0, size - 1)
    return (1 - (source[:, None] - positions).abs()).clamp_min(0)
