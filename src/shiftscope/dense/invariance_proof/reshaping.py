"""Rules for operations that compute nothing: they join, repeat, flatten and permute axes."""

import math
from collections.abc import Iterator
from typing import Any

from shiftscope.dense.invariance_proof.motion import (
    Axes,
    Axis,
    Rule,
    Shape,
    Value,
    dim_of,
    require_complete,
    require_order,
    require_still,
)
from shiftscope.dense.unsupported import Unsupported
from shiftscope.graph import BATCH


def reshape(args: dict[str, Any], shape: Shape) -> Axes:
    """A reshape that adds or removes axes of length 1, splits still axes, or flattens full periods into a bag."""
    value = args["self"]
    if not shape or shape[0] != BATCH:
        raise Unsupported("it mixes the images of a batch")
    if any(axis is not None and n == 1 for axis, n in zip(value.axes, value.shape, strict=True)):
        raise Unsupported("it has a single position of a map that moves")
    axes: list[Axis | None] = [None] * len(shape)
    for before, after in _groups(value.shape, shape):
        if 0 in before and (before, after) != ([0], [0]):
            raise Unsupported("it mixes the images of a batch")
        for dim, axis in zip(after, _regrouped(value, before, [shape[k] for k in after]), strict=True):
            axes[dim] = axis
    return tuple(axes)


def _groups(before: Shape, after: Shape) -> Iterator[tuple[list[int], list[int]]]:
    """Yield dimensions longer than 1 on both sides that hold the same values.

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
    """Return the motion of the axes of `sizes` that the axes `before` become."""
    axes = [value.axes[k] for k in before]
    if not any(axes):
        return [None] * len(sizes)
    if len(before) == len(sizes) == 1:
        return axes
    for dim in before:
        require_complete(value, dim)
    if len(sizes) == 1:
        return [Axis(tuple((value.shape[k], value.axes[k]) for k in before), sizes[0], bag=True)]
    first = axes[0]
    if len(before) == 1 and first is not None and first.bag and isinstance(first.roll, tuple):
        lengths, parts = zip(*first.roll, strict=True)
        if list(lengths) == sizes:  # the inverse of the flattening
            return list(parts)
    raise Unsupported("it splits rows or columns into parts")


def permute(args: dict[str, Any], shape: Shape) -> Axes:
    """A permutation that keeps the batch axis."""
    if args["dims"][0] != 0:
        raise Unsupported("it moves the batch axis")
    return tuple(args["self"].axes[dim] for dim in args["dims"])


def select(args: dict[str, Any], shape: Shape) -> Axes:
    """One of several channels; the axis is removed."""
    value = args["self"]
    dim = dim_of(args["dim"], len(value.shape))
    if value.axes[dim] is not None:
        raise Unsupported("it selects one position of a map that moves")
    return value.axes[:dim] + value.axes[dim + 1:]


def index(args: dict[str, Any], shape: Shape) -> Axes:
    """Channels selected by a list."""
    value, indices = args["self"], list(args["indices"])
    dims = [k for k, chosen in enumerate(indices) if chosen is not None]
    if len(dims) != 1 or len(indices[dims[0]].shape) != 1:
        raise Unsupported("it indexes positions with a list")
    return _indexed(value, dims[0], indices[dims[0]])


def index_select(args: dict[str, Any], shape: Shape) -> Axes:
    """Channels selected by a list."""
    return _indexed(args["self"], args["dim"] % len(shape), args["index"])


def _indexed(value: Value, dim: int, indices: Value) -> Axes:
    require_still(indices)
    if dim == 0 or value.axes[dim] is not None:
        raise Unsupported("it indexes positions of a map or images of the batch with a list")
    return value.axes


def expand(args: dict[str, Any], shape: Shape) -> Axes:
    """Repeats values along axes of length 1 that do not move."""
    value = args["self"]
    _require_rank(value, shape)
    if any(old != new and axis is not None for axis, old, new in zip(value.axes, value.shape, shape, strict=True)):
        raise Unsupported("it repeats one position of a map")
    return value.axes


def repeat(args: dict[str, Any], shape: Shape) -> Axes:
    """Repeats channels or full periods."""
    value = args["self"]
    _require_rank(value, shape)
    for dim, (old, new) in enumerate(zip(value.shape, shape, strict=True)):
        if old != new:
            require_order(value.axes[dim])
            require_complete(value, dim)
    return value.axes


def _require_rank(value: Value, shape: Shape) -> None:
    if len(value.shape) != len(shape) or shape[0] != value.shape[0]:
        raise Unsupported("it adds an axis before the batch, or repeats its images")


def cat(args: dict[str, Any], shape: Shape) -> Axes:
    """Concatenates channels of maps that move together, or a full period with itself."""
    values, dim = list(args["tensors"]), args["dim"] % len(shape)
    axes = _equal([value.axes[:dim] + value.axes[dim + 1:] for value in values])
    if any(value.axes[dim] is not None for value in values):
        for value in values:
            require_order(value.axes[dim])
            require_complete(value, dim)
        if len({value.name for value in values}) > 1:
            raise Unsupported("it concatenates different maps along an axis that moves")
    return (*axes[:dim], values[0].axes[dim], *axes[dim:])


def stack(args: dict[str, Any], shape: Shape) -> Axes:
    """Joins maps that move together along a new axis."""
    dim = dim_of(args["dim"], len(shape))
    axes = _equal([value.axes for value in args["tensors"]])
    return (*axes[:dim], None, *axes[dim:])


def _equal(axes: list[Axes]) -> Axes:
    for other in axes[1:]:
        if other != axes[0]:
            still = any((a is None) != (b is None) for a, b in zip(other, axes[0], strict=True))
            raise Unsupported("it joins a map that moves with values at fixed positions" if still else
                              "it joins maps that may move by different amounts")
    return axes[0]


RULES: dict[str, Rule] = {
    "reshape": reshape, "permute": permute, "select": select, "index": index, "index_select": index_select,
    "expand": expand, "repeat": repeat, "tile": repeat, "cat": cat, "stack": stack}
