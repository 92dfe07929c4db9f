"""The Haar wavelet transform of pictures, with and without decimation, on a torus.

Four neighbours a b / c d give an average and three differences. The orthogonal transform takes each block of 2 x 2 once
and goes on with the averages, a quarter as many: it depends on where the blocks begin. The undecimated one takes the
block at every place and spreads the neighbours 1, 2, 4, ... pixels apart (à trous), so it moves along with the picture.
"""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.settings import require

BANDS = 3
"""Bands of details a level: horizontal, vertical, diagonal."""

Quad = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _butterfly(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, d: torch.Tensor) -> Quad:
    """Return average and differences of four values, or the values of an average and its differences.

    The matrix is orthogonal and symmetric, so it is its own inverse.
    """
    upper, lower, left, right = a + b, c + d, a - b, c - d
    return (upper + lower) / 2, (upper - lower) / 2, (left + right) / 2, (left - right) / 2


def haar(x: torch.Tensor, levels: int = 1) -> list[torch.Tensor]:
    """Return the orthogonal Haar coefficients of pictures.

    Args:
        x: (..., H, W); 2^levels divides H and W.
        levels: J, how often the averages are transformed again.

    Returns:
        J + 1 tensors: the averages (..., H/2^J, W/2^J), then the details from the coarsest level to the finest, each
        (..., 3, H/2^j, W/2^j): horizontal (upper less lower pair), vertical (left less right) and diagonal.

    Raises:
        UsageError: 2^levels does not divide H and W.

    Example:
        >>> averages, details = haar(torch.tensor([[4.0, 2.0], [0.0, 2.0]]))
        >>> averages.item(), details.flatten().tolist()
        (4.0, [2.0, 0.0, 2.0])

    References:
        Mallat, "A theory for multiresolution signal decomposition", IEEE PAMI 11 (1989).
    """
    _check(x, levels)
    details = []
    for _ in range(levels):
        top, bottom = x[..., 0::2, :], x[..., 1::2, :]
        x, *bands = _butterfly(top[..., 0::2], top[..., 1::2], bottom[..., 0::2], bottom[..., 1::2])
        details.append(torch.stack(bands, -3))
    return [x, *reversed(details)]


def inverse_haar(coefficients: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the pictures (..., H, W) that have these coefficients, as `haar` orders them.

    >>> x = torch.arange(16.0).view(4, 4)
    >>> inverse_haar(haar(x, 2)).equal(x)
    True
    """
    x, *details = coefficients
    for bands in details:
        a, b, c, d = _butterfly(x, *bands.unbind(-3))
        rows = (torch.stack(pair, -1).flatten(-2) for pair in ((a, b), (c, d)))
        x = torch.stack(tuple(rows), -2).flatten(-3, -2)
    return x


class UndecimatedHaar(nn.Module):
    """The Haar transform with nothing thrown away: the coefficients of all shifted orthogonal transforms at once.

    On a torus of any size. A circular shift of the picture shifts every band by as much, to the bit. At level j the
    coefficients in rows and columns 0, 2^j, 2 * 2^j, ... are those of `haar`, the others those of the shifted picture.

    Args:
        levels: J, at least 1.

    Raises:
        UsageError: (in forward) the pictures are not (B, C, H, W); (in inverse) the bands are not of so many levels.

    Example:
        >>> x = torch.arange(16.0).view(1, 1, 4, 4)
        >>> bands = UndecimatedHaar(2)(x)
        >>> bands.shape
        torch.Size([1, 7, 4, 4])
        >>> torch.allclose(UndecimatedHaar(2).inverse(bands), x)
        True

    References:
        Holschneider et al., "A real-time algorithm for signal analysis with the help of the wavelet transform", 1989.
        Shensa, "The discrete wavelet transform: wedding the à trous and Mallat algorithms", IEEE Trans. Signal
        Processing 40 (1992).
    """

    def __init__(self, levels: int = 1):
        super().__init__()
        require(isinstance(levels, int) and levels >= 1, "levels", levels, "a whole number of at least 1")
        self.levels = levels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the bands (B, C * (3 * levels + 1), H, W), those of a channel side by side.

        Of each channel: the averages, then horizontal, vertical and diagonal details from the coarsest level to the
        finest.
        """
        if x.ndim != 4:
            raise UsageError(f"pictures must be (batch, channels, height, width), got {tuple(x.shape)}")
        details = []
        for level in range(self.levels):
            hole = 2**level
            below = x.roll(-hole, -2)
            x, *bands = _butterfly(x, x.roll(-hole, -1), below, below.roll(-hole, -1))
            details = [*bands, *details]
        return torch.stack((x, *details), 2).flatten(1, 2)  # (B, C * (3 J + 1), H, W)

    def inverse(self, bands: torch.Tensor) -> torch.Tensor:
        """Return the pictures (B, C, H, W) of these bands.

        A pixel lies in four blocks a level, and each tells its value: the mean is taken. Bands that were changed, by
        thresholding for instance, agree no longer, and the mean is then that of cycle spinning.
        """
        count = BANDS * self.levels + 1
        if bands.ndim != 4 or bands.shape[1] % count:
            raise UsageError(f"bands must be (batch, channels * {count}, height, width) for {self.levels} levels, got "
                             f"{tuple(bands.shape)}")
        x, *details = bands.unflatten(1, (-1, count)).unbind(2)
        for level in reversed(range(self.levels)):
            hole, (horizontal, vertical, diagonal, *details) = 2**level, details
            a, b, c, d = _butterfly(x, horizontal, vertical, diagonal)
            x = (a + b.roll(hole, -1) + (c + d.roll(hole, -1)).roll(hole, -2)) / 4
        return x

    def extra_repr(self) -> str:
        return f"levels={self.levels}"


def _check(x: torch.Tensor, levels: int) -> None:
    require(isinstance(levels, int) and levels >= 1, "levels", levels, "a whole number of at least 1")
    height, width = x.shape[-2:]
    if height % 2**levels or width % 2**levels:
        raise UsageError(f"a picture of {height} x {width} has no orthogonal Haar transform of {levels} levels: choose "
                         f"sizes that {2**levels} divides, fewer levels, or UndecimatedHaar, which takes any size")
