"""How the axes of a tensor move when the placement of the image changes, known before there are values.

Along a moving axis a tensor holds consecutive positions of a periodic signal f with f(n + N) = f(n). Another placement
shifts the signal: f'(n) = f(n - r). The shift r is a multiple of `step`; it may depend on image and placement, but is
the same for all tensors whose axes have the same `roll`. The number of positions that a tensor holds, and the first of
them, only matter for a reduction: a tensor of length N holds each position once.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from shiftscope.dense.unsupported import Unsupported


@dataclass(frozen=True)
class Axis:
    """A moving axis. Equal axes move together.

    Args:
        roll: identifies the shift.
        period: N, length of the periodic signal.
        step: shifts are multiples of it; a divisor of the period.
        stride: positions of the original signal per position of this one.
        mirrored: True if it moves in the opposite direction.
        bag: True for several axes that were flattened: the order of their positions is unknown.
    """

    roll: Hashable
    period: int
    step: int = 1
    stride: int = 1
    mirrored: bool = False
    bag: bool = False


Axes = tuple[Axis | None, ...]
"""One entry per axis of a tensor, the batch axis first; None if it does not move."""

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor for a batch of `BATCH` images, or one that is the same for all of them.

    Args:
        name: equal for the same tensor.
        shape: its shape.
        axes: its motion.
    """

    name: Hashable
    shape: Shape
    axes: Axes

    @property
    def moves(self) -> bool:
        return any(self.axes)

    def is_complete(self, dim: int) -> bool:
        """Return True if an axis does not move or holds each position once."""
        axis = self.axes[dim]
        return axis is None or self.shape[dim] == axis.period


Rule = Callable[[dict[str, Any], Shape], Axes]
"""Function from the arguments of an operation (with values as tensors) and the shape of its result to its motion."""


def moving_axis(roll: Hashable, period: int, step: int = 1) -> Axis | None:
    """Return a moving axis; None if shifts by multiples of `step` do not change a signal of that period.

    >>> moving_axis("rows", 6, 4).step, moving_axis("rows", 6, 6), moving_axis("rows", 1)
    (2, None, None)
    """
    step = math.gcd(step, period)
    return None if step == period else Axis(roll, period, step)


def strided(axis: Axis | None, stride: int) -> Axis | None:
    """Return an axis of which every `stride`-th position is kept, the same ones after every shift."""
    if axis is None or stride == 1:
        return axis
    require_order(axis)
    if axis.step % stride:
        raise Unsupported(f"a stride of {stride} selects other positions when its map moves by {axis.step}")
    period, step = axis.period // stride, axis.step // stride
    return None if step == period else replace(axis, period=period, step=step, stride=axis.stride * stride)


def require_order(axis: Axis | None) -> None:
    """Raise `Unsupported` for a bag."""
    if axis is not None and axis.bag:
        raise Unsupported("it depends on the order of positions in a flattened map, which depends on the placement")


def require_complete(value: Value, dim: int) -> None:
    """Raise `Unsupported` if a moving axis is not a full period."""
    axis = value.axes[dim]
    if axis is not None and value.shape[dim] != axis.period:
        raise Unsupported(f"it reads {value.shape[dim]} positions of a map with period {axis.period}")


def require_still(*values: Value | None) -> None:
    """Raise `Unsupported` if weights or indices move."""
    if any(value is not None and value.moves for value in values):
        raise Unsupported("its weights or indices move with the image")


def require_map(value: Any) -> Value:
    """Return a value (batch, channel, row, column) whose channels do not move."""
    if not isinstance(value, Value) or len(value.shape) != 4 or value.axes[1] is not None:
        raise Unsupported("its input is not (batch, channel, row, column)")
    return value


def dim_of(dim: int, rank: int) -> int:
    """Return a dimension counted from the first one; it must not be the batch."""
    if dim % rank == 0:
        raise Unsupported("it mixes the images of a batch")
    return dim % rank
