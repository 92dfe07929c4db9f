"""Pictures described by their frequencies: all of them weighted by 1/f, or phases alone under a measured spectrum.

Symbols: z logits of the pixels (C, H, W), F the real 2-D Fourier transform, orthonormal.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from shiftscope.data import ImageSet
from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.visualization.parametrization import to_logits
from shiftscope.visualization.starts import on_canvas

_SPECTRUM_IMAGES = 2000  # the mean magnitude of 2,000 garments lies within 1 % of that of all 60,000


def frequencies(height: int, width: int) -> torch.Tensor:
    """Return the frequencies of `rfft2`, cycles a pixel, float64 (H, W // 2 + 1).

    >>> frequencies(4, 6)[0]
    tensor([0.0000, 0.1667, 0.3333, 0.5000], dtype=torch.float64)
    """
    rows = torch.fft.fftfreq(height, dtype=torch.float64)
    columns = torch.fft.rfftfreq(width, dtype=torch.float64)
    return torch.hypot(rows[:, None], columns)


@dataclass(frozen=True)
class Fourier:
    """z = start + F^-1(theta / f): as pixels, but coarse structure moves faster than fine.

    The largest weight, that of the lowest frequency other than 0, is 1, so that a step changes the logits by at most
    as much as with `Pixels`. Parameters are real and imaginary parts, (B, C, H, W // 2 + 1, 2).

    References:
        Olah, Mordvintsev & Schubert, "Feature visualization", Distill, 2017 (preconditioning);
        Mordvintsev et al., "Differentiable image parameterizations", Distill, 2018.
    """

    size: tuple[int, int]

    def weights(self) -> torch.Tensor:
        """Return 1/f, scaled to at most 1; frequency 0 as the lowest other one."""
        f = frequencies(*self.size)
        lowest = 1 / max(self.size)
        return lowest / f.clamp_min(lowest)

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        """Return theta = f F(z)."""
        spectrum = torch.fft.rfft2(logits, norm="ortho") / self.weights().to(logits)
        return torch.view_as_real(spectrum)

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return z = F^-1(theta / f)."""
        weights = self.weights().to(parameters)
        return torch.fft.irfft2(torch.view_as_complex(parameters) * weights, s=self.size, norm="ortho")

    def pull(self, parameters: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Return F(slope) / f: the transpose of `logits` where both halves of the spectrum are counted."""
        return torch.view_as_real(torch.fft.rfft2(slope, norm="ortho") * self.weights().to(slope))


@dataclass(frozen=True, eq=False)
class Maco:
    """z = F^-1(r exp(i phi)): the magnitudes r are those of real images, and only the phases phi move.

    A picture cannot leave the spectrum that the model was trained on, so that it stays natural without penalties.
    Where the spectrum is that of images smaller than the canvas, the picture is one image in the middle of a black
    canvas. Parameters are phases, (B, C, h, w // 2 + 1).

    References:
        Fel et al., "Unlocking feature visualization for deeper networks with MAgnitude Constrained Optimization",
        arXiv 2306.06805.
    """

    magnitude: torch.Tensor
    """r, (C, h, w // 2 + 1), see `mean_magnitude`."""
    size: tuple[int, int]
    """(h, w) of the pictures."""
    canvas: tuple[int, int] | None = None
    """(H, W), where the canvas is larger."""

    @property
    def _corner(self) -> tuple[int, int]:
        (h, w), (H, W) = self.size, self.canvas or self.size
        return (H - h) // 2, (W - w) // 2

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the phases of the start."""
        (top, left), (h, w) = self._corner, self.size
        return torch.fft.rfft2(logits[..., top:top + h, left:left + w], norm="ortho").angle()

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return z = F^-1(r exp(i phi))."""
        r = self.magnitude.to(parameters)
        z = torch.fft.irfft2(torch.polar(r.expand_as(parameters), parameters), s=self.size, norm="ortho")
        (top, left), (h, w), (H, W) = self._corner, self.size, self.canvas or self.size
        return F.pad(z, (left, W - w - left, top, H - h - top), value=float(to_logits(torch.zeros(()))))

    def pull(self, parameters: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Return the slope by phases, scaled to root mean square 1: radians have no length in pixels."""
        phases = parameters.detach().requires_grad_()
        with torch.enable_grad():
            (g,) = torch.autograd.grad(self.logits(phases), phases, slope)
        return g / g.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(torch.finfo(g.dtype).tiny)


def mean_magnitude(images: ImageSet, shape: tuple[int, int, int], placement: Placement | None = None) -> torch.Tensor:
    """Return the mean magnitude of the spectra of images on their canvas: which frequencies a model knows.

    Of the pixels' logits, which is what parametrizations give. Where an image lies does not matter: moving it around
    changes phases alone.

    Args:
        images: the training images; up to 2,000 of them, evenly spread over the set, are read.
        shape: (C, H, W) of the model's pictures.
        placement: how the images lie on the canvas; in its middle unless given.

    Returns:
        float64 (C, H, W // 2 + 1), of the orthonormal real Fourier transform.

    Raises:
        UsageError: images of another number of channels, or larger than the canvas.

    Example:
        >>> from shiftscope.data import TensorImages
        >>> images = TensorImages(torch.full((3, 1, 4, 4), 255, dtype=torch.uint8), torch.tensor([0, 1, 0]))
        >>> mean_magnitude(images, (1, 6, 8)).shape
        torch.Size([1, 6, 5])
    """
    count = min(len(images), _SPECTRUM_IMAGES)
    chosen = torch.arange(count) * len(images) // count
    total = torch.zeros(shape[0], shape[1], shape[2] // 2 + 1, dtype=torch.float64)
    for chunk in chosen.split(500):
        logits = to_logits(on_canvas(images, chunk, shape, placement))
        total += torch.fft.rfft2(logits, norm="ortho").abs().sum(0)
    return total / count


def maco(images: ImageSet | None, shape: tuple[int, int, int], placement: Placement | None = None, *,
         one_image: bool = False) -> Maco:
    """Return the parametrization whose spectrum is that of the images on their canvas.

    Args:
        one_image: the spectrum of the images themselves: the picture is one of them, not a whole canvas.

    Raises:
        UsageError: no images.
    """
    if images is None:
        raise UsageError("the parametrization maco takes its spectrum from training images: pass images=, a set of "
                         "them, or choose pixels or fourier")
    height, width = images.shape[1:]
    if one_image and height <= shape[1] and width <= shape[2]:
        return Maco(mean_magnitude(images, (shape[0], height, width)), (height, width), (shape[1], shape[2]))
    return Maco(mean_magnitude(images, shape, placement), (shape[1], shape[2]))
