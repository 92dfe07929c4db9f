"""What happens to a picture on its way to the model, so that what excites a unit does so robustly."""

import torch

from shiftscope.hashing import draw, stream


def shift_of(step: int, most: int, seed: int) -> tuple[int, int]:
    """Return the jitter of a step: (dy, dx), each from -most to most, the same on any device and for any batch.

    >>> shift_of(3, 0, seed=1)
    (0, 0)
    """
    dy, dx = draw(stream(seed, step), torch.arange(2), 2 * most + 1).tolist()
    return dy - most, dx - most


def jitter(pixels: torch.Tensor, shift: tuple[int, int]) -> torch.Tensor:
    """Return pictures (B, C, H, W) rolled down and to the right by `shift`; what leaves enters on the other side."""
    return pixels if shift == (0, 0) else torch.roll(pixels, shift, dims=(2, 3))


def blur(pictures: torch.Tensor, sigma: float) -> torch.Tensor:
    """Return pictures (B, C, H, W) smoothed by a Gaussian of `sigma` pixels; at the edges it is cut off and sums to 1.

    >>> blur(torch.ones(1, 1, 5, 4), 1.0).allclose(torch.ones(1, 1, 5, 4))
    True
    """
    if sigma == 0:
        return pictures
    rows, columns = (_gaussian(size, sigma, pictures) for size in pictures.shape[2:])
    return rows @ pictures @ columns.T


def _gaussian(size: int, sigma: float, like: torch.Tensor) -> torch.Tensor:
    """Weights (size, size): row i is a Gaussian about i. For sizes of pictures a matrix product beats a convolution."""
    places = torch.arange(size, device=like.device, dtype=like.dtype)
    return torch.softmax(-0.5 * ((places[:, None] - places) / sigma) ** 2, dim=1)


def variation_gradient(pictures: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the total variation: how far each pixel stands out from its four neighbours, -4 to 4.

    The total variation here is the sum of sqrt(d^2 + e^2) - e over the differences d of neighbouring pixels, e = 0.05
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
