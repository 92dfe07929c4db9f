"""Downsampling that commutes with shifts: keep the polyphase component that is strongest, whichever it is.

A stride of s keeps one of s * s interleaved copies of a map, always the same one; when the map moves by one place it
keeps another. Adaptive polyphase sampling keeps the one with the largest norm: it moves along with the content, so on a
torus a shifted map gives the same component, rolled.
"""

from collections.abc import Iterator

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.ties import near_best, settled, tied

CLOSE = {torch.float64: 1e-12}
"""Share of the largest energy within which two components tie; rounding of float32 and smaller types is `CLOSE32`."""

CLOSE32 = 1e-6


def components(values: torch.Tensor, stride: int) -> torch.Tensor:
    """Return the polyphase components of maps (..., H, W) as (..., s, s, H/s, W/s).

    >>> components(torch.arange(16).view(4, 4), 2)[0, 1]
    tensor([[ 1,  3],
            [ 9, 11]])
    """
    *front, height, width = values.shape
    split = values.reshape(*front, height // stride, stride, width // stride, stride)
    return split.movedim((-3, -1), (-4, -3))


def strongest_phase(x: torch.Tensor, stride: int, order: int = 2) -> torch.Tensor:
    """Return row and column of the first value of each picture's strongest polyphase component, int64 (B, 2).

    Strength is the sum of |x|^order over channels and places. Components that tie within rounding are told apart by
    `tie_keys`; what ties in all of them is taken to be the same, and the first is kept.

    Args:
        x: (B, C, H, W).
        stride: s, divides H and W.
        order: of the norm.
    """
    with torch.no_grad():
        powers = powers_of(x, order)
        maps = components(powers.sum(1).double(), stride)  # (B, s, s, H/s, W/s)
        energy = maps.sum((-2, -1)).flatten(1)  # (B, s*s)
        return phase_of(energy, energy.amax(1, keepdim=True), powers, stride, CLOSE.get(x.dtype, CLOSE32))


def powers_of(x: torch.Tensor, order: int = 2) -> torch.Tensor:
    """Return |x|^order; half precision is widened first, where squares overflow or round so far as to reorder."""
    wide = x if x.dtype.itemsize >= 4 else x.float()
    return wide.square() if order == 2 else wide.abs().pow(order)


def phase_of(scores: torch.Tensor, scale: torch.Tensor, powers: torch.Tensor, stride: int,
             close: float) -> torch.Tensor:
    """Return the phase with the highest score, ties settled so that a shift changes nothing, int64 (B, 2).

    Args:
        scores: (B, s*s), one a component.
        scale: (B, 1), of the numbers that scores were summed from; they tie within `close` of it.
        powers: (B, C, H, W), at least 0, for `tie_keys`.
        stride: s.
        close: relative rounding.
    """
    left = near_best(scores, torch.ones_like(scores, dtype=torch.bool), close * scale)
    which = tied(left).nonzero()[:, 0]
    first = left.to(torch.uint8).argmax(1)
    if len(which):
        first[which] = settled(left[which], tie_keys(powers[which], stride), close)
    return torch.stack((first // stride, first % stride), 1)


def tie_keys(powers: torch.Tensor, stride: int) -> Iterator[torch.Tensor]:
    """Yield figures of the polyphase components, (B, s*s), that a shift does not change while a mirror does.

    The energy, the energy with a weight a channel, and parts of the triple correlation of the energy map m, which tells
    any two maps apart that are not shifts of each other: sums over the torus of m(x) m(x + d)^2 for lags d along rows,
    columns and the diagonal, and, since a square changes nothing where a map is but zeros and ones, of
    m(x) m(x + d) m(x + e) for lags that no mirror keeps. Where all components are the same map they end early.

    Args:
        powers: (B, C, H, W), at least 0.
    """
    weights = 1 + torch.arange(powers.shape[1], device=powers.device) / powers.shape[1]
    plain, weighted = (components(maps.double(), stride).flatten(1, 2) for maps in  # (B, s*s, H/s, W/s)
                       (powers.sum(1), (powers * weights.to(powers)[:, None, None]).sum(1)))
    yield plain.sum((2, 3))
    yield weighted.sum((2, 3))
    maps = weighted / weighted.amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    if bool((maps == maps[:, :1]).all()):
        return
    height, width = maps.shape[2:]
    for d in range(1, max(height, width)):
        for lag in ((0, -d), (-d, 0), (-d, -d)):
            yield (maps * maps.roll(lag, (2, 3)).square()).sum((2, 3))
        for one, other in (((0, -d), (-d, 0)), ((0, -1), (0, -1 - d)), ((-1, 0), (-1 - d, 0))):
            yield (maps * maps.roll(one, (2, 3)) * maps.roll(other, (2, 3))).sum((2, 3))


def take_phase(x: torch.Tensor, phase: torch.Tensor, stride: int) -> torch.Tensor:
    """Return the polyphase component of each picture that begins at its phase.

    Args:
        x: (B, C, H, W).
        phase: int64 (B, 2), from 0 to s - 1.
        stride: s.

    Returns:
        (B, C, H/s, W/s), channels last in memory: places are copied as rows of channels.
    """
    batch, channels, height, width = x.shape
    rows = torch.arange(0, height, stride, device=x.device) + phase[:, :1]  # (B, H/s)
    columns = torch.arange(0, width, stride, device=x.device) + phase[:, 1:]
    places = (rows[:, :, None] * width + columns[:, None]).flatten(1)  # (B, H/s * W/s)
    places = places + torch.arange(batch, device=x.device)[:, None] * (height * width)
    kept = x.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, places.flatten())
    return kept.view(batch, height // stride, width // stride, channels).permute(0, 3, 1, 2)


@torch.library.custom_op("shiftscope::polyphase_downsample", mutates_args=())
def _as_one_node(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    return take_phase(x, strongest_phase(x, stride, order), stride).contiguous()


@_as_one_node.register_fake
def _shape_alone(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    return x.new_empty(x.shape[0], x.shape[1], x.shape[2] // stride, x.shape[3] // stride)


class PolyphaseDownsample2d(nn.Module):
    """Keep the strongest polyphase component of every picture: a downsampling by `stride` that commutes with shifts.

    On a torus: a circularly shifted input gives a circularly shifted output, exactly, for every shift. The choice has
    no gradient; the values kept have.

    Args:
        stride: at least 1.
        order: of the norm that tells which component is strongest.

    Raises:
        UsageError: (in forward) rows or columns are no multiple of the stride.

    Example:
        >>> x = torch.arange(16.0).view(1, 1, 4, 4)
        >>> down = PolyphaseDownsample2d(2)
        >>> down(x)
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])
        >>> down(x.roll((1, 1), (2, 3))).flatten().sort().values.equal(down(x).flatten().sort().values)
        True

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214.
    """

    def __init__(self, stride: int = 2, *, order: int = 2):
        super().__init__()
        require(isinstance(stride, int) and stride >= 1, "stride", stride, "a whole number of at least 1")
        require(isinstance(order, int) and order >= 1, "order", order, "a whole number of at least 1")
        self.stride, self.order = stride, order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_divides(x, self.stride)
        if torch.compiler.is_exporting():
            return torch.ops.shiftscope.polyphase_downsample(x, self.stride, self.order)
        return take_phase(x, strongest_phase(x, self.stride, self.order), self.stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, order={self.order}"


def check_divides(x: torch.Tensor, stride: int) -> None:
    """Raise a `UsageError` unless `stride` divides the rows and columns of maps (..., H, W)."""
    height, width = x.shape[-2:]
    if height % stride or width % stride:
        raise UsageError(f"a map of {height} x {width} cannot be downsampled by {stride} without losing a row or column"
                         f" of the torus: choose a canvas whose height and width are multiples of the model's total "
                         f"stride")
