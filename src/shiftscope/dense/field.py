"""Fields: one layer's outputs for all windows, stored once.

The value at position (p, q) of the map that window (i, j) would compute is at coordinate (i + sy*p, j + sx*q) of the
field, with (sy, sx) the total stride of all layers so far. Neighboring windows therefore share nearly all values: the
à-trous identity (Giusti et al. 2013, arXiv:1302.1700). A layer of stride s becomes one of stride 1, and all later
kernels and pools are dilated by s. A field stores the rectangle that the image reaches; outside of it, each channel is
constant.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

Pair = tuple[int, int]
Read = Callable[[torch.Tensor], torch.Tensor]
"""Function from the stored rectangle to another one."""

Piece = tuple[int, int, int]


@dataclass(frozen=True)
class Windows:
    """The windows of a field.

    Args:
        count: (ny, nx); the corner of window (i, j) is at coordinate (i, j) of the input's field.
        period: (H, W) of a periodic field (a torus), else None.
    """

    count: Pair
    period: Pair | None = None


@dataclass(frozen=True, eq=False)
class Field:
    """Description of a field; its values are a tensor (B, channels, *size).

    Args:
        slot: index of its values in the program.
        channels: number of channels.
        local: (hl, wl), size of one window's map.
        stride: (sy, sx), steps on the field between neighbors on that map.
        lead: coordinate of the first stored row and column.
        size: stored rows and columns.
        const: (channels,), the value outside of them; None if all values that windows read are stored.
        layout: for each axis of the model's tensor after the batch axis, the axes c, y, x that it combines, such as
            ("c", "y", "x") or, flattened, ("cyx",). Axes of length 1 are omitted.
    """

    slot: int
    channels: int
    local: Pair
    stride: Pair
    lead: Pair
    size: Pair
    const: torch.Tensor | None
    layout: tuple[str, ...]

    def length(self, axes: str) -> int:
        """Return the length of combined axes.

        >>> Field(0, 3, (4, 5), (1, 1), (0, 0), (4, 5), None, ("c", "yx")).length("yx")
        20
        """
        return math.prod({"c": self.channels, "y": self.local[0], "x": self.local[1]}[axis] for axis in axes)

    @property
    def is_spatial(self) -> bool:
        """True if the model's tensor is (batch, channel, row, column)."""
        return len(self.layout) == 3 and all(group in ("", axis)
                                             for group, axis in zip(self.layout, "cyx", strict=True))


def layout_of(channels: int, local: Pair, groups: Sequence[str] = ("c", "y", "x")) -> tuple[str, ...]:
    """Return a layout without the axes of length 1.

    >>> layout_of(5, (1, 4)), layout_of(5, (1, 1), ["cyx"])
    (('c', '', 'x'), ('c',))
    """
    lengths = dict(zip("cyx", (channels, *local), strict=True))
    return tuple("".join(axis for axis in group if lengths[axis] > 1) for group in groups)


def needed(windows: Windows, local: Pair, stride: Pair) -> Pair:
    """Return the rows and columns, from coordinate 0 on, that windows read of a field; at most one period."""
    most = _pair(n + s * (size - 1) for n, s, size in zip(windows.count, stride, local, strict=True))
    return most if windows.period is None else _pair(map(min, most, windows.period))


def reached(field: Field, windows: Windows, extent: Pair, local: Pair, stride: Pair) -> tuple[Pair, Pair, bool]:
    """Return lead and size of the part of a layer's output to store, and True if the rest is constant.

    Args:
        field: the layer's input; an output at coordinate x reads the inputs from x to x + extent.
        extent: rows and columns of the dilated kernel, minus one.
        local: size of one window's output map.
        stride: stride of the output's field.
    """
    most = needed(windows, local, stride)
    if windows.period is not None:
        grown = _pair(n + e for n, e in zip(field.size, extent, strict=True))
        if field.const is not None and all(n < p for n, p in zip(grown, windows.period, strict=True)):
            return _pair(lead - e for lead, e in zip(field.lead, extent, strict=True)), grown, True
        return (0, 0), most, False
    if field.const is None:
        return (0, 0), most, False
    axes = []
    for lead, n, e, end in zip(field.lead, field.size, extent, most, strict=True):
        start, stop = max(lead - e, 0), min(lead + n, end)
        axes.append((start, stop) if start < stop else (0, 1))  # one value, so that no tensor is empty
    return _pair(start for start, _ in axes), _pair(stop - start for start, stop in axes), True


def joined(fields: Sequence[Field], windows: Windows) -> tuple[Pair, Pair, bool]:
    """Return lead and size of the smallest rectangle with all stored values, and True if the rest is constant."""
    first = fields[0]
    constant = all(field.const is not None for field in fields)
    if windows.period is not None and constant and all(
            (field.lead, field.size) == (first.lead, first.size) for field in fields):
        return first.lead, first.size, True
    if windows.period is not None or not constant:
        return (0, 0), needed(windows, first.local, first.stride), False
    lead = _pair(min(values) for values in zip(*(field.lead for field in fields), strict=True))
    ends = zip(*((field.lead[0] + field.size[0], field.lead[1] + field.size[1]) for field in fields), strict=True)
    return lead, _pair(max(values) - a for values, a in zip(ends, lead, strict=True)), True


def reader(field: Field, windows: Windows, lead: Pair, size: Pair, fill: torch.Tensor | None = None) -> Read:
    """Return the function that reads the rectangle of `size` at `lead` from a field's values.

    Values that are not stored are the field's constant, or `fill` (channels,). If none are missing, the result is a
    view.
    """
    rows, columns = (_pieces(field.lead[k] - lead[k], field.size[k], size[k],
                             windows.period[k] if windows.period else None) for k in (0, 1))
    if len(rows) == len(columns) == 1 and (rows[0][2], columns[0][2]) == size:
        (_, top, height), (_, left, width) = rows[0], columns[0]
        return lambda data: data[:, :, top:top + height, left:left + width]
    outside = field.const if fill is None else fill
    return lambda data: _filled(data, size, outside, rows, columns)


def _pieces(start: int, length: int, size: int, period: int | None) -> list[Piece]:
    """Return (start in the rectangle, start in the stored values, length) of the stored parts of one axis."""
    starts = [start] if period is None else range(start % period - period, size, period)
    ends = [(max(a, 0), min(a + length, size), a) for a in starts]
    return [(a, a - origin, b - a) for a, b, origin in ends if a < b]


def _filled(data: torch.Tensor, size: Pair, outside: torch.Tensor | None, rows: Sequence[Piece],
            columns: Sequence[Piece]) -> torch.Tensor:
    layout = torch.channels_last if data.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    result = torch.empty(*data.shape[:2], *size, dtype=data.dtype, device=data.device, memory_format=layout)
    if outside is not None:
        result.copy_(outside.view(1, -1, 1, 1))
    for a, top, height in rows:
        for b, left, width in columns:
            result[:, :, a:a + height, b:b + width] = data[:, :, top:top + height, left:left + width]
    return result


def margins(field: Field, windows: Windows, lead: Pair, size: Pair) -> Pair | None:
    """Return the distance by which the rectangle of `size` at `lead` extends beyond the stored one.

    None if the two sides differ.
    """
    if windows.period is not None:
        return None
    before = _pair(a - b for a, b in zip(field.lead, lead, strict=True))
    after = _pair(n - k - b for n, k, b in zip(size, field.size, before, strict=True))
    return before if before == after and min(before) >= 0 else None


def is_within(field: Field, windows: Windows, lead: Pair, size: Pair) -> bool:
    """Return True if the rectangle of `size` at `lead` is stored."""
    return all(start >= origin and start + n <= origin + length for start, n, origin, length in
               zip(lead, size, field.lead, field.size, strict=True)) or (
                   windows.period is not None and field.const is None)


def _pair(values: Iterable[int]) -> Pair:
    a, b = values
    return a, b
