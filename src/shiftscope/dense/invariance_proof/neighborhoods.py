"""Rules for operations on neighboring positions: convolutions, pools, padding, slices, rolls."""

from dataclasses import replace
from typing import Any

from shiftscope.dense.invariance_proof.motion import (
    Axes,
    Axis,
    Rule,
    Shape,
    dim_of,
    require_map,
    require_order,
    require_still,
    strided,
)
from shiftscope.dense.unsupported import Unsupported


def conv2d(args: dict[str, Any], shape: Shape) -> Axes:
    """A convolution without padding: it is equivariant to shifts by multiples of its stride."""
    value = require_map(args["input"])
    require_still(args["weight"], args["bias"])
    rows, columns = (_unpadded(axis, sides, stride) for axis, sides, stride in
                     zip(value.axes[2:], args["padding"], _both(args["stride"]), strict=True))
    return (None, None, rows, columns)


def pool(args: dict[str, Any], shape: Shape) -> Axes:
    """Max or average pooling; over a full period the result does not move."""
    value, kernel = require_map(args["self"]), _both(args["kernel_size"])
    stride = _both(args["stride"]) if args["stride"] else kernel
    padding, dilation = _both(args["padding"]), _both(args.get("dilation", 1))
    axes = list(value.axes)
    for k, dim in ((0, 2), (1, 3)):
        extent = dilation[k] * (kernel[k] - 1) + 1
        full_period = kernel[k] == value.shape[dim] and dilation[k] == 1 and value.is_complete(dim)
        if axes[dim] is not None and args["ceil_mode"] and (value.shape[dim] - extent) % stride[k]:
            raise Unsupported("with ceil_mode its last row or column is pooled from fewer positions")
        moved = _unpadded(axes[dim], (padding[k], padding[k]), 1 if full_period else stride[k])
        axes[dim] = None if full_period else moved
    return tuple(axes)


def adaptive(args: dict[str, Any], shape: Shape) -> Axes:
    """Pooling to a given size: over the full period, or of equal parts."""
    value = require_map(args["self"])
    axes = list(value.axes)
    for dim, size in ((2, shape[2]), (3, shape[3])):
        if size == 1 and value.is_complete(dim):
            axes[dim] = None
        elif axes[dim] is not None and value.shape[dim] % size:
            raise Unsupported(f"{value.shape[dim]} positions do not divide into {size} equal parts")
        else:
            axes[dim] = strided(axes[dim], value.shape[dim] // size)
    return tuple(axes)


def pad(args: dict[str, Any], shape: Shape) -> Axes:
    """Circular padding of a full period, or a crop; other padding depends on the border of the map."""
    value, flat, mode = args["self"], list(args["pad"]), args.get("mode", "constant")
    sides = [(0, 0)] * (len(value.shape) - len(flat) // 2)
    sides += [(flat[k], flat[k + 1]) for k in range(len(flat) - 2, -1, -2)]  # the last axis comes first
    for dim, side in enumerate(sides):
        if any(side) and dim == 0:
            raise Unsupported("it pads the batch")
        if any(side) and value.axes[dim] is not None:
            require_order(value.axes[dim])
            if mode == "circular" and min(side) < 0:
                raise Unsupported("circular padding that also crops")
            if mode == "circular" and not value.is_complete(dim):
                raise Unsupported("circular padding of a map that is not a full period")
            if mode != "circular" and max(side) > 0:
                raise Unsupported(f"{mode} padding depends on the border of the map")
    return value.axes


def slice_axis(args: dict[str, Any], shape: Shape) -> Axes:
    """Consecutive positions of a map."""
    value, dim = args["self"], args["dim"] % len(shape)
    axes = list(value.axes)
    if axes[dim] is not None and value.shape[dim] != shape[dim]:
        require_order(axes[dim])
        axes[dim] = strided(axes[dim], args["step"])
    return tuple(axes)


def roll(args: dict[str, Any], shape: Shape) -> Axes:
    """A roll of a full period or of channels."""
    value = args["self"]
    if not args["dims"]:
        raise Unsupported("it rolls a flattened map")
    for dim in args["dims"]:
        require_order(value.axes[dim_of(dim, len(shape))])
        if not value.is_complete(dim % len(shape)):
            raise Unsupported("it rolls a map that is not a full period")
    return value.axes


def flip(args: dict[str, Any], shape: Shape) -> Axes:
    """A mirrored map moves in the opposite direction."""
    axes = list(args["self"].axes)
    for dim in args["dims"]:
        axis = axes[dim_of(dim, len(shape))]
        require_order(axis)
        axes[dim % len(shape)] = None if axis is None else replace(axis, mirrored=not axis.mirrored)
    return tuple(axes)


def _unpadded(axis: Axis | None, sides: Any, stride: int) -> Axis | None:
    """Return the motion of an axis after windows without padding."""
    if axis is None:
        return None
    require_order(axis)
    if any(sides):
        raise Unsupported("its padding depends on the border of the map")
    return strided(axis, stride)


def _both(size: Any) -> tuple[int, int]:
    values = [size] if isinstance(size, int) else list(size)
    return (values[0], values[-1])


RULES: dict[str, Rule] = {
    "conv2d": conv2d, "max_pool2d": pool, "avg_pool2d": pool, "adaptive_avg_pool2d": adaptive,
    "adaptive_max_pool2d": adaptive, "pad": pad, "constant_pad_nd": pad, "slice": slice_axis, "roll": roll,
    "flip": flip}
