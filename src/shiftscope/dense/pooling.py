"""Layers that take the largest value or the mean of a part of the window's map, or of all of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from shiftscope.dense.convolution import require_spatial
from shiftscope.dense.field import Field, Pair, layout_of, reached, reader
from shiftscope.dense.padding import padded
from shiftscope.dense.program import Program, Rule, Shape
from shiftscope.dense.refusal import Refused

Combine = Callable[..., torch.Tensor]


def max_pool2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Max pooling of any stride and dilation."""
    if any(args["padding"]):
        raise Refused("max pooling pads with minus infinity at each window's own border, but windows that overlap "
                      "share one field")
    return _pooled(program, args, shape, torch.maximum, args["dilation"])


def avg_pool2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Average pooling of any stride."""
    field, (kh, kw) = args["self"], _both(args["kernel_size"])
    require_spatial(field)
    if any(args["padding"]):
        if not args["count_include_pad"]:
            raise Refused("at each window's border it averages over fewer places, but windows that overlap share one "
                          "field")
        py, px = _both(args["padding"])
        field = padded(field, program.windows, [[py, py], [px, px]], 0.0)
    sums = _pooled(program, args | {"self": field}, shape, torch.add, (1, 1))
    return _scaled(program, sums, 1 / (args["divisor_override"] or kh * kw))


def adaptive(combine: Combine) -> Rule:
    """Return the rule of pooling to a given size, where that divides the map's."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field, out = args["self"], _both(args["output_size"])
        require_spatial(field)
        if any(size % n for size, n in zip(field.local, out, strict=True)):
            raise Refused(f"a map of {field.local[0]} x {field.local[1]} does not divide into {out[0]} x {out[1]} "
                          "equal parts")
        kernel = (field.local[0] // out[0], field.local[1] // out[1])
        result = window_reduced(program, field, combine, kernel, kernel)
        return _scaled(program, result, 1 / (kernel[0] * kernel[1])) if combine is torch.add else result

    return rule


def reduction(name: str) -> Rule:
    """Return the rule of mean, sum, amax or amin over some of the axes."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field = args["self"]
        axes, keep = reduced_axes(field, args.get("dim")), args.get("keepdim", False)
        atoms = "".join(field.layout[axis] for axis in axes)
        result = field
        if "y" in atoms or "x" in atoms:
            kernel = (field.local[0] if "y" in atoms else 1, field.local[1] if "x" in atoms else 1)
            result = window_reduced(program, field, _COMBINE[name], kernel, kernel)
            if name == "mean":
                result = _scaled(program, result, 1 / (kernel[0] * kernel[1]))
        if "c" in atoms:
            result = across_channels(program, result, _REDUCE[name])
        groups = ["" if k in axes else group for k, group in enumerate(field.layout) if keep or k not in axes]
        return replace(result, layout=layout_of(result.channels, result.local, groups))

    return rule


def reduced_axes(field: Field, dim: Any) -> set[int]:
    """Return which axes of the layout a `dim` argument names; refuse the batch axis."""
    dims = [dim] if isinstance(dim, int) else list(dim or [])
    rank = len(field.layout) + 1
    axes = {d % rank - 1 for d in dims}
    if not axes or -1 in axes:
        raise Refused("it mixes the images of a batch")
    return axes


def across_channels(program: Program, field: Field, function: Callable[[torch.Tensor], torch.Tensor]) -> Field:
    """Return a field whose every place comes from all channels of that place; function: (B, C, ..) -> (B, C', ..)."""
    const = None if field.const is None else function(field.const.view(1, -1, 1, 1)).flatten()
    probe = function(torch.zeros(1, field.channels, 1, 1, dtype=program.dtype, device=program.device))
    return program.add(field, [field], function, channels=probe.shape[1], const=const)


def _both(size: Any) -> Pair:
    values = [size] if isinstance(size, int) else list(size)
    return (values[0], values[-1])


def _pooled(program: Program, args: dict[str, Any], shape: Shape, combine: Combine, dilation: Any) -> Field:
    field, kernel = args["self"], _both(args["kernel_size"])
    require_spatial(field)
    stride = _both(args["stride"]) if args["stride"] else kernel
    result = window_reduced(program, field, combine, kernel, stride, _both(dilation))
    if args["ceil_mode"] and result.local != shape[2:]:
        raise Refused("with ceil_mode its last row or column is pooled from fewer places")
    return result


def _scaled(program: Program, field: Field, factor: float) -> Field:
    const = None if field.const is None else field.const * factor
    return program.add(field, [field], lambda data: data * factor, in_place=lambda data: data.mul_(factor),
                       const=const)


def window_reduced(program: Program, field: Field, combine: Combine, kernel: Pair, stride: Pair,
                   dilation: Pair = (1, 1)) -> Field:
    """Return the field of the largest value, the smallest or the sum over `kernel` places of each window's map."""
    spread = (field.stride[0] * dilation[0], field.stride[1] * dilation[1])
    local = ((field.local[0] - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1,
             (field.local[1] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1)
    strides = (field.stride[0] * stride[0], field.stride[1] * stride[1])
    extent = (spread[0] * (kernel[0] - 1), spread[1] * (kernel[1] - 1))
    lead, size, constant = reached(field, program.windows, extent, local, strides)
    const = field.const if constant else None
    if const is not None and combine is torch.add:
        const = const * (kernel[0] * kernel[1])
    read = reader(field, program.windows, lead, (size[0] + extent[0], size[1] + extent[1]))

    def compute(data: torch.Tensor) -> torch.Tensor:
        rows = along(read(data), 2, kernel[0], spread[0], combine)
        return along(rows, 3, kernel[1], spread[1], combine)

    return program.add(field, [field], compute, fresh=kernel != (1, 1), local=local, stride=strides, lead=lead,
                       size=size, const=const, layout=layout_of(field.channels, local, _spatial(field)))


def _spatial(field: Field) -> tuple[str, ...]:
    return ("c", "y", "x") if field.is_spatial else field.layout


def along(data: torch.Tensor, axis: int, taps: int, spread: int, combine: Combine) -> torch.Tensor:
    """Combine `taps` values along an axis, `spread` apart, for each place where all of them exist.

    Doubling: what 2, 4, 8 .. taps give is put together from pairs, so that k taps cost about log2(k) passes.

    >>> along(torch.arange(8.0).view(1, 1, 1, 8), 3, 3, 2, torch.add)
    tensor([[[[ 6.,  9., 12., 15.]]]])
    """
    length = data.shape[axis] - spread * (taps - 1)
    power, have, parts, done = data, 1, None, 0  # power combines `have` taps, parts the first `done`
    while taps:
        if taps & have:
            part = power.narrow(axis, done * spread, length)
            parts = part if parts is None else combine(parts, part)
            done += have
            taps -= have
        if taps:
            power = combine(power.narrow(axis, 0, power.shape[axis] - have * spread),
                            power.narrow(axis, have * spread, power.shape[axis] - have * spread))
            have *= 2
    return data if parts is None else parts


_COMBINE: dict[str, Combine] = {"mean": torch.add, "sum": torch.add, "amax": torch.maximum, "max": torch.maximum,
                                "amin": torch.minimum, "min": torch.minimum}
_REDUCE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda data: data.mean(1, keepdim=True), "sum": lambda data: data.sum(1, keepdim=True),
    "amax": lambda data: data.amax(1, keepdim=True), "max": lambda data: data.amax(1, keepdim=True),
    "amin": lambda data: data.amin(1, keepdim=True), "min": lambda data: data.amin(1, keepdim=True)}
