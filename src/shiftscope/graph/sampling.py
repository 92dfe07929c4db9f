"""How the axes of each value in a graph sample the rows and columns of the canvas, followed from the pixels on.

A shift of the canvas by s pixels moves a map by whole positions where s is a multiple of its stride. Operations that
step over positions (strided layers, slices, resizing, reshapes that split an axis, regular indices) make strides
larger. An operation with one output position along an axis has no stride there: it never takes a step.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from torch import fx

from shiftscope.graph.editable import Editable, op_of, sizes

Pair = tuple[int, int]


def pair(value: int | Sequence[int]) -> Pair:
    """Return one number, or one or two in a sequence, as (down, right).

    >>> pair(2), pair([3]), pair((1, 2))
    ((2, 2), (3, 3), (1, 2))
    """
    values = (value,) if isinstance(value, int) else tuple(value)
    return values[0], values[-1]


@dataclass(frozen=True)
class Part:
    """An axis of a tensor, or a part of one: a reshape makes one axis of several, the slowest first.

    Args:
        length: positions.
        line: 0: it samples the rows of the canvas; 1: its columns; None: neither.
        stride: pixels from one position to the next; below 1 after upsampling.
    """

    length: int
    line: int | None = None
    stride: Fraction = Fraction(1)


Axis = tuple[Part, ...]
Axes = tuple[Axis, ...]
Rule = Callable[["Sampling", fx.Node, list[int]], Axes]
"""The axes of an operation's result, from the sampling so far, the operation and the lengths of the result's axes."""


class Sampling:
    """The axes of every value of a network.

    Args:
        net: read, not changed.
        rules: by the operation's plain name; `by_shape` for all others.

    Attributes:
        axes: of each node's result.
        strides: the smallest shift down, and right, that moves every map by whole positions.
        uneven: nodes that resize a map such that no shift below the canvas moves the result by whole positions.
    """

    def __init__(self, net: Editable, rules: Mapping[str, "Rule"], by_shape: "Rule"):
        self.net, self.canvas, self.rules, self.by_shape = net, net.shape[1:], rules, by_shape
        self.axes: dict[fx.Node, Axes] = {}
        self.uneven: list[fx.Node] = []
        self.strides: Pair = (1, 1)
        for node in net.pixel_nodes():
            found = self._follow(node)
            self.axes[node] = found
            for part in (part for axis in found for part in axis):
                self.require(part.line, part.stride.numerator)

    def _follow(self, node: fx.Node) -> Axes:
        lengths = _lengths(node)
        if node.op == "placeholder":
            return (*(whole(n) for n in lengths[:2]), (Part(lengths[2], 0),), (Part(lengths[3], 1),))
        try:
            found = self.rules.get(op_of(node), self.by_shape)(self, node, lengths)
        except (IndexError, KeyError, TypeError, ValueError):  # a call that no rule has foreseen
            found = self.by_shape(self, node, lengths)
        fits = len(found) == len(lengths) and all(
            math.prod(part.length for part in axis) == n for axis, n in zip(found, lengths, strict=True))
        return tuple(ended(axis) for axis in found) if fits else tuple(whole(n) for n in lengths)

    def require(self, line: int | None, period: int) -> None:
        """Note that only multiples of a shift move something by whole positions."""
        if line is not None:
            down, right = self.strides
            self.strides = (math.lcm(down, period), right) if line == 0 else (down, math.lcm(right, period))

    def of(self, source: Any) -> Axes:
        """Return the axes of an argument, which no pixel may have reached."""
        return self.axes.get(source) or tuple(whole(n) for n in _lengths(source))

    def moves(self, node: fx.Node, line: int) -> list[int]:
        """Return which axes of a node's result hold positions along the rows (0) or the columns (1)."""
        return [place for place, axis in enumerate(self.axes[node]) if any(part.line == line for part in axis)]

    def first(self, node: fx.Node) -> Axes:
        """Return the axes of the first argument that depends on the pixels."""
        return next(self.axes[source] for source in node.all_input_nodes if source in self.axes)

    def stepped(self, axis: Axis, step: Fraction | int, length: int) -> Axis:
        """Return an axis of which every `step`-th position is kept; below 1: positions are added between them."""
        if length == 1 or all(part.line is None for part in axis):
            return whole(length)
        if len(axis) == 1:
            return (replace(axis[0], length=length, stride=axis[0].stride * step),)
        last = axis[-1]
        if isinstance(step, int) and last.length % step == 0:
            kept = whole(last.length // step) if last.line is None else self.stepped((last,), step, last.length // step)
            return (*axis[:-1], *kept)
        for part in axis:
            self.require(part.line, (part.stride * step).numerator)
        return whole(length)

    def resized(self, node: fx.Node, axis: Axis, length: int) -> Axis:
        """Return an axis that was resampled evenly to a length, or none that moves where the steps never fit."""
        before, moving = math.prod(part.length for part in axis), [part for part in axis if part.line is not None]
        if before == length:
            return axis
        if length == 1 or len(axis) > 1 or not moving:
            return whole(length)
        stride, size = moving[0].stride * Fraction(before, length), self.canvas[moving[0].line or 0]
        if before % length and length % before and (size % stride.numerator or stride.numerator == size):
            self.uneven.append(node)
            return whole(length)
        return (replace(moving[0], length=length, stride=stride),)

    def constant(self, node: Any) -> Any:
        """Return a value that no pixel reaches, computed from the model's tensors.

        Raises:
            ValueError: it depends on the pixels or the batch.
        """
        if not isinstance(node, fx.Node):
            return [self.constant(one) for one in node] if isinstance(node, list | tuple) else node
        if node.op == "get_attr":
            return self.net.parts[str(node.target)]
        if node.op != "call_function" or node in self.axes or not callable(node.target):
            raise ValueError(f"{node} is no constant")
        values = [self.constant(value) for value in node.args]
        return node.target(*values, **{key: self.constant(value) for key, value in node.kwargs.items()})


def whole(length: int) -> Axis:
    """Return an axis that samples neither rows nor columns."""
    return (Part(length),)


def ended(axis: Axis) -> Axis:
    """Return an axis without strides where one position is left."""
    return tuple(Part(1) if part.length == 1 else part for part in axis)


def cropped(axis: Axis, length: int) -> Axis:
    """Return an axis that shows more or fewer positions, as far apart as before."""
    moving = [part for part in axis if part.line is not None]
    if math.prod(part.length for part in axis) == length:
        return axis
    return (replace(moving[-1], length=length),) if moving and length > 1 else whole(length)


def _lengths(node: fx.Node) -> list[int]:
    """Return the lengths of a result's axes, -1 where one depends on the pixels."""
    found = []
    for size in sizes(node):
        try:
            found.append(int(size))
        except Exception:  # torch's own: a size that only running the model would tell
            found.append(-1)
    return found
