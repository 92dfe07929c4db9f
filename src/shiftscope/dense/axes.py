"""Layers that compute nothing: they crop, join, flatten and turn axes. Mostly only coordinates change."""

from dataclasses import replace
from typing import Any

import torch

from shiftscope.dense.field import Field, joined, layout_of, reader
from shiftscope.dense.pointwise import _common_layout
from shiftscope.dense.program import Program, Shape
from shiftscope.dense.refusal import NeedsTorus, Refused
from shiftscope.graph import BATCH


def reshape(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A reshape that only flattens axes, or adds and drops axes of length 1."""
    field = args["self"]
    if not shape or shape[0] != BATCH:
        raise Refused("it mixes the images of a batch")
    atoms = list("".join(field.layout))
    groups = []
    for length in shape[1:]:
        group = ""
        while length > 1 and atoms and length % field.length(atoms[0]) == 0:
            group += atoms[0]
            length //= field.length(atoms.pop(0))
        if length > 1:
            raise Refused("it splits channels, rows or columns into parts")
        groups.append(group)
    return replace(field, layout=tuple(groups))


def permute(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Turns axes; the images of a batch stay apart."""
    field, dims = args["self"], args["dims"]
    if dims[0] != 0:
        raise Refused("it moves the batch axis")
    return replace(field, layout=tuple(field.layout[dim - 1] for dim in dims[1:]))


def cut(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A slice along channels, or along rows or columns, where it moves the origin and a step adds to the stride."""
    field, axis = args["self"], args["dim"] % (len(args["self"].layout) + 1) - 1
    if axis < 0:
        if shape[0] == BATCH and args["step"] == 1:
            return field
        raise Refused("it picks some images of the batch")
    atom = _atom(field, axis)
    start, stop, step = slice(args["start"], args["end"], args["step"]).indices(field.length(atom) if atom else 1)
    length = len(range(start, stop, step))
    if atom == "c":
        return _channels(program, field, slice(start, stop, step))
    return _window_part(field, axis, atom, start, length, step) if atom else field


def select(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """One channel, row or column; its axis goes."""
    field, axis = args["self"], args["dim"] % (len(args["self"].layout) + 1) - 1
    if axis < 0:
        raise Refused("it picks one image of the batch")
    atom = _atom(field, axis)
    groups = [group for k, group in enumerate(field.layout) if k != axis]
    if not atom:
        return replace(field, layout=tuple(groups))
    index = args["index"] % field.length(atom)
    part = (_channels(program, field, slice(index, index + 1, 1)) if atom == "c"
            else _window_part(field, axis, atom, index, 1, 1))
    return replace(part, layout=tuple(groups))


def _atom(field: Field, axis: int) -> str:
    """Return which axis is cut; refuse one that was flattened from several."""
    group = field.layout[axis]
    if len(group) > 1:
        raise Refused("it takes a part of a flattened map")
    return group


def _channels(program: Program, field: Field, part: slice) -> Field:
    count = len(range(part.start, part.stop, part.step))
    const = None if field.const is None else field.const[part]
    return program.add(field, [field], lambda data: data[:, part], fresh=False, channels=count, const=const,
                       layout=layout_of(count, field.local, field.layout))


def _window_part(field: Field, axis: int, atom: str, start: int, length: int, step: int) -> Field:
    k = "yx".index(atom)
    lead, local, stride = list(field.lead), list(field.local), list(field.stride)
    lead[k] -= stride[k] * start
    local[k], stride[k] = length, stride[k] * step
    return replace(field, lead=tuple(lead), local=tuple(local), stride=tuple(stride),
                   layout=layout_of(field.channels, (local[0], local[1]), field.layout))


def roll(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """A roll by whole places: where the windows are rolls of one canvas, it moves the origin."""
    field = args["self"]
    for shift, dim in zip(args["shifts"], args["dims"], strict=False):
        axis = dim % (len(field.layout) + 1) - 1
        atom = field.layout[axis] if axis >= 0 else "batch"
        if atom not in ("y", "x"):
            raise Refused("it rolls an axis that is neither rows nor columns")
        k = "yx".index(atom)
        if program.windows.period is None:
            raise NeedsTorus("a roll needs windows that are rolls of one canvas")
        if field.stride[k] * field.local[k] != program.windows.period[k]:
            raise Refused("it rolls a map that does not span the canvas")
        lead = list(field.lead)
        lead[k] += field.stride[k] * shift
        field = replace(field, lead=tuple(lead))
    return field


def cat(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Joins fields along their channels."""
    fields = args["tensors"]
    if not all(isinstance(field, Field) for field in fields):
        raise Refused("it joins maps with a fixed tensor")
    axis = args["dim"] % (len(fields[0].layout) + 1) - 1
    if axis < 0 or any(field.layout[axis] not in ("c", "") for field in fields):
        raise Refused("it joins along an axis that is not the channels alone")
    if any("c" in group for field in fields for k, group in enumerate(field.layout) if k != axis):
        raise Refused("it joins along an axis that is not the channels alone")
    layout, local = _common_layout(list(fields))
    lead, size, constant = joined(fields, program.windows)
    reads = [reader(field, program.windows, lead, size) for field in fields]
    channels = sum(field.channels for field in fields)
    const = torch.cat([field.const for field in fields if field.const is not None]) if constant else None
    groups = [group if k != axis else "c" for k, group in enumerate(layout)]
    return program.add(fields[0], fields,
                       lambda *data: torch.cat([read(x) for read, x in zip(reads, data, strict=True)], 1),
                       channels=channels, lead=lead, size=size, const=const,
                       layout=layout_of(channels, local, groups))


def expand(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Repeats a single channel."""
    field = args["self"]
    if len(shape) != len(field.layout) + 1:
        raise Refused("it adds an axis")
    lengths = [1] + [field.length_of(group) for group in field.layout]
    grown = [k for k, (new, old) in enumerate(zip(shape, lengths, strict=True)) if k and new != old]
    if not grown:
        return field
    if field.channels > 1 or len(grown) > 1 or grown[0] != 1 or not field.is_spatial:
        raise Refused("it repeats one value over the places of a window")
    const = None if field.const is None else field.const.expand(shape[1])
    return program.add(field, [field], lambda data: data.expand(-1, shape[1], -1, -1), fresh=False,
                       channels=shape[1], const=const, layout=layout_of(shape[1], field.local))


def index(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Channels picked by a fixed list, for instance turned round."""
    field, chosen = args["self"], list(args["indices"])
    places = [k for k, value in enumerate(chosen) if value is not None]
    fixed = len(places) == 1 and isinstance(chosen[places[0]], torch.Tensor) and chosen[places[0]].ndim == 1
    if not fixed or places[0] == 0 or field.layout[places[0] - 1] != "c":
        raise Refused("it picks places by a list")
    numbers = chosen[places[0]].to(program.device)
    const = None if field.const is None else field.const[numbers]
    return program.add(field, [field], lambda data: data[:, numbers], channels=len(numbers), const=const,
                       layout=layout_of(len(numbers), field.local, field.layout))

