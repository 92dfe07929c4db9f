"""Rules for pools and reductions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from shiftscope.dense.convolution import require_spatial, window_sizes
from shiftscope.dense.field import Field, Pair, layout_of, reached, reader
from shiftscope.dense.padding import padded
from shiftscope.dense.program import Program, Rule, Shape
from shiftscope.dense.unsupported import Unsupported

Combine = Callable[..., torch.Tensor]

_REDUCTIONS: dict[str, tuple[Combine, Callable[..., torch.Tensor]]] = {
    "mean": (torch.add, torch.mean), "sum": (torch.add, torch.sum), "amax": (torch.maximum, torch.amax),
    "max": (torch.maximum, torch.amax), "amin": (torch.minimum, torch.amin), "min": (torch.minimum, torch.amin)}
"""The function of two maps, and of all channels."""


def max_pool2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Max pooling of any stride and dilation."""
    if any(args["padding"]):
        raise Unsupported("max pooling pads the border of each window with minus infinity, but windows share one field")
    return _pooled(program, args, shape, torch.maximum, args["dilation"])


def avg_pool2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Average pooling of any stride."""
    field, (kh, kw) = args["self"], _both(args["kernel_size"])
    require_spatial(field)
    if any(args["padding"]):
        if not args["count_include_pad"]:
            raise Unsupported("at the border of each window it averages over fewer positions, but windows share one "
                              "field")
        py, px = _both(args["padding"])
        field = padded(field, program.windows, [[py, py], [px, px]], 0.0)
    sums = _pooled(program, args | {"self": field}, shape, torch.add, (1, 1))
    return _scaled(program, sums, 1 / (args["divisor_override"] or kh * kw))


def adaptive(combine: Combine) -> Rule:
    """Return the rule of pooling to a given size that divides the size of the map."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field, out = args["self"], _both(args["output_size"])
        require_spatial(field)
        if any(size % n for size, n in zip(field.local, out, strict=True)):
            raise Unsupported(f"a map of {field.local[0]} x {field.local[1]} does not divide into {out[0]} x {out[1]} "
                              "equal parts")
        kernel = (field.local[0] // out[0], field.local[1] // out[1])
        result = window_reduced(program, field, combine, kernel, kernel)
        return _scaled(program, result, 1 / (kernel[0] * kernel[1])) if combine is torch.add else result

    return rule


def reduction(name: str) -> Rule:
    """Return the rule of a mean, sum, maximum or minimum over some axes."""
    combine, over_channels = _REDUCTIONS[name]

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field = args["self"]
        axes, keep = reduced_axes(field, args.get("dim")), args.get("keepdim", False)
        names = "".join(field.layout[axis] for axis in axes)
        result = field
        if "y" in names or "x" in names:
            kernel = (field.local[0] if "y" in names else 1, field.local[1] if "x" in names else 1)
            result = window_reduced(program, field, combine, kernel, kernel)
            if name == "mean":
                result = _scaled(program, result, 1 / (kernel[0] * kernel[1]))
        if "c" in names:
            result = across_channels(program, result, lambda data: over_channels(data, 1, keepdim=True))
        groups = ["" if k in axes else group for k, group in enumerate(field.layout) if keep or k not in axes]
        return replace(result, layout=layout_of(result.channels, result.local, groups))

    return rule


def reduced_axes(field: Field, dim: Any) -> set[int]:
    """Return the axes of the layout in a `dim` argument."""
    dims = [dim] if isinstance(dim, int) else list(dim or [])
    axes = {d % (len(field.layout) + 1) - 1 for d in dims}
    if not axes or -1 in axes:
        raise Unsupported("it mixes the images of a batch")
    return axes


def across_channels(program: Program, field: Field, function: Callable[[torch.Tensor], torch.Tensor]) -> Field:
    """Return the field of a function (B, C, ..) -> (B, C', ..) of the channels at each position."""
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
        raise Unsupported("with ceil_mode its last row or column is pooled from fewer positions")
    return result


def _scaled(program: Program, field: Field, factor: float) -> Field:
    const = None if field.const is None else field.const * factor
    return program.add(field, [field], lambda data: data * factor, in_place=lambda data: data.mul_(factor),
                       const=const)


def window_reduced(program: Program, field: Field, combine: Combine, kernel: Pair, stride: Pair,
                   dilation: Pair = (1, 1)) -> Field:
    """Return the field of the maximum, minimum or sum over a `kernel` of each window's map."""
    spread, extent, local, strides = window_sizes(field, kernel, stride, dilation)
    lead, size, constant = reached(field, program.windows, extent, local, strides)
    const = field.const if constant else None
    if const is not None and combine is torch.add:
        const = const * (kernel[0] * kernel[1])
    read = reader(field, program.windows, lead, (size[0] + extent[0], size[1] + extent[1]))

    def compute(data: torch.Tensor) -> torch.Tensor:
        rows = along(read(data), 2, kernel[0], spread[0], combine)
        return along(rows, 3, kernel[1], spread[1], combine)

    groups = ("c", "y", "x") if field.is_spatial else field.layout
    return program.add(field, [field], compute, fresh=kernel != (1, 1), local=local, stride=strides, lead=lead,
                       size=size, const=const, layout=layout_of(field.channels, local, groups))


def along(data: torch.Tensor, axis: int, taps: int, spread: int, combine: Combine) -> torch.Tensor:
    """Combine `taps` values along an axis, `spread` apart, at each position that has all of them.

    Results for 2, 4, 8 .. taps are combined from pairs, so k taps take about log2(k) passes.

    >>> along(torch.arange(8.0).view(1, 1, 1, 8), 3, 3, 2, torch.add)
    tensor([[[[ 6.,  9., 12., 15.]]]])
    """
    length = data.shape[axis] - spread * (taps - 1)
    power, count, result, done = data, 1, None, 0  # `power` combines `count` taps, `result` the first `done`
    while taps:
        if taps & count:
            part = power.narrow(axis, done * spread, length)
            result = part if result is None else combine(result, part)
            done, taps = done + count, taps - count
        if taps:
            size = power.shape[axis] - count * spread
            power = combine(power.narrow(axis, 0, size), power.narrow(axis, count * spread, size))
            count *= 2
    return data if result is None else result
