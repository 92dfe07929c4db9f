"""Shifts of feature maps by whole pixels and by fractions, and errors in decibels."""

import math
from fractions import Fraction

import torch
import torch.nn.functional as F


def shift_maps(maps: torch.Tensor, by: Fraction, axis: int, *, wraps: bool) -> torch.Tensor:
    """Return `maps` shifted by `by` >= 0 pixels down or right, without the rows or columns that are unknown.

    Fractional shifts use the shift theorem of the discrete Fourier transform (band-limited interpolation).

    Args:
        maps: (..., H, W).
        axis: -2 to shift down, -1 to shift right.
        wraps: True: values that leave at one side enter at the other; False: maps are zero outside, and the first
            ceil(by) rows or columns are removed.

    Example:
        >>> shift_maps(torch.tensor([[1.0, 2.0, 3.0]]), Fraction(1), -1, wraps=True)
        tensor([[3., 1., 2.]])
        >>> shift_maps(torch.tensor([[1.0, 2.0, 3.0]]), Fraction(1), -1, wraps=False)
        tensor([[1., 2.]])
    """
    size = maps.shape[axis]
    if by.denominator == 1:
        shifted = maps.roll(int(by), axis)
    elif wraps:
        shifted = _interpolate(maps, by, axis)
    else:  # zeros on both sides, so that very little wraps around
        padding = (size, size) if axis == -1 else (0, 0, size, size)
        shifted = _interpolate(F.pad(maps, padding), by, axis).narrow(axis, size, size)
    return shifted if wraps else remove_unknown(shifted, by, axis)


def remove_unknown(maps: torch.Tensor, by: Fraction, axis: int) -> torch.Tensor:
    """Return `maps` without the first ceil(by) rows or columns, which a map shifted by `by` does not determine."""
    unknown = min(-(-by.numerator // by.denominator), maps.shape[axis])
    return maps.narrow(axis, unknown, maps.shape[axis] - unknown)


def _interpolate(maps: torch.Tensor, by: Fraction, axis: int) -> torch.Tensor:
    """Multiply each frequency k by exp(-2 pi i k by / n); of the highest one the real part remains."""
    size = maps.shape[axis]
    turns = torch.fft.rfftfreq(size, dtype=torch.float64, device=maps.device) * float(by)
    phases = torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
    spectrum = torch.fft.rfft(maps, dim=axis) * (phases if axis == -1 else phases[:, None])
    return torch.fft.irfft(spectrum, n=size, dim=axis)


def signal_and_error(before: torch.Tensor, after: torch.Tensor, by: Fraction, axis: int,
                     wraps: bool) -> tuple[float, float]:
    """Return the power of `before` shifted by `by`, and the power of its difference from `after`."""
    reference = shift_maps(before, by, axis, wraps=wraps)
    error = (after if wraps else remove_unknown(after, by, axis)) - reference
    return reference.square().sum().item(), error.square().sum().item()


def decibel(signal: float, error: float) -> float:
    """Return 10 log10(signal / error); infinity without an error, NaN without both.

    >>> decibel(100.0, 1.0), decibel(1.0, 0.0), decibel(0.0, 0.0)
    (20.0, inf, nan)
    """
    if not (math.isfinite(signal) and math.isfinite(error)) or signal == error == 0:
        return math.nan
    if error == 0:
        return math.inf
    return 10 * math.log10(signal / error) if signal else -math.inf
