"""Moving the answer of a layer by whole pixels and by parts of one, to compare it with what the layer really says."""

from fractions import Fraction

import torch
import torch.nn.functional as F


def move(maps: torch.Tensor, by: Fraction, axis: int, *, around: bool) -> torch.Tensor:
    """Return `maps` moved by `by` >= 0 pixels down or right, without the rows or columns that nothing is known of.

    Between pixels the maps are taken as samples of the smooth (band-limited) picture that is theirs alone: the shift
    theorem of the discrete Fourier transform. Whole pixels are moved as they are.

    Args:
        maps: (..., H, W).
        axis: -2 to move down, -1 to move right.
        around: what leaves at one side enters at the other, and all is known; else the first ceil(by) rows or
            columns are cut off, and beyond its borders a map is taken as zero.

    Example:
        >>> move(torch.tensor([[1.0, 2.0, 3.0]]), Fraction(1), -1, around=True)
        tensor([[3., 1., 2.]])
        >>> move(torch.tensor([[1.0, 2.0, 3.0]]), Fraction(1), -1, around=False)
        tensor([[1., 2.]])
    """
    size = maps.shape[axis]
    if by.denominator == 1:
        shifted = maps.roll(int(by), axis)
    elif around:
        shifted = _interpolate(maps, by, axis)
    else:  # as much empty room at each side, so that hardly anything comes around
        room = (size, size) if axis == -1 else (0, 0, size, size)
        shifted = _interpolate(F.pad(maps, room), by, axis).narrow(axis, size, size)
    return shifted if around else known(shifted, by, axis)


def known(maps: torch.Tensor, by: Fraction, axis: int) -> torch.Tensor:
    """Cut off the first rows or columns, of which a map moved by `by` says nothing."""
    unknown = min(-(-by.numerator // by.denominator), maps.shape[axis])
    return maps.narrow(axis, unknown, maps.shape[axis] - unknown)


def _interpolate(maps: torch.Tensor, by: Fraction, axis: int) -> torch.Tensor:
    """x(n - by): each frequency k of n gets the phase -2 pi k by / n; of the highest one the real part remains."""
    size = maps.shape[axis]
    turns = torch.fft.rfftfreq(size, dtype=torch.float64, device=maps.device) * float(by)
    phases = torch.polar(torch.ones_like(turns), -2 * torch.pi * turns)
    spectrum = torch.fft.rfft(maps, dim=axis) * (phases if axis == -1 else phases[:, None])
    return torch.fft.irfft(spectrum, n=size, dim=axis)
