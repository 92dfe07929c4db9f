"""Rules for pools and reductions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from shiftscope.dense.axis import BEYOND, PAD, Axis, Taps, cover
from shiftscope.dense.convolution import require_spatial
from shiftscope.dense.field import Field, Pair, layout_of, reader
from shiftscope.dense.padding import Window, read, window
from shiftscope.dense.program import Program, Rule, Shape
from shiftscope.dense.unsupported import Unsupported

Combine = Callable[..., torch.Tensor]
Reduce = Callable[[torch.Tensor], torch.Tensor]

PADDING: dict[Combine, float] = {torch.add: 0.0, torch.maximum: -torch.inf, torch.minimum: torch.inf}
"""Values of padding that do not change the result."""

_REDUCTIONS: dict[str, tuple[Combine, Callable[..., torch.Tensor]]] = {
    "mean": (torch.add, torch.mean), "sum": (torch.add, torch.sum), "amax": (torch.maximum, torch.amax),
    "max": (torch.maximum, torch.amax), "amin": (torch.minimum, torch.amin), "min": (torch.minimum, torch.amin)}
"""The function of two maps, and of all channels."""


def max_pool2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Max pooling of any stride, padding and dilation."""
    return _reduced(program, args["self"], torch.maximum, *_windows(args, shape, args["dilation"]))


def avg_pool2d(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Average pooling of any stride and padding."""
    rows, columns = _windows(args, shape, (1, 1))
    kernel, divisor = _both(args["kernel_size"]), args["divisor_override"]
    if divisor:
        return _reduced(program, args["self"], torch.add, rows, columns, 0.0, divisor=divisor)
    counted = (lambda index: index != BEYOND) if args["count_include_pad"] else (lambda index: index > PAD)
    counts = [counted(one.rows).sum(1) for one in (rows, columns)]
    if all((count == k).all() for count, k in zip(counts, kernel, strict=True)):
        return _reduced(program, args["self"], torch.add, rows, columns, 0.0, divisor=kernel[0] * kernel[1])
    return _reduced(program, args["self"], torch.add, rows, columns, counted=counted)


def _windows(args: dict[str, Any], shape: Shape, dilation: Any) -> tuple[Window, Window]:
    """Return the windows of a pool; with `ceil_mode`, the last one may extend beyond the padding."""
    field, kernel = args["self"], _both(args["kernel_size"])
    require_spatial(field)
    stride = _both(args["stride"]) if args["stride"] else kernel
    rows, columns = (window(length, count, k, stride=s, dilation=d, sides=(p, p)) for length, count, k, s, d, p in
                     zip(field.local, shape[2:], kernel, stride, _both(dilation), _both(args["padding"]), strict=True))
    return rows, columns


def adaptive(combine: Combine) -> Rule:
    """Return the rule of pooling to a given size."""

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field = args["self"]
        require_spatial(field)
        rows, columns = (_even(length, count) for length, count in zip(field.local, shape[2:], strict=True))
        if combine is torch.maximum:
            return _reduced(program, field, combine, rows, columns)
        if any((one.rows < 0).any() for one in (rows, columns)):
            return _reduced(program, field, combine, rows, columns, counted=lambda index: index > PAD)
        return _reduced(program, field, combine, rows, columns, divisor=rows.rows.shape[1] * columns.rows.shape[1])

    return rule


def _even(length: int, count: int) -> Window:
    """Return the windows of adaptive pooling; those with fewer rows than others end in `BEYOND`."""
    starts = np.arange(count) * length // count
    stops = -(-(np.arange(count) + 1) * length // count)
    rows = starts[:, None] + np.arange(int((stops - starts).max()))
    return Window(np.where(rows < stops[:, None], rows, BEYOND))


def reduction(name: str) -> Rule:
    """Return the rule of a mean, sum, maximum or minimum over some axes."""
    combine, over_channels = _REDUCTIONS[name]

    def rule(program: Program, args: dict[str, Any], shape: Shape) -> Field:
        field = args["self"]
        axes, keep = reduced_axes(field, args.get("dim")), args.get("keepdim", False)
        names = "".join(field.layout[axis] for axis in axes)
        result = field
        if "y" in names or "x" in names:
            counts = [1 if axis in names else length for axis, length in zip("yx", field.local, strict=True)]
            rows, columns = (_even(length, count) for length, count in zip(field.local, counts, strict=True))
            divisor = rows.rows.shape[1] * columns.rows.shape[1] if name == "mean" else 1
            result = _reduced(program, field, combine, rows, columns, divisor=divisor)
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
    outside = function(field.example(program.device)).flatten()
    const = None if field.const is None else outside
    return program.add(field, [field], function, channels=len(outside), const=const, dtype=outside.dtype)


def _both(size: Any) -> Pair:
    values = [size] if isinstance(size, int) else list(size)
    return (values[0], values[-1])


def _reduced(program: Program, field: Field, combine: Combine, rows: Window, columns: Window,
             value: float | None = None, *, divisor: float = 1,
             counted: Callable[[np.ndarray], np.ndarray] | None = None) -> Field:
    """Return the field of the maximum, minimum or sum over windows.

    Args:
        value: of the padding, see `padding.read`.
        divisor: of the sum.
        counted: function from the taps of a row to those that the divisor counts.
    """
    field, row_taps, column_taps = read(program, field, rows, columns, value)
    axes = (field.rows, field.columns)
    count = rows.rows.shape[1] * columns.rows.shape[1]
    reduce = _both_axes(row_taps, column_taps, field, combine)
    if reduce is None:
        summed = field.const if field.const is None or combine is not torch.add else (
            field.const * rows.rows.shape[1])
        down, right = (_along_axis(taps, axis, dim, const, combine, program) for taps, axis, dim, const in
                       zip((row_taps, column_taps), axes, (2, 3), (field.const, summed), strict=True))
        reduce = lambda data: right(down(data))  # noqa: E731
    const = field.const if field.const is None or combine is not torch.add else field.const * count / divisor
    factor: Any = 1 / divisor
    if counted is not None:
        counts = [torch.from_numpy(counted(taps.index).sum(1)).to(program.device, program.dtype)
                  for taps in (row_taps, column_taps)]
        factor = 1 / (counts[0][:, None] * counts[1])
        const = field.const
    scaled = counted is not None or divisor != 1

    def compute(data: torch.Tensor) -> torch.Tensor:
        result = reduce(data)
        return result * factor if scaled else result

    local = (row_taps.axis.length, column_taps.axis.length)
    groups = ("c", "y", "x") if field.is_spatial else field.layout
    return program.add(field, [field], compute, fresh=count > 1, rows=row_taps.axis,
                       columns=column_taps.axis, const=const, layout=layout_of(field.channels, local, groups))


def _both_axes(rows: Taps, columns: Taps, field: Field, combine: Combine) -> Reduce | None:
    """Return the reduction over windows that reads all values once, if the taps are at equal distances."""
    covers = [cover(taps.index) for taps in (rows, columns)]
    if not all(taps.is_regular and len(taps.parts()) == 1 for taps in (rows, columns)):
        return None
    get = reader(covers[0].rows, covers[1].rows, void=field.const, pad=PADDING[combine])
    (height, down), (width, right) = ((taps.index.shape[1], one.spread)
                                      for taps, one in zip((rows, columns), covers, strict=True))
    return lambda data: along(along(get(data), 2, height, down, combine), 3, width, right, combine)


def _along_axis(taps: Taps, axis: Axis, dim: int, const: torch.Tensor | None, combine: Combine,
                program: Program) -> Reduce:
    """Return the reduction over windows along one axis: rows with and without padding separately."""
    parts = [_part(taps.index[part], axis, dim, const, combine, program) for part in taps.parts()]
    return parts[0] if len(parts) == 1 else lambda data: torch.cat([part(data) for part in parts], dim)


def _part(index: np.ndarray, axis: Axis, dim: int, const: torch.Tensor | None, combine: Combine,
          program: Program) -> Reduce:
    found, count = cover(index), index.shape[1]
    if combine is torch.add and count > 2 and found.spread == len(index) and (index != -1).all():
        return _sums(index, axis, dim, program)
    get = axis_reader(found.rows, dim, const, PADDING[combine])
    return lambda data: along(get(data), dim, count, found.spread, combine)


def axis_reader(rows: np.ndarray, dim: int, const: torch.Tensor | None, pad: float) -> Reduce:
    """Return the function that reads rows (dim 2) or columns (dim 3) by index, and all of the other axis."""
    get: dict[int, Reduce] = {}

    def compute(data: torch.Tensor) -> torch.Tensor:
        other = data.shape[5 - dim]
        if other not in get:
            every = np.arange(other)
            get[other] = reader(rows, every, void=const, pad=pad) if dim == 2 else (
                reader(every, rows, void=const, pad=pad))
        return get[other](data)

    return compute


def _sums(index: np.ndarray, axis: Axis, dim: int, program: Program) -> Reduce:
    """Return sums of rows that are not at equal distances: a matrix product with the number of times each is read."""
    counts = np.zeros((len(index), axis.size))
    rows = np.repeat(np.arange(len(index)), index.shape[1])
    stored = index.reshape(-1) >= 0
    np.add.at(counts, (rows[stored], index.reshape(-1)[stored]), 1)
    matrix = torch.from_numpy(counts).to(program.device, program.dtype)

    def compute(data: torch.Tensor) -> torch.Tensor:
        last = data.permute(0, 2, 3, 1) if dim == 2 else data.permute(0, 3, 2, 1)  # (B, axis, other, C)
        sums = (matrix @ last.flatten(2)).unflatten(2, last.shape[2:])
        return sums.permute(0, 3, 1, 2) if dim == 2 else sums.permute(0, 3, 2, 1)

    return compute


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
