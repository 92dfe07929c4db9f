"""Rows and columns that a layer reads, with padding; and padding as an operation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from shiftscope.dense.axis import PAD, VOID, Axis, Taps, read_windows, windows
from shiftscope.dense.field import Field, blank, layout_of, reader
from shiftscope.dense.program import Program, Shape
from shiftscope.dense.unsupported import Unsupported

ROUNDING = 8
"""Background and padding are equal within this many units of rounding: they may be normalized in different steps."""

Sides = Sequence[Sequence[int]]
"""[[top, bottom], [left, right]]; negative values crop."""


@dataclass(frozen=True)
class Window:
    """The windows of a kernel along one axis.

    Args:
        rows: int64 (n', k), rows of the map that each window reads, `PAD` or `BEYOND`.
        wrapped: bool (n', k), rows that padding repeats; None if there are none.
        stride: distance of neighboring windows.
    """

    rows: np.ndarray
    wrapped: np.ndarray | None = None
    stride: int = 1

    def continued(self) -> "Window":
        """Return the windows with rows that the image does not reach as padding."""
        return replace(self, rows=np.where(self.rows == PAD, VOID, self.rows))


def window(length: int, count: int, kernel: int, *, stride: int = 1, dilation: int = 1, sides: Sequence[int] = (0, 0),
           mode: str = "constant") -> Window:
    """Return the windows of a kernel along one axis; for the arguments see `axis.windows`."""
    rows = windows(length, count, kernel, stride=stride, dilation=dilation, before=sides[0], after=sides[1], mode=mode)
    if mode == "constant" or (rows < 0).any():
        return Window(rows, stride=stride)
    plain = np.arange(count)[:, None] * stride - sides[0] + np.arange(kernel) * dilation
    return Window(rows, plain != rows, stride)


def read(program: Program, field: Field, rows: Window, columns: Window,
         value: float | None = None) -> tuple[Field, Taps, Taps]:
    """Return a field and the rows and columns that each distinct row and column of a layer's output reads.

    If the layer meets a border, the returned field stores the rows and columns that the image does not reach.

    Args:
        value: of the padding. If it equals the values without the image, padded rows need not be borders.
    """
    axes, parts = (field.rows, field.columns), (rows, columns)
    taps = [_taps(axis, part) for axis, part in zip(axes, parts, strict=True)]
    if not field.has_border and field.const is not None and value is not None and _is_close(field.const, value):
        continued = [_taps(axis, part.continued()) for axis, part in zip(axes, parts, strict=True)]
        if all(one.is_regular for one in continued):
            taps = continued
    if taps[0].touches_padding or taps[1].touches_padding:
        stored = stored_field(program, field)
        if stored is not field:
            return read(program, stored, rows, columns)
    return field, taps[0], taps[1]


def _taps(axis: Axis, one: Window) -> Taps:
    if (one.rows == VOID).any():
        rows = np.where(one.rows == VOID, axis.length, one.rows)
        table = np.concatenate((axis.table, np.full((len(axis.table), 1), axis.void)), 1)
        return read_windows(replace(axis, table=table), rows)
    return read_windows(axis, one.rows, wrapped=one.wrapped)


def _is_close(const: torch.Tensor, value: float) -> bool:
    close = ROUNDING * torch.finfo(const.dtype).eps
    return torch.allclose(const, torch.full_like(const, value), rtol=close, atol=close)


def stored_field(program: Program, field: Field) -> Field:
    """Return the field with the rows and columns that the image does not reach as a first stored row and column."""
    rows, columns = field.rows.stored(), field.columns.stored()
    const = field.const
    if (rows is field.rows and columns is field.columns) or const is None:
        return field
    top, left = rows.size - field.rows.size, columns.size - field.columns.size

    def compute(data: torch.Tensor) -> torch.Tensor:
        result = blank(data, field.channels, (rows.size, columns.size))
        result[:, :, :top] = const.view(1, -1, 1, 1)
        result[:, :, :, :left] = const.view(1, -1, 1, 1)
        result[:, :, top:, left:] = data
        return result

    return program.add(field, [field], compute, rows=rows, columns=columns)


def pad(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Constant, circular, reflecting or replicating padding; negative values crop."""
    field, flat, mode = args["self"], list(args["pad"]), args["mode"]
    axes = [flat[2 * k:2 * k + 2] for k in range(len(flat) // 2)][::-1]  # the last axis comes first
    sides = {"y": [0, 0], "x": [0, 0]}
    groups = ["c", "y", "x"] if field.is_spatial else list(field.layout)
    for group, side in zip(groups[len(groups) - len(axes):], axes, strict=True):
        if any(side) and group not in sides:
            raise Unsupported("it pads an axis that is neither rows nor columns")
        sides[group] = side
    value = float(args["value"] or 0) if mode == "constant" else None
    parts = [window(length, length + sum(side), 1, sides=side, mode=mode)
             for length, side in zip(field.local, (sides["y"], sides["x"]), strict=True)]
    return selected(program, field, parts[0], parts[1], value, groups)


def selected(program: Program, field: Field, rows: Window, columns: Window, value: float | None,
             groups: Sequence[str]) -> Field:
    """Return the field of an operation that only selects, repeats or pads rows and columns."""
    field, row_taps, column_taps = read(program, field, rows, columns, value)
    local = (row_taps.axis.length, column_taps.axis.length)
    changes: dict[str, Any] = {"rows": row_taps.axis, "columns": column_taps.axis,
                               "layout": layout_of(field.channels, local, groups)}
    indices = row_taps.index[:, 0], column_taps.index[:, 0]
    if all(np.array_equal(index, np.arange(size)) for index, size in zip(indices, field.size, strict=True)):
        return replace(field, **changes)
    get = reader(*indices, void=field.const, pad=value or 0.0)
    return program.add(field, [field], get, fresh=False, **changes)


