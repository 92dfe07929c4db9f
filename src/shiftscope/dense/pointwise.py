"""Rules for functions of the values at one position: elementwise functions, sums of fields, functions of channels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils import _pytree as pytree

from shiftscope.dense.field import Field, joined, layout_of, reader
from shiftscope.dense.pooling import across_channels, reduced_axes
from shiftscope.dense.program import Program, Rule, Shape
from shiftscope.dense.unsupported import Unsupported

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
"""Operations whose result at a position depends on the arguments at that position only."""

IN_PLACE = {"relu": torch.relu_}
"""Operations that are frequent enough to save the allocation."""


def elementwise(target: Callable[..., Any], op: str) -> Rule:
    """Return the rule of an elementwise operation on any number of fields, tensors and numbers."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        leaves, tree = pytree.tree_flatten(args)
        fields = [leaf for leaf in leaves if isinstance(leaf, Field)]
        layout, local = common_layout(fields)
        if op == "prelu":  # its parameter belongs to the first axis and is not broadcast
            _require_channels_first(layout)
        else:
            leaves = [_per_channel(leaf, layout) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

        def call(*values: torch.Tensor) -> torch.Tensor:
            remaining = iter(values)
            filled = [next(remaining) if isinstance(leaf, Field) else leaf for leaf in leaves]
            return target(**pytree.tree_unflatten(filled, tree))

        result = _apply(program, fields, call, IN_PLACE.get(op), layout, local)
        if result.channels > 1 and not any("c" in group for group in layout):  # one channel became many
            layout = tuple("c" if not group and length == result.channels else group
                           for group, length in zip(layout, shape[1:], strict=False))
        return replace(result, layout=layout)

    return rule


def _apply(program: Program, fields: list[Field], call: Callable[..., torch.Tensor], in_place: Any,
           layout: tuple[str, ...], local: tuple[int, int]) -> Field:
    lead, size, constant = joined(fields, program.windows)
    outside = call(*(torch.zeros(1, field.channels, 1, 1, dtype=program.dtype, device=program.device)
                     if field.const is None else field.const.view(1, -1, 1, 1) for field in fields)).flatten()
    changes = {"lead": lead, "size": size, "const": outside if constant else None, "layout": layout, "local": local,
               "channels": len(outside),
               "stride": next((f.stride for f in fields if f.local == local), fields[0].stride)}
    if len(fields) == 1 and (fields[0].lead, fields[0].size) == (lead, size):
        return program.add(fields[0], fields, call, in_place=in_place, **changes)
    reads = [reader(field, program.windows, lead, size) for field in fields]
    return program.add(fields[0], fields, lambda *data: call(*(read(values) for read, values in
                                                             zip(reads, data, strict=True))), **changes)


def common_layout(fields: list[Field]) -> tuple[tuple[str, ...], tuple[int, int]]:
    """Return layout and local size that all fields share; a single channel is broadcast."""
    first = fields[0]
    for field in fields[1:]:
        if len(field.layout) != len(first.layout):
            raise Unsupported("it joins maps with different numbers of axes")
        if field.local != first.local:
            raise Unsupported(f"it joins maps of {first.local[0]} x {first.local[1]} and {field.local[0]} x "
                              f"{field.local[1]}: a value for a whole window is not a value for a position")
        if any(a != b and n > 1 for a, b, n in zip(field.stride, first.stride, first.local, strict=True)):
            raise Unsupported(f"it joins maps of strides {first.stride} and {field.stride}")
    widest = max(fields, key=lambda field: field.channels)
    for field in fields:
        if any(group not in ("", full) for group, full in zip(field.layout, widest.layout, strict=True)):
            raise Unsupported("it joins maps whose axes do not correspond")
    return widest.layout, first.local


def _require_channels_first(layout: tuple[str, ...]) -> None:
    if not layout or layout[0] not in ("c", ""):
        raise Unsupported("it has a parameter for each position of the window")


def _per_channel(value: torch.Tensor, layout: tuple[str, ...]) -> torch.Tensor:
    """Return a tensor that broadcasts against a layout as one that broadcasts against (B, C, y, x)."""
    if value.numel() == 1:
        return value.reshape(1, 1, 1) if value.ndim else value
    groups = ["batch", *layout][-value.ndim:]
    long = [group for group, length in zip(groups, value.shape, strict=False) if length > 1]
    if long == ["c"] or (long == [""] and "c" not in "".join(layout)):  # also for a single channel that becomes many
        return value.reshape(-1, 1, 1)
    raise Unsupported(f"its parameter of shape {tuple(value.shape)} differs between positions of the window")


def batch_norm(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Batch normalization with fixed statistics: a scale and an offset per channel."""
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
    """Return the rule of an operation over all channels of a position, such as softmax or a norm."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field = args["self"]
        axes = reduced_axes(field, args["dim"])
        if any(field.layout[axis] not in ("c", "") for axis in axes):
            raise Unsupported("it mixes positions of the window")
        options = {name: value for name, value in args.items() if name != "self"}
        options |= {"dim": [1] if isinstance(args["dim"], list) else 1}
        options |= {"keepdim": True} if "keepdim" in args else {}
        result = across_channels(program, field, lambda data: target(data, **options))
        groups = [group for k, group in enumerate(field.layout) if k not in axes or args.get("keepdim", True)]
        return replace(result, layout=layout_of(result.channels, result.local, groups))

    return rule


def layer_norm(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Layer normalization over the channels, which are the last axis."""
    field = args["input"]
    if len(args["normalized_shape"]) != 1 or field.layout[-1] != "c":
        raise Unsupported("it normalizes over positions of the window")
    return across_channels(program, field, lambda data: F.layer_norm(
        data.movedim(1, -1), args["normalized_shape"], args["weight"], args["bias"], args["eps"]).movedim(-1, 1))
