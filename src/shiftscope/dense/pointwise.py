"""Rules for functions of the values at one position: elementwise functions, sums of fields, functions of channels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils import _pytree as pytree

from shiftscope.dense.axis import join
from shiftscope.dense.field import Field, Read, layout_of, reader
from shiftscope.dense.padding import stored_field
from shiftscope.dense.pooling import across_channels, reduced_axes
from shiftscope.dense.program import Program, Rule, Shape
from shiftscope.dense.unsupported import Unsupported

ELEMENTWISE = frozenset({
    "_to_copy", "abs", "acos", "add", "addcdiv", "addcmul", "asin", "asinh", "atan", "atan2", "bitwise_and",
    "bitwise_not", "bitwise_or", "ceil", "celu", "clamp", "clamp_max", "clamp_min", "cos", "cosh", "div", "elu",
    "eq", "erf", "erfc", "exp", "exp2", "expm1", "floor", "fmod", "ge", "gelu", "gt", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "heaviside", "hypot", "le", "leaky_relu", "lerp", "log", "log10", "log1p", "log2",
    "log_sigmoid", "logical_and", "logical_not", "logical_or", "logit", "lt", "masked_fill", "max", "maximum",
    "min", "minimum", "mish", "mul", "nan_to_num", "ne", "neg", "pow", "prelu", "reciprocal", "relu", "relu6",
    "remainder", "round", "rsqrt", "rsub", "selu", "sigmoid", "sign", "silu", "sin", "sinh", "softplus",
    "softshrink", "sqrt", "square", "sub", "tan", "tanh", "tanhshrink", "threshold", "trunc", "where", "xlogy"
})
"""Operations whose result at a position depends on the arguments at that position only."""

IN_PLACE = {"relu": torch.relu_}
"""Operations that are frequent enough to save the allocation."""


def elementwise(target: Callable[..., Any], op: str) -> Rule:
    """Return the rule of an elementwise operation on any number of fields, tensors and numbers."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        leaves, tree = pytree.tree_flatten(args)
        fields = [leaf for leaf in leaves if isinstance(leaf, Field)]
        layout = common_layout(fields)
        if op == "prelu":  # its parameter belongs to the first axis and is not broadcast
            _require_channels_first(layout)
        else:
            leaves = [_per_channel(leaf, layout) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]

        def call(*values: torch.Tensor) -> torch.Tensor:
            remaining = iter(values)
            filled = [next(remaining) if isinstance(leaf, Field) else leaf for leaf in leaves]
            return target(**pytree.tree_unflatten(filled, tree))

        result = _apply(program, fields, call, IN_PLACE.get(op), layout)
        if result.channels > 1 and not any("c" in group for group in layout):  # one channel became many
            layout = tuple("c" if not group and length == result.channels else group
                           for group, length in zip(layout, shape[1:], strict=False))
        return replace(result, layout=layout)

    return rule


def _apply(program: Program, fields: list[Field], call: Callable[..., torch.Tensor], in_place: Any,
           layout: tuple[str, ...]) -> Field:
    fields, reads, changes = aligned(program, fields)
    outside = call(*(field.example(program.device) for field in fields)).flatten()
    constant = all(field.const is not None for field in fields)
    changes |= {"const": outside if constant else None, "layout": layout, "channels": len(outside),
                "dtype": outside.dtype}
    if len(fields) == 1:
        return program.add(fields[0], fields, call, in_place=in_place, **changes)
    return program.add(fields[0], fields, lambda *data: call(*(read(values) for read, values in
                                                             zip(reads, data, strict=True))), **changes)


def aligned(program: Program, fields: list[Field]) -> tuple[list[Field], list[Read], dict[str, Any]]:
    """Return fields, the functions that read their values at common rows and columns, and these as `changes`."""
    if any(field.has_border for field in fields):
        fields = [stored_field(program, field) for field in fields]
    rows, columns = join([field.rows for field in fields]), join([field.columns for field in fields])
    reads = [reader(rows.index[:, k], columns.index[:, k], void=field.const) for k, field in enumerate(fields)]
    return fields, reads, {"rows": rows.axis, "columns": columns.axis}


def common_layout(fields: list[Field]) -> tuple[str, ...]:
    """Return the layout that all fields share; a single channel, row or column is broadcast."""
    lengths = {axis: max(field.length(axis) for field in fields) for axis in "cyx"}
    if any(len(field.layout) != len(fields[0].layout) for field in fields):
        raise Unsupported("it joins maps with different numbers of axes")
    layout = []
    for groups in zip(*(field.layout for field in fields), strict=True):
        full = max(groups, key=len)
        if any(group not in ("", full) for group in groups):
            raise Unsupported("it joins maps whose axes do not correspond")
        layout.append(full)
    names = "".join(layout)
    for field in fields:
        split = [axis for axis in names if field.length(axis) != lengths[axis]]
        if len(set(names)) != len(names) or any(len(group) > 1 and set(group) & set(split) for group in layout):
            raise Unsupported("it joins maps whose axes do not correspond")
    return tuple(layout)


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
