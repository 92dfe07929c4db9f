"""What is known of a tensor before there are numbers: along which of its axes it moves when the image does, and how.

Along a moving axis a tensor shows consecutive places of a circle, a field f with f(n + N) = f(n). Another placement
turns that circle: f'(n) = f(n - r), where r is a multiple of `step` that may depend on picture and placement, but is
the same for all tensors whose axes name the same `roll`. How many places are shown (the tensor's length) and where they
begin does not matter until all are summed up: a tensor of length N shows the whole circle, each place once.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from shiftscope.dense.refusal import Refused


@dataclass(frozen=True)
class Axis:
    """An axis along which a tensor moves. Equal ones move alike.

    Args:
        roll: which movement it is.
        period: N, places of the circle.
        step: the circle is turned by multiples of it; divides the period.
        stride: places of the roll's own circle to one of this.
        mirrored: whether it moves backwards.
        bag: the places of several axes in a row, flattened: they change places alike for equal axes, and no more is
            known than that.
    """

    roll: Hashable
    period: int
    step: int = 1
    stride: int = 1
    mirrored: bool = False
    bag: bool = False


Axes = tuple[Axis | None, ...]
"""One for each axis of a tensor, the batch's first; None: nothing moves along it."""

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of `BATCH` images, or one that is the same for all of them, as rules see it.

    Args:
        name: equal for the same tensor.
        shape: of it.
        axes: how it moves.
    """

    name: Hashable
    shape: Shape
    axes: Axes

    @property
    def moves(self) -> bool:
        """Whether any of its axes does."""
        return any(self.axes)

    def is_whole(self, place: int) -> bool:
        """Return whether an axis shows each place of its circle once."""
        axis = self.axes[place]
        return axis is None or self.shape[place] == axis.period


Rule = Callable[[dict[str, Any], Shape], Axes]
"""How the result of an operation moves, from its arguments, values in the place of tensors, and the result's shape."""


def moving(roll: Hashable, period: int, step: int = 1) -> Axis | None:
    """Return an axis that moves; None where no turn by multiples of `step` changes a circle of `period` places.

    >>> moving("rows", 6, 4).step, moving("rows", 6, 6), moving("rows", 1)
    (2, None, None)
    """
    step = math.gcd(step, period)
    return None if step == period else Axis(roll, period, step)


def strided(axis: Axis | None, stride: int) -> Axis | None:
    """Return an axis of which every `stride`-th place is kept, always the same ones.

    Raises:
        Refused: after some turn of the circle these are others.
    """
    if axis is None or stride == 1:
        return axis
    require_circle(axis)
    if axis.step % stride:
        raise Refused(f"a stride of {stride} keeps other places when its map moves by {axis.step}")
    period, step = axis.period // stride, axis.step // stride
    return None if step == period else replace(axis, period=period, step=step, stride=axis.stride * stride)


def require_circle(axis: Axis | None) -> None:
    """Refuse an axis flattened from several, of which some place is wanted."""
    if axis is not None and axis.bag:
        raise Refused("it needs the order of places in a flattened map, which is another at each placement")


def require_whole(value: Value, place: int) -> None:
    """Refuse an axis that moves and shows some places twice or not at all."""
    if not value.is_whole(place):
        raise Refused(f"it looks at {value.shape[place]} places of a map that repeats itself after "
                      f"{value.axes[place].period}: not once around")  # type: ignore[union-attr]


def require_still(value: Value) -> None:
    """Refuse an argument that moves where only the main one may."""
    if value.moves:
        raise Refused("its weights or indices move with the image")
