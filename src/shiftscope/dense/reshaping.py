"""Rules for operations that compute nothing: slices, concatenation, reshapes. Mostly only coordinates change."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from shiftscope.dense.field import Field, layout_of
from shiftscope.dense.padding import Window, selected
from shiftscope.dense.pointwise import aligned, common_layout
from shiftscope.dense.program import Program, Shape
from shiftscope.dense.unsupported import Unsupported
from shiftscope.graph import BATCH


def reshape(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A reshape that only flattens axes, or adds and removes axes of length 1."""
    field = args["self"]
    if not shape or shape[0] != BATCH:
        raise Unsupported("it mixes the images of a batch")
    axes = list("".join(field.layout))
    groups = []
    for length in shape[1:]:
        group = ""
        while length > 1 and axes and length % field.length(axes[0]) == 0:
            group += axes[0]
            length //= field.length(axes.pop(0))
        if length > 1:
            raise Unsupported("it splits channels, rows or columns into parts")
        groups.append(group)
    return replace(field, layout=tuple(groups))


def permute(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A permutation that keeps the batch axis."""
    field, dims = args["self"], args["dims"]
    if dims[0] != 0:
        raise Unsupported("it moves the batch axis")
    return replace(field, layout=tuple(field.layout[dim - 1] for dim in dims[1:]))


def slice_axis(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A slice of channels, rows or columns; for the latter, origin and stride change."""
    field, axis = args["self"], args["dim"] % (len(args["self"].layout) + 1) - 1
    if axis < 0:
        if shape[0] == BATCH and args["step"] == 1:
            return field
        raise Unsupported("it selects images of the batch")
    return _part(program, field, axis, slice(args["start"], args["end"], args["step"]))


def select(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """One channel, row or column; the axis is removed."""
    field, axis = args["self"], args["dim"] % (len(args["self"].layout) + 1) - 1
    if axis < 0:
        raise Unsupported("it selects images of the batch")
    index = args["index"] % field.length(field.layout[axis])
    part = _part(program, field, axis, slice(index, index + 1, 1))
    return replace(part, layout=tuple(group for k, group in enumerate(part.layout) if k != axis))


def _part(program: Program, field: Field, axis: int, part: slice) -> Field:
    """Return a slice along an axis of the layout."""
    name = field.layout[axis]
    if len(name) > 1:
        raise Unsupported("it slices a flattened map")
    start, stop, step = part.indices(field.length(name) if name else 1)
    if not range(start, stop, step):
        raise Unsupported("it selects nothing")
    if not name:
        return field
    length = len(range(start, stop, step))
    if name == "c":
        const = None if field.const is None else field.const[start:stop:step]
        return program.add(field, [field], lambda data: data[:, start:stop:step], fresh=False, channels=length,
                           const=const, layout=layout_of(length, field.local, field.layout))
    return _moved(program, field, name, np.arange(start, stop, step))


def _moved(program: Program, field: Field, name: str, index: np.ndarray) -> Field:
    """Return the field with the given rows (y) or columns (x) of the map."""
    kept = [index if axis == name else np.arange(length) for axis, length in zip("yx", field.local, strict=True)]
    return selected(program, field, Window(kept[0][:, None]), Window(kept[1][:, None]), None, field.layout)


def roll(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A roll of rows or columns by whole pixels."""
    field = args["self"]
    if not args["dims"]:
        raise Unsupported("it rolls the flattened batch")
    for shift, dim in zip(args["shifts"], args["dims"], strict=True):
        field = _rearranged(program, field, dim, lambda rows, by=shift: np.roll(rows, by))
    return field


def flip(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A reversal of rows or columns."""
    field = args["self"]
    for dim in args["dims"]:
        field = _rearranged(program, field, dim, np.flip)
    return field


def _rearranged(program: Program, field: Field, dim: int, order: Callable[[np.ndarray], np.ndarray]) -> Field:
    """Return the field with its rows or columns in another order; an axis of length 1 has only one."""
    axis = dim % (len(field.layout) + 1) - 1
    name = field.layout[axis] if axis >= 0 else "batch"
    if name not in ("", "y", "x"):
        raise Unsupported("it moves values along an axis that is neither rows nor columns")
    return _moved(program, field, name, order(np.arange(field.length(name)))) if name else field


def cat(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A concatenation of channels."""
    fields = args["tensors"]
    if not all(isinstance(field, Field) for field in fields):
        raise Unsupported("it concatenates maps with a constant tensor")
    axis = args["dim"] % (len(fields[0].layout) + 1) - 1
    if axis < 0 or any(("c" in group) if k != axis else group not in ("c", "")
                       for field in fields for k, group in enumerate(field.layout)):
        raise Unsupported("it concatenates along an axis other than the channels")
    layout = common_layout([replace(field, channels=1) for field in fields])
    fields, reads, changes = aligned(program, list(fields))
    channels = sum(field.channels for field in fields)
    known = [field.const for field in fields if field.const is not None]
    groups = [group if k != axis else "c" for k, group in enumerate(layout)]
    local = (changes["rows"].length, changes["columns"].length)
    return program.add(fields[0], fields,
                       lambda *data: torch.cat([read(x) for read, x in zip(reads, data, strict=True)], 1),
                       channels=channels, const=torch.cat(known) if len(known) == len(fields) else None,
                       layout=layout_of(channels, local, groups), **changes)


def expand(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """An expansion of a single channel, row or column."""
    field = args["self"]
    if len(shape) != len(field.layout) + 1:
        raise Unsupported("it adds an axis")
    grown = [k for k, (group, length) in enumerate(zip(field.layout, shape[1:], strict=True))
             if length != field.length(group)]
    if not grown:
        return field
    if not field.is_spatial:
        raise Unsupported("it repeats merged axes")
    rows, columns = (replace(axis, table=np.repeat(axis.table, shape[k], 1)) if k - 1 in grown else axis
                     for k, axis in ((2, field.rows), (3, field.columns)))
    channels = shape[1]
    const = None if field.const is None else field.const.expand(channels)
    return program.add(field, [field], lambda data: data.expand(-1, channels, -1, -1), fresh=False, rows=rows,
                       columns=columns, channels=channels, const=const,
                       layout=layout_of(channels, (rows.length, columns.length)))


def index(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Channels selected by a constant list, such as a reversal."""
    field, indices = args["self"], list(args["indices"])
    axes = [k for k, value in enumerate(indices) if value is not None]
    fixed = len(axes) == 1 and isinstance(indices[axes[0]], torch.Tensor) and indices[axes[0]].ndim == 1
    if not fixed or axes[0] == 0 or field.layout[axes[0] - 1] != "c":
        raise Unsupported("it indexes positions with a list")
    channels = indices[axes[0]].to(program.device)
    const = None if field.const is None else field.const[channels]
    return program.add(field, [field], lambda data: data[:, channels], channels=len(channels), const=const,
                       layout=layout_of(len(channels), field.local, field.layout))
