"""Rules for padding inside a network: exact if the padding equals the values of the field at those positions."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from shiftscope.dense.field import Field, Windows, layout_of
from shiftscope.dense.program import Program, Shape
from shiftscope.dense.unsupported import NeedsTorus, Unsupported

ROUNDING = 8
"""Background and padding are equal within this many units of rounding: they may be normalized in different steps."""

Sides = Sequence[Sequence[int]]
"""[[top, bottom], [left, right]]; negative values crop."""


def pad(program: Program, args: dict[str, Any], shape: Shape) -> Field:
    """Constant or circular padding; negative values crop."""
    field, flat = args["self"], list(args["pad"])
    axes = [flat[2 * k:2 * k + 2] for k in range(len(flat) // 2)][::-1]  # the last axis comes first
    sides = {"y": [0, 0], "x": [0, 0]}
    groups = _full_layout(field)
    for group, side in zip(groups[len(groups) - len(axes):], axes, strict=True):
        if any(side) and group not in sides:
            raise Unsupported("it pads an axis that is neither rows nor columns")
        sides[group] = side
    if args["mode"] == "circular":
        return _wrapped(field, program.windows, [sides["y"], sides["x"]])
    if args["mode"] != "constant":
        raise Unsupported(f"{args['mode']} padding depends on the border of each window, but windows share one field")
    return padded(field, program.windows, [sides["y"], sides["x"]], args["value"] or 0.0)


def padded(field: Field, windows: Windows, sides: Sides, value: float) -> Field:
    """Return a field padded with one value; raise `Unsupported` if a window would read another value there."""
    if any(n > 0 for side in sides for n in side):
        _require_equal(field, windows, sides, value)
    return _extended(field, sides) if any(n for side in sides for n in side) else field


def _require_equal(field: Field, windows: Windows, sides: Sides, value: float) -> None:
    name = "zero padding" if value == 0 else f"padding with {value:g}"
    if windows.period is not None or field.const is None:
        raise Unsupported(f"{name} cuts the image off at the border of each window, but windows share one field")
    close = ROUNDING * torch.finfo(field.const.dtype).eps
    if not torch.allclose(field.const, torch.full_like(field.const, value), rtol=close, atol=close):
        raise Unsupported(f"{name} differs from the values for the empty canvas, so each window has its own border")
    for axis in (0, 1):
        if _overlaps(field, windows, sides[axis], axis):
            raise Unsupported(f"{name} hides values that the image reaches in neighboring windows")


def _overlaps(field: Field, windows: Windows, side: Sequence[int], axis: int) -> bool:
    """Return True if the padding of any window overlaps the stored rectangle."""
    s, last, size = field.stride[axis], windows.count[axis] - 1, field.local[axis]
    start, stop = field.lead[axis], field.lead[axis] + field.size[axis]
    before = side[0] > 0 and start <= last - s and stop > -s * side[0]
    after = side[1] > 0 and start <= last + s * (size + side[1] - 1) and stop > s * size
    return before or after


def _wrapped(field: Field, windows: Windows, sides: Sides) -> Field:
    """Return a field with circular padding: on a torus only the origin changes."""
    for axis in (0, 1):
        if not any(sides[axis]):
            continue
        if windows.period is None:
            raise NeedsTorus("circular padding requires windows that are rolls of one canvas")
        if field.stride[axis] * field.local[axis] != windows.period[axis]:
            raise Unsupported(f"circular padding repeats each window after {field.local[axis]} positions of stride "
                              f"{field.stride[axis]}, the canvas after {windows.period[axis]} pixels")
    return _extended(field, sides)


def _extended(field: Field, sides: Sides) -> Field:
    """Return the field with larger windows: only coordinates change."""
    lead = tuple(a + s * before for a, s, (before, _) in zip(field.lead, field.stride, sides, strict=True))
    local = tuple(n + before + after for n, (before, after) in zip(field.local, sides, strict=True))
    return replace(field, lead=lead, local=local,
                   layout=layout_of(field.channels, (local[0], local[1]), _full_layout(field)))


def _full_layout(field: Field) -> list[str]:
    """Return the layout with axes of length 1 for maps (.., row, column)."""
    return ["c", "y", "x"] if field.is_spatial else list(field.layout)
