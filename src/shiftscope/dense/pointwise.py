"""Layers that treat every place alike: functions of one value, sums of fields, functions of a place's channels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.utils import _pytree as pytree

from shiftscope.dense.field import Field, joined, layout_of, reader
from shiftscope.dense.pooling import across_channels, reduced_axes
from shiftscope.dense.program import Program, Rule, Shape
from shiftscope.dense.refusal import Refused

ELEMENTWISE = frozenset({
    "_to_copy", "abs", "acos", "add", "addcdiv", "addcmul", "asin", "asinh", "atan", "atan2", "bitwise_and",
    "bitwise_not", "bitwise_or", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "cos", "cosh", "div", "elu",
    "eq", "erf", "erfc", "exp", "exp2", "expm1", "floor", "fmod", "ge", "gelu", "gt", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "heaviside", "hypot", "le", "leaky_relu", "lerp", "log", "log10", "log1p", "log2",
    "log_sigmoid", "logical_and", "logical_not", "logical_or", "logit", "lt", "max", "maximum", "min", "minimum",
    "mish", "mul", "nan_to_num", "ne", "neg", "pow", "prelu", "reciprocal", "relu", "relu6", "remainder", "round",
    "rsqrt", "rsub", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "softplus", "softshrink", "sqrt", "square",
    "sub", "tan", "tanh", "tanhshrink", "threshold", "trunc", "where", "xlogy"
})
"""Operations whose result at a place depends on the arguments at that place alone."""

IN_PLACE = {"relu": torch.relu_}
"""Those that run often enough for it to matter that no memory is claimed."""


def elementwise(target: Callable[..., Any], op: str) -> Rule:
    """Return the rule of an operation that works value by value, on any number of fields, tensors and numbers."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        leaves, tree = pytree.tree_flatten(args)
        layout, local = _common_layout([leaf for leaf in leaves if isinstance(leaf, Field)])
        if op == "prelu":  # its one axis is the model's first, whatever broadcasting would make of it
            _require_channels_first(layout)
        else:
            leaves = [_per_channel(leaf, layout) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        call = _call(target, leaves, tree)
        fields = [leaf for leaf in leaves if isinstance(leaf, Field)]
        result = _apply(program, fields, call, IN_PLACE.get(op), layout, local)
        return replace(result, layout=_with_channels(layout, result.channels, shape))

    return rule


def _with_channels(layout: tuple[str, ...], channels: int, shape: Shape) -> tuple[str, ...]:
    """Return the layout with the channels where one of them became many."""
    if channels == 1 or any("c" in group for group in layout):
        return layout
    return tuple("c" if not group and length == channels else group
                 for group, length in zip(layout, shape[1:], strict=False))


def _call(target: Callable[..., Any], leaves: list[Any], tree: Any) -> Callable[..., torch.Tensor]:
    """Return the operation as a function of the fields' numbers alone."""
    places = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Field)]

    def call(*numbers: torch.Tensor) -> torch.Tensor:
        filled = list(leaves)
        for k, value in zip(places, numbers, strict=True):
            filled[k] = value
        return target(**pytree.tree_unflatten(filled, tree))

    return call


def _apply(program: Program, fields: list[Field], call: Callable[..., torch.Tensor], in_place: Any,
           layout: tuple[str, ...], local: tuple[int, int]) -> Field:
    lead, size, constant = joined(fields, program.windows)
    around = call(*(_plane(field, program) for field in fields)).flatten()
    changes = {"lead": lead, "size": size, "const": around if constant else None, "layout": layout, "local": local,
               "channels": len(around),
               "stride": next((f.stride for f in fields if f.local == local), fields[0].stride)}
    if len(fields) == 1 and (fields[0].lead, fields[0].size) == (lead, size):
        return program.add(fields[0], fields, call, in_place=in_place, **changes)
    reads = [reader(field, program.windows, lead, size) for field in fields]
    return program.add(fields[0], fields, lambda *data: call(*(read(numbers) for read, numbers in
                                                             zip(reads, data, strict=True))), **changes)


def _plane(field: Field, program: Program) -> torch.Tensor:
    """Return one place of a field's constant, (1, C, 1, 1); zeros where it has none."""
    if field.const is None:
        return torch.zeros(1, field.channels, 1, 1, dtype=program.dtype, device=program.device)
    return field.const.view(1, -1, 1, 1)


def _common_layout(fields: list[Field]) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Return layout and local size that all fields share; channels of length 1 go with any."""
    first = fields[0]
    for field in fields[1:]:
        if len(field.layout) != len(first.layout):
            raise Refused("it joins maps of a different number of axes")
        if field.local != first.local:
            raise Refused(f"it joins maps of {first.local[0]} x {first.local[1]} and {field.local[0]} x "
                          f"{field.local[1]}: one value for a whole window is none of a place on the field")
        if any(a != b and n > 1 for a, b, n in zip(field.stride, first.stride, first.local, strict=True)):
            raise Refused(f"it joins maps of strides {first.stride} and {field.stride}")
    widest = max(fields, key=lambda field: field.channels)
    for field in fields:
        if any(group not in ("", whole) for group, whole in zip(field.layout, widest.layout, strict=True)):
            raise Refused("it joins maps whose axes do not correspond")
    return widest.layout, first.local


def _require_channels_first(layout: tuple[str, ...]) -> None:
    if not layout or layout[0] not in ("c", ""):
        raise Refused("it has a parameter for each place of the window")


def _per_channel(value: torch.Tensor, layout: tuple[str, ...]) -> torch.Tensor:
    """Return a tensor of the model's, broadcast against a layout, as one that broadcasts against (B, C, y, x)."""
    if value.numel() == 1:
        return value.reshape(1, 1, 1) if value.ndim else value
    groups = ["batch", *layout][-value.ndim:]
    long = [group for group, length in zip(groups, value.shape, strict=False) if length > 1]
    if long == ["c"] or (long == [""] and "c" not in "".join(layout)):  # many channels, also where there was one
        return value.reshape(-1, 1, 1)
    raise Refused(f"its parameter of shape {tuple(value.shape)} differs from place to place in the window")


def batch_norm(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Batch normalization with fixed statistics: a factor and an addend for each channel."""
    field = args["input"]
    _require_channels_first(field.layout)
    mean, variance = args["running_mean"], args["running_var"]
    factor = (variance + args["eps"]).rsqrt() * (1 if args["weight"] is None else args["weight"])
    addend = (0 if args["bias"] is None else args["bias"]) - mean * factor
    factor, addend = factor.view(-1, 1, 1), addend.view(-1, 1, 1)
    const = None if field.const is None else (field.const * factor.flatten() + addend.flatten())
    return program.add(field, [field], lambda data: torch.addcmul(addend, data, factor),
                       in_place=lambda data: data.mul_(factor).add_(addend), const=const)


def along_channels(op: str, target: Callable[..., Any]) -> Rule:
    """Return the rule of an operation over all channels of a place, such as softmax or a norm."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field = args["self"]
        axes = reduced_axes(field, args["dim"])
        if any(field.layout[axis] not in ("c", "") for axis in axes):
            raise Refused("it mixes places of the window in a way that no field can hold")
        dim = [1] if isinstance(args["dim"], list) else 1
        rest = {name: value for name, value in args.items() if name not in ("self", "dim", "keepdim")}
        keep = {"keepdim": True} if "keepdim" in args else {}
        result = across_channels(program, field, lambda data: target(data, dim=dim, **keep, **rest))
        groups = [group for k, group in enumerate(field.layout) if k not in axes or args.get("keepdim", True)]
        return replace(result, layout=layout_of(result.channels, result.local, groups))

    return rule


def layer_norm(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Layer normalization over the channels alone, which are the model's last axis."""
    field = args["input"]
    if len(args["normalized_shape"]) != 1 or field.layout[-1] != "c":
        raise Refused("it normalizes over places of the window")

    def compute(data: torch.Tensor) -> torch.Tensor:
        last = torch.nn.functional.layer_norm(data.movedim(1, -1), args["normalized_shape"], args["weight"],
                                              args["bias"], args["eps"])
        return last.movedim(-1, 1)

    return across_channels(program, field, compute)
