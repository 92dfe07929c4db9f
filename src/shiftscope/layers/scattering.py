"""The scattering transform: two layers of wavelets and moduli whose filters are known, not learned.

    S0 x = x * phi        S1 x[p] = |x * psi_p| * phi        S2 x[p, q] = ||x * psi_p| * psi_q| * phi,  q coarser than p

psi are Morlet wavelets at J scales and L angles, phi is a Gaussian low-pass, and * a convolution on a torus, so that
each map moves along with the picture. No map is subsampled before the last average: the moduli are not band-limited,
and a mean over every second pixel of one would depend on which pixels those are.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from shiftscope.errors import UsageError, require

WIDTH, FREQUENCY, LOWPASS = 0.8, 0.75 * math.pi, 0.8
"""Deviation (pixels) and center (radians a pixel) of the finest wavelet, std of phi over 2^(J-1): as is usual."""

COPIES = 2
"""Copies of the spectrum that are wrapped onto [-pi, pi) from each side: what is left out is below 1e-24."""

TINY = 1e-30
"""Squares are taken for at least this much before their root, whose slope at 0 is infinite."""

MOST_ANGLES = 64
"""A checkpoint that asks for a thousand million must fail, and soon."""

WORKED = 2**20
"""Values of first maps worked on at once on a CPU: more leave its cache, and take two to three times as long."""

Pool = Literal["local", "mean", "rms"]


def morlet_bank(shape: tuple[int, int], scales: int, angles: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the Fourier transforms of phi (H, W) and of all psi (J, L, H, W), real, float64, on a grid as of `fft2`.

    psi_j(x) is 2^-2j g(2^-j x) (exp(i xi 2^-j <x, u>) - kappa) times a constant: an elliptic Gaussian times a wave that
    runs along u = (sin a, cos a), a = pi l / L, less what makes the mean zero. The constant is the largest for which
    the Littlewood-Paley sum, |phi^|^2 + sum (|psi^(w)|^2 + |psi^(-w)|^2) / 2, is nowhere above 1: no energy is added.

    Args:
        shape: (H, W).
        scales: J.
        angles: L.
    """
    narrow = min(1.0, 4 / angles)  # the more angles, the narrower a wavelet's share of them
    phi = _gaussian(shape, (0.0, 0.0), LOWPASS * 2 ** (scales - 1), 0.0, 1.0)
    phi = phi / phi[0, 0]
    psi = []
    for j in range(scales):
        for angle in (math.pi * number / angles for number in range(angles)):
            center = (FREQUENCY / 2**j * math.sin(angle), FREQUENCY / 2**j * math.cos(angle))
            wave = _gaussian(shape, center, WIDTH * 2**j, angle, narrow)
            still = _gaussian(shape, (0.0, 0.0), WIDTH * 2**j, angle, narrow)
            psi.append(wave - wave[0, 0] / still[0, 0] * still)
    bank = torch.stack(psi).unflatten(0, (scales, angles))
    energy = littlewood_paley(torch.zeros_like(phi), bank)
    room = ((1 - phi.square()) / energy).flatten()[1:].min()  # at frequency 0 psi vanishes and phi is 1
    return phi, bank * room.sqrt()


def littlewood_paley(phi: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
    """Return at each frequency the share of a real picture's energy that the filters keep, (H, W)."""
    squares = psi.square().sum((0, 1))
    return phi.square() + (squares + _mirrored(squares)) / 2


def _gaussian(shape: tuple[int, int], center: tuple[float, float], width: float, angle: float,
              narrow: float) -> torch.Tensor:
    """Return the Fourier transform of a Gaussian window around `center` (radians a pixel), wrapped, (H, W).

    Args:
        width: std along the angle, pixels; across it is `width / narrow`.
    """
    rows, columns = (2 * math.pi * (torch.fft.fftfreq(size, dtype=torch.float64)
                                    + torch.arange(-COPIES, COPIES + 1)[:, None]) for size in shape)
    down = (rows - center[0])[:, None, :, None]  # (copies, 1, H, 1)
    right = (columns - center[1])[None, :, None, :]
    along = math.sin(angle) * down + math.cos(angle) * right
    across = math.cos(angle) * down - math.sin(angle) * right
    return (-width**2 / 2 * (along.square() + (across / narrow).square())).exp().sum((0, 1))


class Scattering2d(nn.Module):
    """Scattering coefficients of pictures, up to order 2. Nothing in it is trained, and gradients pass through it.

    Args:
        shape: (H, W) of the pictures.
        scales: J; the wavelets of scale j = 0 ... J-1 look at some 2^j pixels. 2^J is at most H and W.
        angles: L, 1 to 64, from 0 to below 180 degrees.
        order: 0, 1 or 2: how many wavelets at most a path leads through.
        pool: "local": averages by phi, one each 2^J pixels, which H and W must be multiples of. They hardly change when
            the picture moves by much less than 2^J. "mean": over the whole torus, so that a circular shift changes
            nothing, up to rounding. "rms": the same, but the root mean square of the maps of order 2. Parseval's
            identity gives it from their transforms, so that these maps are never made: a sixth of the time.

    Attributes:
        paths: the wavelets that each coefficient leads through, as tuples of (scale, angle): first (), then one each,
            then pairs, ordered by their second wavelet, then by the first.

    Raises:
        UsageError: (in forward) the pictures are not of that size.

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
        require(isinstance(scales, int) and 1 <= scales <= 24, "scales", scales, "a whole number from 1 to 24")
        require(isinstance(angles, int) and 1 <= angles <= MOST_ANGLES, "angles", angles,
                f"a whole number from 1 to {MOST_ANGLES}")
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
        for name, values in (("phi", phi), ("psi", psi), ("powers", _on_half(psi.square()) / phi.numel() ** 2)):
            self.register_buffer(name, values.to(torch.get_default_dtype()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the coefficients of pictures (B, C, H, W): (B, C, paths, H/2^J, W/2^J), or (B, C, paths)."""
        if x.ndim != 4 or tuple(x.shape[2:]) != self.shape:
            raise UsageError(f"this scattering was built for pictures of {self.shape[0]} x {self.shape[1]}, (batch, "
                             f"channels, height, width), and was given {tuple(x.shape)}: build it with that shape")
        compute = torch.ops.shiftscope.scattering if torch.compiler.is_exporting() else scattered
        return compute(x, self.phi, self.psi, self.powers, self.order, self.pool)

    def extra_repr(self) -> str:
        return f"{self.shape}, scales={self.scales}, angles={self.angles}, order={self.order}, pool={self.pool!r}"


def scattered(x: torch.Tensor, phi: torch.Tensor, psi: torch.Tensor, powers: torch.Tensor, order: int,
              pool: str) -> torch.Tensor:
    """Return the coefficients of pictures (B, C, H, W), see `Scattering2d`.

    Args:
        phi, psi: Fourier transforms, (H, W) and (J, L, H, W).
        powers: squares of psi on half the plane, as `_on_half` lays them out, over (H * W)^2.
    """
    if not x.numel():  # some Fourier transforms refuse to do nothing
        return _shape_alone(x, phi, psi, powers, order, pool)
    small = x.dtype in (torch.float16, torch.bfloat16)  # which Fourier transforms do not know
    maps = (x.float() if small else x).flatten(0, 1)  # (N, H, W)
    work = _Work(phi.to(maps.dtype), psi.to(maps.dtype), powers.to(maps.dtype), order, pool)
    at_once = max(1, WORKED // psi.numel() if x.device.type == "cpu" else len(maps))
    coefficients = torch.cat([torch.cat(work.orders(some), 1) for some in maps.split(at_once)])
    return coefficients.unflatten(0, x.shape[:2]).to(x.dtype)


@torch.library.custom_op("shiftscope::scattering", mutates_args=())
def _as_one_node(x: torch.Tensor, phi: torch.Tensor, psi: torch.Tensor, powers: torch.Tensor, order: int,
                 pool: str) -> torch.Tensor:
    return scattered(x, phi, psi, powers, order, pool)


def _shape_alone(x: torch.Tensor, phi: torch.Tensor, psi: torch.Tensor, powers: torch.Tensor, order: int,
                 pool: str) -> torch.Tensor:
    scales, angles, height, width = psi.shape
    averages = (height >> scales, width >> scales) if pool == "local" else ()
    return x.new_empty(*x.shape[:2], len(_paths(scales, angles, order)), *averages)


_as_one_node.register_fake(_shape_alone)


@dataclass(frozen=True)
class _Work:
    """The filters, in the pictures' own type, and what is done with them."""

    phi: torch.Tensor
    psi: torch.Tensor
    powers: torch.Tensor
    order: int
    pool: str

    def orders(self, maps: torch.Tensor) -> list[torch.Tensor]:
        """Return the coefficients of maps (N, H, W), each (N, paths, ...), all paths in their order."""
        found = [self.average(maps[:, None])]
        if self.order == 0:
            return found
        first = _modulus(torch.fft.fft2(maps)[:, None], self.psi.flatten(0, 1))  # (N, J * L, H, W)
        found.append(self.average(first))
        if self.order == 2 and len(self.psi) > 1:
            finer = first[:, :-self.psi.shape[1]]  # nothing is coarser than the last scale
            found += self.root_mean_squares(finer) if self.pool == "rms" else self.seconds(finer)
        return found

    def seconds(self, first: torch.Tensor) -> list[torch.Tensor]:
        """Return the averages of the maps of order 2, one tensor (N, j * L, ...) for each second wavelet."""
        spectra, angles = torch.fft.fft2(first), self.psi.shape[1]
        return [self.average(_modulus(spectra[:, :j * angles], wavelet))
                for j, wavelets in enumerate(self.psi) if j for wavelet in wavelets]

    def root_mean_squares(self, first: torch.Tensor) -> list[torch.Tensor]:
        """Return the root mean squares of the maps of order 2, one tensor (N, L * j * L) for each second scale j."""
        spectra = torch.fft.rfft2(first)  # (N, (J - 1) * L, H, W // 2 + 1): maps are real, half tells all
        squares = (spectra.real.square() + spectra.imag.square()).flatten(2)
        energies = (wavelets @ squares[:, :j * len(wavelets)].mT for j, wavelets in enumerate(self.powers) if j)
        return [energy.flatten(1).clamp_min(TINY).sqrt() for energy in energies]

    def average(self, maps: torch.Tensor) -> torch.Tensor:
        """Return means of maps (N, P, H, W): (N, P), or (N, P, H/2^J, W/2^J) by phi."""
        if self.pool != "local":
            return maps.mean((-2, -1))
        (height, width), step = self.phi.shape, 2 ** len(self.psi)
        smooth = torch.fft.fft2(maps) * self.phi
        # Keeping every step-th pixel adds up the frequencies that then look alike.
        folded = smooth.unflatten(-1, (step, width // step)).unflatten(-3, (step, height // step)).mean((-4, -2))
        return torch.fft.ifft2(folded).real


def _modulus(spectra: torch.Tensor, psi: torch.Tensor) -> torch.Tensor:
    """Return |u * psi| of maps given by their spectra. Written out, for it is three times as fast as `abs`."""
    values = torch.fft.ifft2(spectra * psi)
    return (values.real.square() + values.imag.square()).clamp_min(TINY).sqrt()


def _on_half(squares: torch.Tensor) -> torch.Tensor:
    """Return weights (..., H * (W // 2 + 1)) that sum spectra of real maps on half the plane as `squares` do on all."""
    width = squares.shape[-1]
    half = ((squares + _mirrored(squares)) / 2)[..., :width // 2 + 1].clone()
    half[..., 1:(width + 1) // 2] *= 2  # columns whose mirror image lies in the other half
    return half.flatten(-2)


def _mirrored(spectra: torch.Tensor) -> torch.Tensor:
    """Return the value at -w for each frequency w."""
    return spectra.flip((-2, -1)).roll((1, 1), (-2, -1))


def _paths(scales: int, angles: int, order: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Return the paths up to `order`, see `Scattering2d`."""
    wavelets = [(j, angle) for j in range(scales) for angle in range(angles)]
    paths: list[tuple[tuple[int, int], ...]] = [()]
    if order >= 1:
        paths += [(p,) for p in wavelets]
    if order == 2:
        paths += [(p, q) for q in wavelets for p in wavelets if p[0] < q[0]]
    return tuple(paths)
