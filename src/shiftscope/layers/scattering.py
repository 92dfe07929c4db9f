"""Scattering transform: two layers of fixed wavelet filters and moduli.

    S0 x = x * phi        S1 x[p] = |x * psi_p| * phi        S2 x[p, q] = ||x * psi_p| * psi_q| * phi,  q coarser than p

psi are Morlet wavelets at J scales and L angles, phi is a Gaussian low-pass filter, and * is a circular convolution, so
that each map shifts with the image. Maps are not subsampled before the last average: the moduli are not band-limited,
and the mean of a subsampled one would depend on the offset of the subsampling.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.common import exported_as_one_node

WIDTH, FREQUENCY, LOWPASS = 0.8, 0.75 * math.pi, 0.8
"""Std (pixels) and center frequency (radians per pixel) of the finest wavelet, std of phi over 2^(J-1)."""

COPIES = 2
"""Copies of the spectrum that are wrapped onto [-pi, pi) from each side: the remainder is below 1e-24."""

TINY = 1e-30
"""Lower clamp of squares before the square root, whose derivative at 0 is infinite."""

MAX_ANGLES = 64
"""Limits the memory that a checkpoint can request."""

CHUNK = 2**20
"""First-order values processed together on a CPU: larger chunks exceed the cache and are 2 to 3 times slower."""

Pool = Literal["local", "mean", "rms"]
Path = tuple[tuple[int, int], ...]
"""The (scale, angle) of each wavelet that a coefficient passes through."""


def morlet_bank(shape: tuple[int, int], scales: int, angles: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the Fourier transforms of phi (H, W) and of all psi (J, L, H, W), real, float64, on the grid of `fft2`.

    psi_j(x) is 2^-2j g(2^-j x) (exp(i xi 2^-j <x, u>) - kappa) times a constant: an elliptic Gaussian g times a wave
    along u = (sin a, cos a), a = pi l / L, minus a multiple of g that makes the mean zero. The constant is the largest
    for which the Littlewood-Paley sum, |phi^|^2 + sum (|psi^(w)|^2 + |psi^(-w)|^2) / 2, is at most 1 everywhere, so
    that the transform adds no energy.

    Args:
        shape: (H, W).
        scales: J.
        angles: L.
    """
    aspect = min(1.0, 4 / angles)  # more angles: narrower wavelets
    phi = _gaussian(shape, (0.0, 0.0), LOWPASS * 2 ** (scales - 1), 0.0, 1.0)
    phi = phi / phi[0, 0]
    psi = []
    for j in range(scales):
        for angle in (math.pi * number / angles for number in range(angles)):
            center = (FREQUENCY / 2**j * math.sin(angle), FREQUENCY / 2**j * math.cos(angle))
            wave = _gaussian(shape, center, WIDTH * 2**j, angle, aspect)
            envelope = _gaussian(shape, (0.0, 0.0), WIDTH * 2**j, angle, aspect)
            psi.append(wave - wave[0, 0] / envelope[0, 0] * envelope)
    bank = torch.stack(psi).unflatten(0, (scales, angles))
    energy = littlewood_paley(torch.zeros_like(phi), bank)
    room = ((1 - phi.square()) / energy).flatten()[1:].min()  # at frequency 0 psi vanishes and phi is 1
    return phi, bank * room.sqrt()


def littlewood_paley(phi: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
    """Return the fraction of a real image's energy that the filters keep at each frequency, (H, W)."""
    squares = psi.square().sum((0, 1))
    return phi.square() + (squares + _reflected(squares)) / 2


def _gaussian(shape: tuple[int, int], center: tuple[float, float], width: float, angle: float,
              aspect: float) -> torch.Tensor:
    """Return the wrapped Fourier transform (H, W) of a Gaussian window around `center` (radians per pixel).

    Its std is `width` pixels along the angle and `width / aspect` across.
    """
    rows, columns = (2 * math.pi * (torch.fft.fftfreq(size, dtype=torch.float64)
                                    + torch.arange(-COPIES, COPIES + 1)[:, None]) for size in shape)
    down = (rows - center[0])[:, None, :, None]  # (copies, 1, H, 1)
    right = (columns - center[1])[None, :, None, :]
    along = math.sin(angle) * down + math.cos(angle) * right
    across = math.cos(angle) * down - math.sin(angle) * right
    return (-width**2 / 2 * (along.square() + (across / aspect).square())).exp().sum((0, 1))


class Scattering2d(nn.Module):
    """Scattering coefficients of images up to order 2. There are no parameters; gradients flow through.

    Args:
        shape: (H, W) of the images.
        scales: J; the wavelets of scale j = 0 ... J-1 extend over about 2^j pixels. 2^J is at most H and W.
        angles: L, 1 to 64, equally spaced below 180 degrees.
        order: 0, 1 or 2, the largest number of wavelets on a path.
        pool: "local": averages by phi, one per 2^J pixels, of which H and W must be multiples; they hardly change if
            the image shifts by much less than 2^J. "mean": means over the whole torus, invariant to circular shifts up
            to rounding. "rms": the same, but root mean squares for order 2. Parseval's identity gives these from the
            spectra, without the maps of order 2, in a sixth of the time.

    Attributes:
        paths: for each coefficient the wavelets on its path, tuples of (scale, angle): first (), then single ones, then
            pairs, ordered by the second wavelet, then by the first.

    Raises:
        UsageError: if an argument is out of range; (in forward) if the images are not (B, C, H, W).

    Example:
        >>> scattering = Scattering2d((32, 24), 3, 8)
        >>> scattering(torch.rand(5, 2, 32, 24)).shape, len(scattering.paths), scattering.paths[25]
        (torch.Size([5, 2, 217, 4, 3]), 217, ((0, 0), (1, 0)))
        >>> Scattering2d((32, 24), 2, 4, pool="mean")(torch.rand(5, 2, 32, 24)).shape
        torch.Size([5, 2, 25])

    References:
        Mallat, "Group invariant scattering", Comm. Pure Appl. Math. 65 (2012), arXiv:1101.2286.
        Bruna & Mallat, "Invariant scattering convolution networks", IEEE PAMI 35 (2013), arXiv:1203.1513.
    """

    phi: torch.Tensor
    psi: torch.Tensor
    powers: torch.Tensor

    def __init__(self, shape: tuple[int, int], scales: int = 3, angles: int = 8, *, order: int = 2,
                 pool: Pool = "local"):
        super().__init__()
        require(isinstance(scales, int) and 1 <= scales <= 24, "scales", scales, "an integer from 1 to 24")
        require(isinstance(angles, int) and 1 <= angles <= MAX_ANGLES, "angles", angles,
                f"an integer from 1 to {MAX_ANGLES}")
        require(order in (0, 1, 2), "order", order, "0, 1 or 2")
        require(pool in ("local", "mean", "rms"), "pool", pool, "local, mean or rms")
        step = 2**scales
        require(min(shape) >= step, "shape", tuple(shape), f"at least {step} x {step} for {scales} scales")
        require(pool != "local" or not (shape[0] % step or shape[1] % step), "shape", tuple(shape),
                f"multiples of 2^scales = {step} for local averages (or choose pool='mean')")
        self.shape, self.scales, self.angles = (shape[0], shape[1]), scales, angles
        self.order, self.pool = order, pool
        self.paths = _paths(scales, angles, order)
        phi, psi = morlet_bank(self.shape, scales, angles)
        for name, values in (("phi", phi), ("psi", psi), ("powers", _half_plane(psi.square()) / phi.numel() ** 2)):
            self.register_buffer(name, values.to(torch.get_default_dtype()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the coefficients of images (B, C, H, W): (B, C, paths, H/2^J, W/2^J), or (B, C, paths)."""
        if x.ndim != 4 or tuple(x.shape[2:]) != self.shape:
            raise UsageError(f"this scattering takes images (batch, channels, {self.shape[0]}, {self.shape[1]}), got "
                             f"{tuple(x.shape)}: build it with that shape")
        return scattering(x, self.phi, self.psi, self.powers, self.order, self.pool)

    def extra_repr(self) -> str:
        return f"{self.shape}, scales={self.scales}, angles={self.angles}, order={self.order}, pool={self.pool!r}"


def _output_shape(x: torch.Tensor, phi: torch.Tensor, psi: torch.Tensor, powers: torch.Tensor, order: int,
                  pool: str) -> torch.Tensor:
    scales, angles, height, width = psi.shape
    averages = (height >> scales, width >> scales) if pool == "local" else ()
    return x.new_empty(*x.shape[:2], len(_paths(scales, angles, order)), *averages)


@exported_as_one_node("scattering", _output_shape)
def scattering(x: torch.Tensor, phi: torch.Tensor, psi: torch.Tensor, powers: torch.Tensor, order: int,
               pool: str) -> torch.Tensor:
    """Return the coefficients of images (B, C, H, W), see `Scattering2d`.

    Args:
        phi, psi: Fourier transforms, (H, W) and (J, L, H, W).
        powers: `_half_plane` of the squares of psi, over (H * W)^2.
    """
    if not x.numel():  # some FFT implementations reject empty tensors
        return _output_shape(x, phi, psi, powers, order, pool)
    half = x.dtype in (torch.float16, torch.bfloat16)  # not supported by FFTs
    maps = (x.float() if half else x).flatten(0, 1)  # (N, H, W)
    filters = _Filters(phi.to(maps.dtype), psi.to(maps.dtype), powers.to(maps.dtype), pool)
    size = max(1, CHUNK // psi.numel() if x.device.type == "cpu" else len(maps))
    coefficients = torch.cat([torch.cat(list(filters.coefficients(part, order)), 1) for part in maps.split(size)])
    return coefficients.unflatten(0, x.shape[:2]).to(x.dtype)


@dataclass(frozen=True)
class _Filters:
    """The filters in the dtype of the maps, and how coefficients are pooled."""

    phi: torch.Tensor
    psi: torch.Tensor
    powers: torch.Tensor
    pool: str

    def coefficients(self, maps: torch.Tensor, order: int) -> Iterator[torch.Tensor]:
        """Yield the coefficients of maps (N, H, W) in the order of the paths, each (N, paths, ...)."""
        yield self.average(maps[:, None])
        if order == 0:
            return
        first = _modulus(torch.fft.fft2(maps)[:, None], self.psi.flatten(0, 1))  # (N, J * L, H, W)
        yield self.average(first)
        if order == 2 and len(self.psi) > 1:
            finer = first[:, :-self.psi.shape[1]]  # no wavelet is coarser than the last scale
            yield from self.second_rms(finer) if self.pool == "rms" else self.second_averages(finer)

    def second_averages(self, first: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the averages of the maps of order 2, (N, j * L, ...) for each second wavelet."""
        spectra, angles = torch.fft.fft2(first), self.psi.shape[1]
        for j, wavelets in enumerate(self.psi):
            if j:
                for wavelet in wavelets:
                    yield self.average(_modulus(spectra[:, :j * angles], wavelet))

    def second_rms(self, first: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the root mean squares of the maps of order 2, (N, L * j * L) for each second scale j."""
        spectra = torch.fft.rfft2(first)  # (N, (J - 1) * L, H, W // 2 + 1)
        squares = (spectra.real.square() + spectra.imag.square()).flatten(2)
        for j, wavelets in enumerate(self.powers):
            if j:
                energy = wavelets @ squares[:, :j * len(wavelets)].mT
                yield energy.flatten(1).clamp_min(TINY).sqrt()

    def average(self, maps: torch.Tensor) -> torch.Tensor:
        """Return means of maps (N, P, H, W): (N, P), or local ones (N, P, H/2^J, W/2^J)."""
        if self.pool != "local":
            return maps.mean((-2, -1))
        (height, width), step = self.phi.shape, 2 ** len(self.psi)
        smooth = torch.fft.fft2(maps) * self.phi
        # subsampling by `step` adds the aliased frequencies
        folded = smooth.unflatten(-1, (step, width // step)).unflatten(-3, (step, height // step)).mean((-4, -2))
        return torch.fft.ifft2(folded).real


def _modulus(spectra: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
    """Return |u * psi| of maps u given by their spectra; three times as fast as `abs`."""
    values = torch.fft.ifft2(spectra * psi)
    return (values.real.square() + values.imag.square()).clamp_min(TINY).sqrt()


def _half_plane(squares: torch.Tensor) -> torch.Tensor:
    """Return weights (..., H * (W // 2 + 1)) for `rfft2` spectra, equivalent to `squares` (..., H, W) for `fft2`."""
    width = squares.shape[-1]
    half = ((squares + _reflected(squares)) / 2)[..., :width // 2 + 1].clone()
    half[..., 1:(width + 1) // 2] *= 2  # columns whose reflection is in the other half
    return half.flatten(-2)


def _reflected(spectra: torch.Tensor) -> torch.Tensor:
    """Return the value at -w for each frequency w."""
    return spectra.flip((-2, -1)).roll((1, 1), (-2, -1))


def _paths(scales: int, angles: int, order: int) -> tuple[Path, ...]:
    """Return the paths up to `order`, see `Scattering2d`."""
    wavelets = [(j, angle) for j in range(scales) for angle in range(angles)]
    first = [(p,) for p in wavelets] if order >= 1 else []
    second = [(p, q) for q in wavelets for p in wavelets if p[0] < q[0]] if order == 2 else []
    return ((), *first, *second)
