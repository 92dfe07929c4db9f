"""What happens to a picture on its way to the model, so that what excites a unit does so robustly.

A transform is any function of pixels (B, C, H, W) and a key, which says how it falls out this time: the same on any
device and for any batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from shiftscope.errors import require
from shiftscope.hashing import draw, stream

_FAR = 6  # stds: weights from here on are below 1e-8; still further out they are denormal, 20 times slower

Transform = Callable[[torch.Tensor, int], torch.Tensor]
"""(pixels (B, C, H, W), key) -> pixels of the same shape; gradients flow through it."""


def key_of(seed: int, step: int, view: int = 0) -> int:
    """Return the key of a view of a step."""
    return stream(seed, step, view) if view else stream(seed, step)


def in_order(transforms: Sequence[Transform]) -> Transform:
    """Return the transform that applies others one after the other, each with a key of its own.

    >>> twice = in_order([Noise(0.1), Noise(0.1)])
    >>> twice(torch.zeros(1, 1, 2, 2), 5).unique().numel()
    4
    """
    def apply(pixels: torch.Tensor, key: int) -> torch.Tensor:
        for number, transform in enumerate(transforms):
            pixels = transform(pixels, stream(key, number) if number else key)
        return pixels

    return apply


@dataclass(frozen=True)
class Jitter:
    """Moves pictures by up to `most` pixels down or up and to either side."""

    most: int
    ground: torch.Tensor | float | None = None
    """What moves in: pixels that go with (B, C, H, W). None: what leaves at the other side."""

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        shift = shift_of(key, self.most)
        return jitter(pixels, shift) if self.ground is None else moved(pixels, shift, self.ground)


@dataclass(frozen=True)
class Blur:
    """Smooths pictures by a Gaussian of 0 to `most` pixels."""

    most: float

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        return blur(pixels, self.most * share_of(key))


@dataclass(frozen=True)
class Scale:
    """Makes pictures larger or smaller about their middle, by up to a share `most`; edges are drawn out."""

    most: float

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        return scaled(pixels, 1 + self.most * (2 * share_of(key) - 1))


@dataclass(frozen=True)
class Noise:
    """Adds normal noise, the same to every picture."""

    std: float

    def __call__(self, pixels: torch.Tensor, key: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(key & (2**63 - 1))
        noise = torch.randn(pixels.shape[1:], generator=generator, dtype=torch.float64)
        return pixels + self.std * noise.to(pixels)


def shift_of(key: int, most: int) -> tuple[int, int]:
    """Return a shift (dy, dx), each from -most to most.

    >>> shift_of(3, 0)
    (0, 0)
    """
    dy, dx = draw(key, torch.arange(2), 2 * most + 1).tolist()
    return dy - most, dx - most


def share_of(key: int) -> float:
    """Return a number from 0 to 1."""
    return int(draw(key, torch.tensor([2]), 2**20 + 1)) / 2**20


def jitter(pixels: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    """Return pictures (B, C, H, W) rolled down and to the right by `shift`; what leaves enters on the other side."""
    return pixels if shift == (0, 0) else torch.roll(pixels, shift, dims=(2, 3))


def moved(pixels: torch.Tensor, shift: tuple[int, int], ground: torch.Tensor | float) -> torch.Tensor:
    """Return pictures (B, C, H, W) moved down and to the right by `shift`; what leaves is lost, `ground` moves in.

    >>> moved(torch.ones(1, 1, 1, 3), (0, 2), 0.0)
    tensor([[[[0., 0., 1.]]]])
    """
    if shift == (0, 0):
        return pixels
    rolled = jitter(pixels, shift)
    inside = _arrives(shift[0], pixels.shape[2])[:, None] & _arrives(shift[1], pixels.shape[3])
    return torch.where(inside.to(pixels.device), rolled, torch.as_tensor(ground).to(pixels))


def _arrives(shift: int, size: int) -> torch.Tensor:
    """Return which places along an axis get a pixel of the picture."""
    places = torch.arange(size) - shift
    return (places >= 0) & (places < size)


def blur(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return pictures (B, C, H, W) smoothed by a Gaussian of `sigma` pixels; at the edges it is cut off and sums to 1.

    >>> blur(torch.ones(1, 1, 5, 4), 1.0).allclose(torch.ones(1, 1, 5, 4))
    True
    """
    if sigma == 0:
        return pictures
    rows, columns = (_gaussian(size, sigma, pictures) for size in pictures.shape[2:])
    return along_both(rows, columns, pictures)


def along_both(rows: torch.Tensor, columns: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
    """Return rows @ picture @ columns^T of each picture (B, C, H, W): as two products, faster than one a picture.

    >>> along_both(2 * torch.eye(2), torch.ones(1, 3), torch.ones(1, 1, 2, 3)).tolist()
    [[[[6.0], [6.0]]]]
    """
    across = (pictures.flatten(0, 2) @ columns.T).unflatten(0, pictures.shape[:3])  # (B, C, H, W')
    turned = across.transpose(2, 3)
    return (turned.flatten(0, 2) @ rows.T).unflatten(0, turned.shape[:3]).transpose(2, 3).contiguous()


def _gaussian(size: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """Weights (size, size): row i is a Gaussian about i. For sizes of pictures a matrix product beats a convolution."""
    places = torch.arange(size, device=like.device, dtype=like.dtype)
    away = (places[:, None] - places).abs() / sigma
    return torch.softmax((-0.5 * away**2).masked_fill(away > _FAR, -torch.inf), dim=1)


def scaled(pictures: torch.Tensor, factor: float) -> torch.Tensor:
    """Return pictures (B, C, H, W) enlarged by `factor` about their middle, at the same size, read bilinearly.

    >>> scaled(torch.tensor([[[[0.0, 1.0, 2.0]]]]), 0.5)
    tensor([[[[0., 1., 2.]]]])
    >>> scaled(torch.tensor([[[[0.0, 1.0, 2.0]]]]), 2.0)
    tensor([[[[0.5000, 1.0000, 1.5000]]]])
    """
    require(factor > 0, "factor", factor, "above 0")
    rows, columns = (_resampling(size, factor, pictures) for size in pictures.shape[2:])
    return along_both(rows, columns, pictures)


def _resampling(size: int, factor: float, like: torch.Tensor) -> torch.Tensor:
    """Weights (size, size): row i reads at its place in the enlarged picture; products are deterministic on GPUs."""
    places = torch.arange(size, device=like.device, dtype=like.dtype)
    source = (((places - (size - 1) / 2) / factor) + (size - 1) / 2).clamp(0, size - 1)
    return (1 - (source[:, None] - places).abs()).clamp_min(0)


def variation_gradient(pictures: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the total variation: how far each pixel stands out from its four neighbors, -4 to 4.

    The total variation here is the sum of sqrt(d^2 + e^2) - e over the differences d of neighboring pixels, e = 0.05
    of the range: smooth at 0, so that flat areas are left alone.
    """
    gradient = torch.zeros_like(pictures)
    for axis in (2, 3):
        d = pictures.diff(dim=axis)
        slope = d / (d.square() + 0.05**2).sqrt()  # -1 to 1
        size = pictures.shape[axis] - 1
        gradient.narrow(axis, 1, size).add_(slope)
        gradient.narrow(axis, 0, size).sub_(slope)
    return gradient
