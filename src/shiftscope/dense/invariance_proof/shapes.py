"""Layers that compute nothing: they join, repeat, flatten and turn axes."""

import math
from collections.abc import Iterator
from typing import Any

from shiftscope.dense.invariance_proof.moving import (
    Axes,
    Axis,
    Rule,
    Shape,
    Value,
    require_circle,
    require_still,
    require_whole,
)
from shiftscope.dense.refusal import Refused
from shiftscope.graph import BATCH


def reshape(args: dict[str, Any], shape: Shape) -> Axes:
    """A reshape that adds and drops axes of length 1, takes still axes apart, or flattens whole circles into a bag."""
    value = args["self"]
    if not shape or shape[0] != BATCH:
        raise Refused("it mixes the images of a batch")
    if any(axis is not None and n == 1 for axis, n in zip(value.axes, value.shape, strict=True)):
        raise Refused("it has one place left of a map that moves")
    axes: list[Axis | None] = [None] * len(shape)
    for before, after in _groups(value.shape, shape):
        if 0 in before and (before, after) != ([0], [0]):
            raise Refused("it mixes the images of a batch")
        for place, axis in zip(after, _regrouped(value, before, [shape[k] for k in after]), strict=True):
            axes[place] = axis
    return tuple(axes)


def _groups(before: Shape, after: Shape) -> Iterator[tuple[list[int], list[int]]]:
    """Yield places of axes longer than 1 on both sides that hold the same values.

    >>> list(_groups((2, 6, 1, 5), (2, 2, 3, 5, 1)))
    [([0], [0]), ([1], [1, 2]), ([3], [3])]
    """
    left, right = ([k for k, n in enumerate(sizes) if n > 1] for sizes in (before, after))
    while left or right:
        a, b = [left.pop(0)], [right.pop(0)]
        while (m := math.prod(before[k] for k in a)) != (n := math.prod(after[k] for k in b)):
            (a if m < n else b).append((left if m < n else right).pop(0))
        yield a, b


def _regrouped(value: Value, before: list[int], sizes: list[int]) -> list[Axis | None]:
    """Return how the axes of `sizes` move that the axes `before` become."""
    axes = [value.axes[k] for k in before]
    if not any(axes):
        return [None] * len(sizes)
    if len(before) == len(sizes) == 1:
        return axes
    for place in before:
        require_whole(value, place)
    key = tuple((value.shape[k], value.axes[k]) for k in before)
    if len(sizes) == 1:
        return [Axis(key, sizes[0], bag=True)]
    first = axes[0]
    if len(before) == 1 and first is not None and first.bag and isinstance(first.roll, tuple):
        lengths, parts = zip(*first.roll, strict=True)
        if list(lengths) == sizes:  # flattened before, and now taken apart as it was
            return list(parts)
    raise Refused("it splits rows or columns into parts")


def permute(args: dict[str, Any], shape: Shape) -> Axes:
    """Turns axes; the images of a batch stay apart."""
    dims = args["dims"]
    if dims[0] != 0:
        raise Refused("it moves the batch axis")
    return tuple(args["self"].axes[dim] for dim in dims)


def select(args: dict[str, Any], shape: Shape) -> Axes:
    """One of several channels; its axis goes."""
    value = args["self"]
    place = args["dim"] % len(value.shape)
    if place == 0:
        raise Refused("it picks one image of the batch")
    if value.axes[place] is not None:
        raise Refused("it picks one place of a map that moves")
    return value.axes[:place] + value.axes[place + 1:]


def index(args: dict[str, Any], shape: Shape) -> Axes:
    """Channels picked by a list."""
    value, chosen = args["self"], list(args["indices"])
    places = [k for k, one in enumerate(chosen) if one is not None]
    if len(places) != 1 or len(chosen[places[0]].shape) != 1:
        raise Refused("it picks places by a list")
    return _picked(value, places[0], chosen[places[0]])


def index_select(args: dict[str, Any], shape: Shape) -> Axes:
    """The same by its other name."""
    return _picked(args["self"], args["dim"] % len(shape), args["index"])


def _picked(value: Value, place: int, chosen: Value) -> Axes:
    require_still(chosen)
    if place == 0 or value.axes[place] is not None:
        raise Refused("it picks places of a map or images of the batch by a list")
    return value.axes


def expand(args: dict[str, Any], shape: Shape) -> Axes:
    """Repeats a value along axes of length 1 that do not move."""
    value = args["self"]
    _require_rank(value, shape)
    for axis, old, new in zip(value.axes, value.shape, shape, strict=True):
        if old != new and axis is not None:
            raise Refused("it repeats one place of a map for all")
    return value.axes


def repeat(args: dict[str, Any], shape: Shape) -> Axes:
    """Repeats channels, or a whole circle, which then goes on."""
    value = args["self"]
    _require_rank(value, shape)
    for place, (old, new) in enumerate(zip(value.shape, shape, strict=True)):
        if old != new:
            require_circle(value.axes[place])
            require_whole(value, place)
    return value.axes


def _require_rank(value: Value, shape: Shape) -> None:
    if len(value.shape) != len(shape) or shape[0] != value.shape[0]:
        raise Refused("it adds an axis in front of the batch, or repeats its images")


def cat(args: dict[str, Any], shape: Shape) -> Axes:
    """Joins channels of maps that move alike, or one whole circle with itself."""
    values, place = list(args["tensors"]), args["dim"] % len(shape)
    axes = _alike([value.axes[:place] + value.axes[place + 1:] for value in values])
    along = {value.axes[place] for value in values}
    if along != {None}:
        for value in values:
            require_circle(value.axes[place])
            require_whole(value, place)
        if len({value.name for value in values}) > 1:
            raise Refused("it puts different maps side by side")
    return (*axes[:place], values[0].axes[place], *axes[place:])


def stack(args: dict[str, Any], shape: Shape) -> Axes:
    """Joins maps that move alike along a new axis."""
    place = args["dim"] % len(shape)
    if place == 0:
        raise Refused("it adds an axis in front of the batch")
    axes = _alike([value.axes for value in args["tensors"]])
    return (*axes[:place], None, *axes[place:])


def _alike(axes: list[Axes]) -> Axes:
    for one in axes[1:]:
        if one != axes[0]:
            still = any((a is None) != (b is None) for a, b in zip(one, axes[0], strict=True))
            raise Refused("it joins what moves with values of fixed places" if still else
                          "it joins maps that may have moved by different amounts")
    return axes[0]


RULES: dict[str, Rule] = {
    "reshape": reshape, "permute": permute, "select": select, "index": index, "index_select": index_select,
    "expand": expand, "repeat": repeat, "tile": repeat, "cat": cat, "stack": stack}
