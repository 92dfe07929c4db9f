"""Layers that look at neighbors: convolutions, pools, padding, cuts. On a circle they do so at every place alike."""

from dataclasses import replace
from typing import Any

from shiftscope.dense.invariance_proof.moving import (
    Axes,
    Axis,
    Rule,
    Shape,
    Value,
    require_circle,
    require_still,
    strided,
)
from shiftscope.dense.refusal import Refused

Pair = tuple[int, int]


def conv2d(args: dict[str, Any], shape: Shape) -> Axes:
    """A convolution without padding of its own: it commutes with turns by multiples of its stride."""
    value = _map(args["input"])
    for weight in (args["weight"], args["bias"]):
        if weight is not None:
            require_still(weight)
    rows, columns = (_unpadded(axis, sides, stride) for axis, sides, stride in
                     zip(value.axes[2:], args["padding"], _both(args["stride"]), strict=True))
    return (None, None, rows, columns)


def pool(args: dict[str, Any], shape: Shape) -> Axes:
    """Max or average pooling; over the whole circle it is the same wherever that begins."""
    value, kernel = _map(args["self"]), _both(args["kernel_size"])
    stride = _both(args["stride"]) if args["stride"] else kernel
    padding, dilation = _both(args["padding"]), _both(args.get("dilation", 1))
    axes = list(value.axes)
    for k in (0, 1):
        place, extent = 2 + k, dilation[k] * (kernel[k] - 1) + 1
        once_around = kernel[k] == value.shape[place] and dilation[k] == 1 and value.is_whole(place)
        if axes[place] is not None and args["ceil_mode"] and (value.shape[place] - extent) % stride[k]:
            raise Refused("with ceil_mode its last row or column is pooled from fewer places")
        moved = _unpadded(axes[place], (padding[k], padding[k]), 1 if once_around else stride[k])
        axes[place] = None if once_around else moved
    return tuple(axes)


def adaptive(args: dict[str, Any], shape: Shape) -> Axes:
    """Pooling to a given size: over the whole circle, or of equal parts without gaps."""
    value = _map(args["self"])
    axes = list(value.axes)
    for place, size in ((2, shape[2]), (3, shape[3])):
        if size == 1 and value.is_whole(place):
            axes[place] = None
        elif axes[place] is not None and value.shape[place] % size:
            raise Refused(f"{value.shape[place]} places do not divide into {size} equal parts")
        else:
            axes[place] = strided(axes[place], value.shape[place] // size)
    return tuple(axes)


def pad(args: dict[str, Any], shape: Shape) -> Axes:
    """Padding all around continues a circle, a negative one crops; any other shows where the map ends."""
    value, flat = args["self"], list(args["pad"])
    sides = [(0, 0)] * (len(value.shape) - len(flat) // 2)
    sides += [(flat[k], flat[k + 1]) for k in range(len(flat) - 2, -1, -2)]  # the last axis comes first
    for place, side in enumerate(sides):
        if any(side) and place == 0:
            raise Refused("it pads the batch")
        if any(side) and value.axes[place] is not None:
            require_circle(value.axes[place])
            _check_sides(value, place, side, args.get("mode", "constant"))
    return value.axes


def _check_sides(value: Value, place: int, side: Pair, mode: str) -> None:
    if mode == "circular":
        if min(side) < 0:
            raise Refused("circular padding that also crops")
        if not value.is_whole(place):
            raise Refused("circular padding of a map that does not go once around")
    elif max(side) > 0:
        raise Refused(f"{mode} padding shows where the map ends")


def cut(args: dict[str, Any], shape: Shape) -> Axes:
    """A slice: consecutive places of a circle are as good as all, as long as nobody takes them for all."""
    value, place = args["self"], args["dim"] % len(shape)
    axes = list(value.axes)
    if axes[place] is not None and value.shape[place] != shape[place]:
        require_circle(axes[place])
        axes[place] = strided(axes[place], args["step"])
    return tuple(axes)


def roll(args: dict[str, Any], shape: Shape) -> Axes:
    """A roll by whole places, of a whole circle or of channels."""
    value = args["self"]
    if not args["dims"]:
        raise Refused("it rolls a flattened map")
    for dim in args["dims"]:
        place = dim % len(shape)
        if place == 0:
            raise Refused("it rolls the batch")
        require_circle(value.axes[place])
        if not value.is_whole(place):
            raise Refused("it rolls a map that does not go once around")
    return value.axes


def flip(args: dict[str, Any], shape: Shape) -> Axes:
    """A mirror image moves backwards."""
    axes = list(args["self"].axes)
    for dim in args["dims"]:
        place = dim % len(shape)
        if place == 0:
            raise Refused("it turns the batch round")
        require_circle(axes[place])
        axis = axes[place]
        axes[place] = None if axis is None else replace(axis, mirrored=not axis.mirrored)
    return tuple(axes)


def _map(value: Any) -> Value:
    if not isinstance(value, Value) or len(value.shape) != 4 or value.axes[1] is not None:
        raise Refused("its input is not laid out as (batch, channel, row, column)")
    return value


def _unpadded(axis: Axis | None, sides: Any, stride: int) -> Axis | None:
    """Return how an axis moves after windows without padding, `stride` places apart."""
    if axis is None:
        return None
    require_circle(axis)
    if any(sides):
        raise Refused("its padding shows where the map ends")
    return strided(axis, stride)


def _both(size: Any) -> Pair:
    values = [size] if isinstance(size, int) else list(size)
    return (values[0], values[-1])


RULES: dict[str, Rule] = {
    "conv2d": conv2d, "max_pool2d": pool, "avg_pool2d": pool, "adaptive_avg_pool2d": adaptive,
    "adaptive_max_pool2d": adaptive, "pad": pad, "constant_pad_nd": pad, "slice": cut, "roll": roll, "flip": flip}
