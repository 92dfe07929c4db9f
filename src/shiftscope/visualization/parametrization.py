"""Parametrizations of synthesized images: pixels, Fourier coefficients, or phases with a fixed spectrum (MACO).

Parameters give logits of pixels, and a sigmoid keeps the pixels in [0, 1]. Symbols: z logits (C, H, W), F the real
orthonormal 2-D Fourier transform.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from shiftscope.data import ImageSet
from shiftscope.errors import UsageError
from shiftscope.placement import Placement
from shiftscope.visualization.initial_images import on_canvas

_EDGE = 0.08  # initial pixels keep this distance from 0 and 1, where the gradient of the sigmoid is small
_SPECTRUM_IMAGES = 2000  # their mean magnitude is within 1 % of that of all 60,000 images of Fashion-MNIST


class Parametrization:
    """Maps parameters (B, ...) to logits (B, C, H, W). In this base class (pixels) the parameters are the logits."""

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the parameters for initial logits."""
        return logits.clone()

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return parameters

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Return the ascent direction (B, ...) for a gradient (B, C, H, W) with respect to the logits."""
        return gradient


@dataclass(frozen=True)
class Fourier(Parametrization):
    """z = F^-1(theta / f): preconditioned pixels, whose low frequencies change faster than high ones.

    The largest weight 1 / f is 1, so that a step changes the logits by at most as much as without weights. Parameters
    are real and imaginary parts, (B, C, H, W // 2 + 1, 2).

    Reference: Mordvintsev et al., "Differentiable image parameterizations", Distill, 2018.
    """

    size: tuple[int, int]

    def weights(self) -> torch.Tensor:
        """Return 1 / f scaled to at most 1, float64 (H, W // 2 + 1); frequency 0 counts as the lowest other one."""
        rows = torch.fft.fftfreq(self.size[0], dtype=torch.float64)
        columns = torch.fft.rfftfreq(self.size[1], dtype=torch.float64)
        lowest = 1 / max(self.size)
        return lowest / torch.hypot(rows[:, None], columns).clamp_min(lowest)

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(torch.fft.rfft2(logits, norm="ortho") / self.weights().to(logits))

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        weights = self.weights().to(parameters)
        return torch.fft.irfft2(torch.view_as_complex(parameters) * weights, s=self.size, norm="ortho")

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(torch.fft.rfft2(gradient, norm="ortho") * self.weights().to(gradient))


@dataclass(frozen=True, eq=False)
class Maco(Parametrization):
    """z = F^-1(r exp(i phi)): optimizes the phases phi; the magnitudes r are those of real images.

    If the spectrum belongs to images smaller than the canvas, the result is one such image in the middle of a black
    canvas. Parameters are phases, (B, C, h, w // 2 + 1).

    Reference: Fel et al., "Unlocking feature visualization for deeper networks", arXiv 2306.06805.
    """

    magnitude: torch.Tensor  # r, (C, h, w // 2 + 1), see `mean_magnitude`
    size: tuple[int, int]  # (h, w) of the images
    canvas: tuple[int, int] | None = None  # (H, W), if larger

    def _margins(self) -> tuple[int, int, int, int]:
        """Left, right, top and bottom margin of the image on the canvas."""
        (h, w), (H, W) = self.size, self.canvas or self.size
        top, left = (H - h) // 2, (W - w) // 2
        return left, W - w - left, top, H - h - top

    def start(self, logits: torch.Tensor) -> torch.Tensor:
        (left, _, top, _), (h, w) = self._margins(), self.size
        return torch.fft.rfft2(logits[..., top:top + h, left:left + w], norm="ortho").angle()

    def logits(self, parameters: torch.Tensor) -> torch.Tensor:
        r = self.magnitude.to(parameters)
        z = torch.fft.irfft2(torch.polar(r.expand_as(parameters), parameters), s=self.size, norm="ortho")
        return F.pad(z, self._margins(), value=float(to_logits(torch.zeros(()))))

    def step(self, parameters: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to the phases, scaled to root mean square 1 because their unit differs."""
        phases = parameters.detach().requires_grad_()
        with torch.enable_grad():
            (g,) = torch.autograd.grad(self.logits(phases), phases, gradient)
        return g / g.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(torch.finfo(g.dtype).tiny)


def maco(images: ImageSet | None, shape: tuple[int, int, int], placement: Placement | None = None, *,
         single_image: bool = False) -> Maco:
    """Return the parametrization with the mean spectrum of images on their canvas, or without it if `single_image`."""
    if images is None:
        raise UsageError("the parametrization maco needs the spectrum of training images: pass images=, an image set, "
                         "or choose pixels or fourier")
    height, width = images.shape[1:]
    if single_image and height <= shape[1] and width <= shape[2]:
        return Maco(mean_magnitude(images, (shape[0], height, width)), (height, width), (shape[1], shape[2]))
    return Maco(mean_magnitude(images, shape, placement), (shape[1], shape[2]))


def mean_magnitude(images: ImageSet, shape: tuple[int, int, int], placement: Placement | None = None) -> torch.Tensor:
    """Return the mean magnitude of the spectra of images' logits, float64 (C, H, W // 2 + 1).

    It does not depend on their offset on the canvas. Up to 2,000 images, evenly spaced, are used.
    """
    count = min(len(images), _SPECTRUM_IMAGES)
    total = torch.zeros(shape[0], shape[1], shape[2] // 2 + 1, dtype=torch.float64)
    for chunk in (torch.arange(count) * len(images) // count).split(500):
        logits = to_logits(on_canvas(images, chunk, shape, placement))
        total += torch.fft.rfft2(logits, norm="ortho").abs().sum(0)
    return total / count


def to_logits(pixels: torch.Tensor) -> torch.Tensor:
    """Return the logits of pixels, clamped to [0.08, 0.92]."""
    return torch.logit(pixels.clamp(_EDGE, 1 - _EDGE))


def soft_window(height: int, width: int, fractions: tuple[float, float]) -> torch.Tensor | None:
    """Return a mask with soft edges, 1 in the middle and 0 outside, float64 (H, W); None if it covers everything."""
    if min(fractions) >= 1:
        return None
    axes = []
    for size, fraction in zip((height, width), fractions, strict=True):
        distance = (torch.arange(size, dtype=torch.float64) - (size - 1) / 2).abs()
        axes.append(torch.sigmoid(fraction * size / 2 - distance) if fraction < 1 else torch.ones_like(distance))
    return axes[0][:, None] * axes[1]


@dataclass(frozen=True)
class Frame:
    """Blends images into a ground: x = ground + window * (sigmoid(z) - ground)."""

    ground: torch.Tensor  # (B, C, H, W), the initial pixels
    window: torch.Tensor | None = None  # (H, W), weight of the image; None: 1 everywhere

    def pixels(self, z: torch.Tensor) -> torch.Tensor:
        """Return pixels (B, C, H, W) in [0, 1]."""
        x = torch.sigmoid(z)
        return x if self.window is None else self.ground + self.window * (x - self.ground)

    def gradient(self, z: torch.Tensor, by_pixels: torch.Tensor) -> torch.Tensor:
        """Return the gradient with respect to logits for one with respect to pixels."""
        x = torch.sigmoid(z)
        slope = x * (1 - x)
        return by_pixels * (slope if self.window is None else slope * self.window)

    def rows(self, chosen: torch.Tensor) -> "Frame":
        """Return the frame of a subset of the images."""
        return Frame(self.ground[chosen], self.window)
