"""Layers that treat every place alike, and those that sum all places up."""

from collections.abc import Sequence
from typing import Any

from torch.utils import _pytree as pytree

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
from shiftscope.dense.pointwise import ELEMENTWISE
from shiftscope.dense.refusal import Refused

SYMMETRIC = ("mean", "sum", "prod", "amax", "amin", "max", "min", "std", "var", "logsumexp", "linalg_vector_norm",
             "all", "any")
"""Functions of many values whose order does not matter."""


def elementwise(args: dict[str, Any], shape: Shape) -> Axes:
    """A function of the values at one place: all that moves must move alike, and the rest must be one value."""
    values = [leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, Value)]
    if any(value.moves and len(value.shape) != len(shape) for value in values):
        raise Refused("it joins maps of a different number of axes")
    return tuple(_common([_at(value, place - len(shape)) for value in values], length)
                 for place, length in enumerate(shape))


def _at(value: Value, place: int) -> tuple[Axis | None, int]:
    """Return axis and length at a place counted from the last; a tensor of fewer axes has length 1 there."""
    return (value.axes[place], value.shape[place]) if -place <= len(value.shape) else (None, 1)


def _common(found: Sequence[tuple[Axis | None, int]], length: int) -> Axis | None:
    axes = {axis for axis, _ in found if axis is not None}
    if not axes:
        return None
    if len(axes) > 1:
        raise Refused("it joins maps that may have moved by different amounts")
    for axis, n in found:
        if axis is None and n > 1:
            raise Refused("it joins what moves with values of fixed places")
        if axis is not None and n != length:
            raise Refused("it repeats one place of a map for all")
    return axes.pop()


def prelu(args: dict[str, Any], shape: Shape) -> Axes:
    """A slope for each channel."""
    value = args["self"]
    require_still(args["weight"])
    _require_still_channels(value, args["weight"])
    return value.axes


def batch_norm(args: dict[str, Any], shape: Shape) -> Axes:
    """Batch normalization with fixed statistics."""
    value = args["input"]
    if args.get("training") or args.get("use_input_stats"):
        raise Refused("it normalizes by the statistics of the batch")
    for name in ("running_mean", "running_var", "weight", "bias"):
        if isinstance(args.get(name), Value):
            require_still(args[name])
            _require_still_channels(value, args[name])
    return value.axes


def _require_still_channels(value: Value, parameter: Value) -> None:
    if value.axes[1] is not None and max((1, *parameter.shape)) > 1:
        raise Refused("it has a parameter for each place of what moves")


def over_map(args: dict[str, Any], shape: Shape) -> Axes:
    """Group and instance normalization: mean and std of the whole circle do not change when it turns."""
    value = args["input"]
    if len(value.shape) < 3 or value.axes[1] is not None:
        raise Refused("its input is not laid out as (batch, channel, row, column)")
    if args.get("use_input_stats") is False:
        return batch_norm(args, shape)
    for name in ("weight", "bias"):
        if args[name] is not None:
            require_still(args[name])
    for place in range(2, len(shape)):
        require_whole(value, place)
    return value.axes


def layer_norm(args: dict[str, Any], shape: Shape) -> Axes:
    """Layer normalization over the last axes: whole circles, and then without a weight for each place."""
    value, weights = args["input"], [args[name] for name in ("weight", "bias") if args[name] is not None]
    for weight in weights:
        require_still(weight)
    for place in range(len(shape) - len(args["normalized_shape"]), len(shape)):
        require_whole(value, place)
        if value.axes[place] is not None and weights:
            raise Refused("it has a weight for each place of the map")
    return value.axes


def scattering(args: dict[str, Any], shape: Shape) -> Axes:
    """Means over the whole torus, of maps that turn as their input does."""
    value = args["x"]
    if args["pool"] == "local":
        raise Refused("its averages stand some places apart")
    if len(value.shape) != 4 or value.axes[1] is not None:
        raise Refused("its input is not laid out as (batch, channel, row, column)")
    for place in (2, 3):
        require_circle(value.axes[place])
        require_whole(value, place)
    for name in ("phi", "psi", "powers"):
        require_still(args[name])
    return (None,) * len(shape)


def reduction(args: dict[str, Any], shape: Shape) -> Axes:
    """A symmetric function of all values along some axes, whole circles if they move."""
    value, places = args["self"], _dims(args)
    for place in places:
        require_whole(value, place)
    return _without(value, places, args.get("keepdim", False))


def choice(args: dict[str, Any], shape: Shape) -> Axes:
    """Where along an axis that does not move the largest value lies."""
    value, places = args["self"], _dims(args)
    if any(value.axes[place] is not None for place in places):
        raise Refused("it tells at which place of the map something lies")
    return _without(value, places, args.get("keepdim", False))


def _dims(args: dict[str, Any]) -> set[int]:
    dim, rank = args.get("dim"), len(args["self"].shape)
    places = {d % rank for d in ([dim] if isinstance(dim, int) else dim or [])}
    if not places or 0 in places:
        raise Refused("it mixes the images of a batch")
    return places


def _without(value: Value, places: set[int], keep: bool) -> Axes:
    return tuple(None if place in places else axis for place, axis in enumerate(value.axes)
                 if keep or place not in places)


def softmax(args: dict[str, Any], shape: Shape) -> Axes:
    """Softmax over channels, or over a whole circle: its sum does not change when that turns."""
    value, place = args["self"], args["dim"] % len(shape)
    if place == 0:
        raise Refused("it mixes the images of a batch")
    require_whole(value, place)
    return value.axes


def in_order(args: dict[str, Any], shape: Shape) -> Axes:
    """A function along an axis whose order matters: one that does not move."""
    value, place = args["self"], args["dim"] % len(shape)
    if place == 0 or value.axes[place] is not None:
        raise Refused("it works along a map in the order of its places")
    return value.axes


def linear(args: dict[str, Any], shape: Shape) -> Axes:
    """A matrix over the last axis, if that is the channels'."""
    value = args["input"]
    for weight in (args["weight"], args["bias"]):
        if weight is not None:
            require_still(weight)
    if value.axes[-1] is not None:
        raise Refused("it has a weight for each place of the map")
    return value.axes


def uniform(args: dict[str, Any], shape: Shape) -> Axes:
    """One number at every place."""
    return args["self"].axes


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise), **dict.fromkeys(SYMMETRIC, reduction), "argmax": choice,
    "argmin": choice, "prelu": prelu, "batch_norm": batch_norm, "group_norm": over_map, "instance_norm": over_map,
    "layer_norm": layer_norm, "softmax": softmax, "log_softmax": softmax, "cumsum": in_order, "glu": in_order,
    "linear": linear, **dict.fromkeys(("zeros_like", "ones_like", "full_like"), uniform)}
