"""What lies beyond the border of a map: its other side, or the empty canvas, but not zeros.

Padding with zeros paints a frame around every map: the background is rarely zero after normalization and never after a
bias, so near the border a filter answers to the frame. A net can read the place of an object from that.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.maps import check_maps

Sides = tuple[int, int, int, int]
"""Columns left and right, rows above and below: the order of `torch.nn.functional.pad`."""


def four_sides(sides: int | Sequence[int]) -> Sides:
    """Return (left, right, top, bottom); one number stands for all of them.

    >>> four_sides(2), four_sides((0, 1, 2, 3))
    ((2, 2, 2, 2), (0, 1, 2, 3))
    """
    values = tuple(sides) if isinstance(sides, Sequence) else (sides,) * 4
    whole = len(values) == 4 and all(isinstance(n, int) and n >= 0 for n in values)
    require(whole, "sides", sides, "a whole number of at least 0, or four of them: left, right, top, bottom")
    left, right, top, bottom = values
    return left, right, top, bottom


class CircularPad2d(nn.Module):
    """Continue a map on its other side, as a torus does: convolutions after it commute with circular shifts.

    Torch's own goes around once at most; this one as often as needed, so that a large kernel may follow a small map.

    Args:
        sides: rows and columns to add on each side, or (left, right, top, bottom).

    Raises:
        UsageError: sides below 0; (in forward) not a map (B, C, H, W).

    Example:
        >>> CircularPad2d((2, 1, 0, 0))(torch.tensor([[[[1.0, 2.0, 3.0]]]]))
        tensor([[[[2., 3., 1., 2., 3., 1.]]]])
    """

    def __init__(self, sides: int | Sequence[int]):
        super().__init__()
        self.sides = four_sides(sides)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x, "CircularPad2d")
        left, right, top, bottom = self.sides
        if max(left, right) <= x.shape[3] and max(top, bottom) <= x.shape[2]:
            return F.pad(x, self.sides, mode="circular")
        return _continued(_continued(x, 2, top, bottom), 3, left, right)

    def extra_repr(self) -> str:
        return f"sides={self.sides}"


def _continued(x: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """Return a map with so many places more along an axis, going around as often as that takes."""
    size = x.shape[axis]
    rounds_before, rounds_after = -(-before // size), -(-after // size)
    turns = torch.cat([x] * (rounds_before + 1 + rounds_after), axis)
    return turns.narrow(axis, rounds_before * size - before, before + size + after)


class BackgroundPad2d(nn.Module):
    """Surround a map with what an empty canvas gives at this place of the net, so that no frame is seen.

    The object then has the same surroundings near the border and far from it. What reaches beyond the border of the
    map is lost, so a net with this padding is indifferent to place only while the object's reach stays inside.

    Args:
        sides: rows and columns to add on each side, or (left, right, top, bottom).
        value: of the empty canvas, one for all channels or one a channel; a buffer, saved with the weights.

    Raises:
        UsageError: sides below 0, values that are not finite; (in forward) another number of channels.

    Example:
        >>> BackgroundPad2d((1, 0, 0, 0), [5.0, 7.0])(torch.zeros(1, 2, 1, 1)).flatten().tolist()
        [5.0, 0.0, 7.0, 0.0]
    """

    value: torch.Tensor

    def __init__(self, sides: int | Sequence[int], value: float | Sequence[float] | torch.Tensor):
        super().__init__()
        self.sides = four_sides(sides)
        values = torch.as_tensor(value).detach().clone()
        values = values if values.is_floating_point() else values.float()
        ok = values.ndim <= 1 and values.numel() >= 1 and bool(values.isfinite().all())
        require(ok, "value", value, "a finite number, or one a channel")
        self.register_buffer("value", values.reshape(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.value.shape[1]
        check_maps(x, "BackgroundPad2d", channels=channels if channels > 1 else None)
        if x.dtype != self.value.dtype:
            raise UsageError(f"BackgroundPad2d holds {self.value.dtype}, the maps are {x.dtype}: move the model with "
                             f".to({x.dtype})")
        if x.dtype.itemsize >= 4:  # less the background, zeros are what is there: the dense engine can follow that
            return F.pad(x - self.value, self.sides) + self.value
        wide = self.value.float()  # in half precision the difference would lose digits of the map
        return (F.pad(x.float() - wide, self.sides) + wide).to(x.dtype)

    def extra_repr(self) -> str:
        return f"sides={self.sides}"
