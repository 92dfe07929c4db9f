"""Cycle spinning: shift, work, shift back, average. It takes from any method its dependence on where a grid begins.

Here for the removal of noise by thresholding Haar coefficients, where it was found. Over all shifts it equals
thresholding the undecimated transform, which visits the picture J times instead of transforming it 4^J times.
"""

from collections.abc import Callable

import torch

from shiftscope.layers.haar import BANDS, UndecimatedHaar, haar, inverse_haar
from shiftscope.settings import require


def cycle_spin(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, shifts: int) -> torch.Tensor:
    """Return the mean over the shifts (dy, dx), each below `shifts`, of: roll by them, apply, roll back.

    The mean commutes with all circular shifts where `function` does with those by `shifts`, as transforms by blocks of
    that size do.

    Args:
        function: pictures (..., H, W) -> pictures of the same size.
        x: (..., H, W).
        shifts: how many a direction, at least 1; 1: `function` alone.

    Returns:
        (..., H, W).

    Example:
        >>> every_second = lambda x: x * torch.tensor([1.0, 0.0])
        >>> cycle_spin(every_second, torch.tensor([[3.0, 8.0]]), 2)
        tensor([[1.5000, 4.0000]])

    References:
        Coifman & Donoho, "Translation-invariant de-noising", in Wavelets and Statistics, Springer 1995.
    """
    require(isinstance(shifts, int) and shifts >= 1, "shifts", shifts, "a whole number of at least 1")
    total = torch.zeros_like(x)
    for dy in range(shifts):
        for dx in range(shifts):
            total += function(x.roll((dy, dx), (-2, -1))).roll((-dy, -dx), (-2, -1))
    return total / shifts**2


def hard_threshold(x: torch.Tensor, threshold: float) -> torch.Tensor:
    """Return `x` with all that is smaller than `threshold` in size set to zero.

    >>> hard_threshold(torch.tensor([-3.0, 1.0, 2.0]), 2)
    tensor([-3.,  0.,  2.])
    """
    return x.masked_fill(x.abs() < threshold, 0)


def denoise_haar(x: torch.Tensor, threshold: float, levels: int) -> torch.Tensor:
    """Return pictures whose orthogonal Haar details below `threshold` are set to zero.

    Args:
        x: (..., H, W); 2^levels divides H and W.
        threshold: in units of `x`: noise of deviation s has deviation s in each coefficient.
        levels: J.
    """
    averages, *details = haar(x, levels)
    return inverse_haar([averages, *(hard_threshold(bands, threshold) for bands in details)])


def denoise_undecimated(x: torch.Tensor, threshold: float, levels: int) -> torch.Tensor:
    """Return what `denoise_haar` gives on the mean over all shifts, by thresholding the undecimated transform.

    Args:
        x: (B, C, H, W), of any size.
        threshold, levels: as for `denoise_haar`.

    Example:
        >>> x = torch.arange(16.0, dtype=torch.float64).view(1, 1, 4, 4) % 5
        >>> spun = cycle_spin(lambda x: denoise_haar(x, 3, 2), x, 4)
        >>> torch.allclose(denoise_undecimated(x, 3, 2), spun)
        True
    """
    transform = UndecimatedHaar(levels)
    bands = transform(x).unflatten(1, (-1, BANDS * levels + 1))  # (B, C, 3 J + 1, H, W)
    kept = torch.cat((bands[:, :, :1], hard_threshold(bands[:, :, 1:], threshold)), 2)
    return transform.inverse(kept.flatten(1, 2))
