"""Padding inside a net: exact where what is padded is what lies there in the field anyway."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftscope.dense.field import Field, Windows, layout_of
from shiftscope.dense.program import Program, Shape
from shiftscope.dense.refusal import NeedsTorus, Refused

ROUNDING = 8
"""Units of rounding within which a background and a padding are the same value: normalized in other steps."""

Sides = Sequence[Sequence[int]]
"""[[top, bottom], [left, right]]; below 0 it crops."""


def pad(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Padding with a constant or all around; a negative one crops."""
    field, flat = args["self"], list(args["pad"])
    axes = [flat[2 * k:2 * k + 2] for k in range(len(flat) // 2)][::-1]  # the last axis comes first
    sides = {"y": [0, 0], "x": [0, 0]}
    groups = _full(field)
    for group, side in zip(groups[len(groups) - len(axes):], axes, strict=True):
        if any(side) and group not in sides:
            raise Refused("it pads an axis that is neither rows nor columns")
        sides[group] = side
    both = [sides["y"], sides["x"]]
    if args["mode"] == "circular":
        return wrapped(field, program.windows, both)
    if args["mode"] != "constant":
        raise Refused(f"{args['mode']} padding shows each window its own border, which no field can hold")
    return padded(field, program.windows, both, args["value"] or 0.0)


def _moved(field: Field, sides: Sides) -> Field:
    """Return the field whose local origin lies `sides` before the old one: only coordinates change."""
    lead = tuple(a + s * before for a, s, (before, _) in zip(field.lead, field.stride, sides, strict=True))
    local = tuple(n + before + after for n, (before, after) in zip(field.local, sides, strict=True))
    return replace(field, lead=lead, local=local, layout=layout_of(field.channels, (local[0], local[1]), _full(field)))


def _full(field: Field) -> list[str]:
    """Return the layout with y and x put back where length 1 had removed them, for maps (.., row, column)."""
    if field.is_spatial:
        return ["c", "y", "x"]
    return list(field.layout)


def padded(field: Field, windows: Windows, sides: Sides, value: float) -> Field:
    """Return a field padded with one value; refuse where some window would see something else there."""
    if any(n > 0 for side in sides for n in side):
        _prove(field, windows, sides, value)
    return _moved(field, sides) if any(n for side in sides for n in side) else field


def _prove(field: Field, windows: Windows, sides: Sides, value: float) -> None:
    name = "zero padding" if value == 0 else f"padding with {value:g}"
    if windows.period is not None or field.const is None:
        raise Refused(f"{name} cuts the picture off at each window's own border, but windows that overlap share one "
                      "field")
    close = ROUNDING * torch.finfo(field.const.dtype).eps
    if not torch.allclose(field.const, torch.full_like(field.const, value), rtol=close, atol=close):
        raise Refused(f"{name} differs from what the empty canvas gives there, so each window has a border of its own")
    for axis in (0, 1):
        if _touches(field, windows, sides[axis], axis):
            raise Refused(f"{name} hides what the image reaches there in neighboring windows")


def _touches(field: Field, windows: Windows, side: Sequence[int], axis: int) -> bool:
    """Return whether any window's padded places lie within the stored rectangle."""
    s, last, size = field.stride[axis], windows.count[axis] - 1, field.local[axis]
    start, stop = field.lead[axis], field.lead[axis] + field.size[axis]
    before = side[0] > 0 and start <= last - s and stop > -s * side[0]
    after = side[1] > 0 and start <= last + s * (size + side[1] - 1) and stop > s * size
    return before or after


def wrapped(field: Field, windows: Windows, sides: Sides) -> Field:
    """Return a field padded all around: on a torus that changes nothing but the origin."""
    for axis in (0, 1):
        if not any(sides[axis]):
            continue
        if windows.period is None:
            raise NeedsTorus("circular padding needs windows that are rolls of one canvas")
        if field.stride[axis] * field.local[axis] != windows.period[axis]:
            raise Refused(f"circular padding repeats each window after {field.local[axis]} places of stride "
                          f"{field.stride[axis]}, the canvas after {windows.period[axis]} pixels")
    return _moved(field, sides)
