"""Rules for operations that treat all positions alike, for reductions, and for selections by content."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from shiftscope.dense.invariance_proof.motion import (
    Axes,
    Axis,
    Rule,
    Shape,
    Value,
    dim_of,
    moving_axis,
    require_complete,
    require_map,
    require_order,
    require_still,
)
from shiftscope.dense.pointwise import ELEMENTWISE
from shiftscope.dense.unsupported import Unsupported
from shiftscope.models.forward import to_pixels
from shiftscope.placement import Placement

SYMMETRIC = ("mean", "sum", "prod", "amax", "amin", "max", "min", "std", "var", "logsumexp", "linalg_vector_norm",
             "all", "any")
"""Reductions that do not depend on the order of the values."""

PIXELS = "pixels"
"""Name of the value of the placed image."""

EXACT_CHANNELS = 6
"""`Recenter` resolves ties exactly (in float64) up to this number of channels."""


def elementwise(args: dict[str, Any], shape: Shape) -> Axes:
    """All moving arguments must move together; along their axes the others must have a single value."""
    values = [leaf for leaf in pytree.tree_leaves(args) if isinstance(leaf, Value)]
    if any(value.moves and len(value.shape) != len(shape) for value in values):
        raise Unsupported("it joins maps with different numbers of axes")
    return tuple(_common([(value.axes[dim], value.shape[dim]) for value in values if -dim <= len(value.shape)],
                         shape[dim]) for dim in range(-len(shape), 0))


def _common(axes: Sequence[tuple[Axis | None, int]], length: int) -> Axis | None:
    moving = {axis for axis, _ in axes if axis is not None}
    if not moving:
        return None
    if len(moving) > 1:
        raise Unsupported("it joins maps that may move by different amounts")
    for axis, n in axes:
        if axis is None and n > 1:
            raise Unsupported("it joins a map that moves with values at fixed positions")
        if axis is not None and n != length:
            raise Unsupported("it repeats one position of a map")
    return moving.pop()


def per_channel(args: dict[str, Any], shape: Shape) -> Axes:
    """PReLU, and batch normalization with fixed statistics."""
    value = args["self"] if "self" in args else args["input"]
    if args.get("training") or args.get("use_input_stats"):
        raise Unsupported("it normalizes by the statistics of the batch")
    for name in ("running_mean", "running_var", "weight", "bias"):
        parameter = args.get(name)
        if isinstance(parameter, Value):
            require_still(parameter)
            if value.axes[1] is not None and max((1, *parameter.shape)) > 1:
                raise Unsupported("it has a parameter for each position of a map that moves")
    return value.axes


def normalize_map(args: dict[str, Any], shape: Shape) -> Axes:
    """Group and instance normalization: mean and std over the full period do not change."""
    value = args["input"]
    if len(value.shape) < 3 or value.axes[1] is not None:
        raise Unsupported("its input is not (batch, channel, row, column)")
    if args.get("use_input_stats") is False:
        return per_channel(args, shape)
    require_still(args["weight"], args["bias"])
    for dim in range(2, len(shape)):
        require_complete(value, dim)
    return value.axes


def layer_norm(args: dict[str, Any], shape: Shape) -> Axes:
    """Layer normalization over full periods without a weight per position, or over axes that do not move."""
    value = args["input"]
    require_still(args["weight"], args["bias"])
    for dim in range(len(shape) - len(args["normalized_shape"]), len(shape)):
        require_complete(value, dim)
        if value.axes[dim] is not None and (args["weight"] is not None or args["bias"] is not None):
            raise Unsupported("it has a weight for each position of the map")
    return value.axes


def reduction(args: dict[str, Any], shape: Shape) -> Axes:
    """A symmetric function over full periods or axes that do not move."""
    value, dims = args["self"], _dims(args)
    for dim in dims:
        require_complete(value, dim)
    return _without(value, dims, args.get("keepdim", False))


def argmax(args: dict[str, Any], shape: Shape) -> Axes:
    """The index of an extremum along axes that do not move."""
    value, dims = args["self"], _dims(args)
    if any(value.axes[dim] is not None for dim in dims):
        raise Unsupported("it returns a position of a map that moves")
    return _without(value, dims, args.get("keepdim", False))


def _dims(args: dict[str, Any]) -> set[int]:
    dim, rank = args.get("dim"), len(args["self"].shape)
    return {dim_of(d, rank) for d in ([dim] if isinstance(dim, int) else dim or [0])}


def _without(value: Value, dims: set[int], keep: bool) -> Axes:
    return tuple(None if dim in dims else axis for dim, axis in enumerate(value.axes) if keep or dim not in dims)


def softmax(args: dict[str, Any], shape: Shape) -> Axes:
    """Softmax over a full period, or over an axis that does not move."""
    value = args["self"]
    require_complete(value, dim_of(args["dim"], len(shape)))
    return value.axes


def ordered(args: dict[str, Any], shape: Shape) -> Axes:
    """A function of the order along an axis that does not move."""
    if args["self"].axes[dim_of(args["dim"], len(shape))] is not None:
        raise Unsupported("it depends on the order of positions along a map that moves")
    return args["self"].axes


def linear(args: dict[str, Any], shape: Shape) -> Axes:
    """A matrix over the last axis if it does not move."""
    require_still(args["weight"], args["bias"])
    if args["input"].axes[-1] is not None:
        raise Unsupported("it has a weight for each position of the map")
    return args["input"].axes


def scattering(args: dict[str, Any], shape: Shape) -> Axes:
    """Means over the whole torus of maps that move with their input."""
    value = require_map(args["x"])
    if args["pool"] == "local":
        raise Unsupported("its averages are taken at a distance of several positions")
    for dim in (2, 3):
        require_order(value.axes[dim])
        require_complete(value, dim)
    require_still(args["phi"], args["psi"], args["powers"])
    return (None,) * len(shape)


def polyphase(args: dict[str, Any], shape: Shape) -> Axes:
    """One of stride x stride components, selected by its content: a smaller map that is shifted by any amount."""
    return _selected(args["x"], args["stride"], ("component", args["order"]), period=1, step=1)


def phase_to_origin(args: dict[str, Any], shape: Shape) -> Axes:
    """A roll that depends on the content; afterwards the map moves by multiples of the stride."""
    return _selected(args["x"], args["stride"], ("origin", args["order"]), period=args["stride"], step=args["stride"])


def _selected(value: Value, stride: int, key: tuple[Any, ...], *, period: int, step: int) -> Axes:
    """Return the motion after a selection of a phase: by a new roll, which depends on the image."""
    axes = []
    for dim in (2, 3):
        require_complete(require_map(value), dim)
        if value.shape[dim] % stride:
            raise Unsupported(f"a stride of {stride} does not divide {value.shape[dim]} positions")
        axes.append(moving_axis((*key, value.name, stride, dim), value.shape[dim] // stride * period, step))
    return (None, None, *axes)


def recenter(placement: Placement, dtype: torch.dtype) -> Rule:
    """Return the rule of `Recenter`, whose result does not move if it has the right background."""

    def rule(args: dict[str, Any], shape: Shape) -> Axes:
        if args["pixels"].name != PIXELS:
            raise Unsupported("its input is not the pixels, so the background is unknown")
        if shape[1] > EXACT_CHANNELS:
            raise Unsupported(f"ties between windows are resolved exactly for at most {EXACT_CHANNELS} channels")
        if not isinstance(placement.background, int):
            raise Unsupported("the background is a texture")
        level = to_pixels(torch.tensor(placement.background, dtype=torch.uint8), dtype)
        if not bool(level == level.new_tensor(args["background"])):
            raise Unsupported(f"its background is {args['background']:g}, that of the placement "
                              f"{placement.background} / 255")
        return (None,) * len(shape)

    return rule


def custom_rules(placement: Placement, dtype: torch.dtype) -> dict[str, Rule]:
    """Return the rules of the package's own operations by their registered names."""
    return {"shiftscope::polyphase_downsample": polyphase, "shiftscope::phase_to_origin": phase_to_origin,
            "shiftscope::recenter": recenter(placement, dtype), "shiftscope::scattering": scattering}


RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise), **dict.fromkeys(SYMMETRIC, reduction),
    **dict.fromkeys(("argmax", "argmin"), argmax), **dict.fromkeys(("prelu", "batch_norm"), per_channel),
    **dict.fromkeys(("group_norm", "instance_norm"), normalize_map), "layer_norm": layer_norm,
    **dict.fromkeys(("softmax", "log_softmax"), softmax), **dict.fromkeys(("cumsum", "glu"), ordered), "linear": linear,
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), lambda args, shape: args["self"].axes)}
