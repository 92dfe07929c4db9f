"""Fields: what all windows together hold of one layer's output, stored once.

In a field, the value at place (p, q) of the map that window (i, j) would compute lies at coordinate
(i + sy*p, j + sx*q), with (sy, sx) the stride of all layers so far. Neighboring windows therefore share nearly all of
it: that is the à-trous identity (Giusti et al. 2013, arXiv:1302.1700). A layer of stride s becomes one of stride 1, all
later kernels and pools are spread by s. A field stores the rectangle that the image reaches; around it each channel
is one constant.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

Pair = tuple[int, int]
Read = Callable[[torch.Tensor], torch.Tensor]
"""From the stored rectangle to another one."""


@dataclass(frozen=True)
class Windows:
    """The windows of a field.

    Args:
        count: (ny, nx); window (i, j) has its corner at coordinate (i, j) of the input's field.
        period: (H, W) where the field repeats itself (a torus), None where it does not.
    """

    count: Pair
    period: Pair | None = None


@dataclass(frozen=True, eq=False)
class Field:
    """What is known about a field before there are numbers. The numbers are (B, channels, *size).

    Args:
        slot: where its numbers are kept while the engine runs.
        channels: how many.
        local: (hl, wl), size of one window's own map.
        stride: (sy, sx), steps on the field between neighbors on that map.
        lead: coordinate of the first stored row and column.
        size: rows and columns that are stored.
        const: (channels,), the value everywhere else; None where all that windows read is stored.
        layout: which of the axes c, y, x each axis of the model's own tensor runs over, after the batch axis, for
            instance ("c", "y", "x") or, flattened, ("cyx",). Axes of length 1 are left out.
    """

    slot: int
    channels: int
    local: Pair
    stride: Pair
    lead: Pair
    size: Pair
    const: torch.Tensor | None
    layout: tuple[str, ...]

    def length(self, atom: str) -> int:
        """Return the length of the axis c, y or x of one window's map."""
        return {"c": self.channels, "y": self.local[0], "x": self.local[1]}[atom]

    def length_of(self, group: str) -> int:
        """Return the length of an axis that runs over several of them.

        >>> Field(0, 3, (4, 5), (1, 1), (0, 0), (4, 5), None, ("c", "yx")).length_of("yx")
        20
        """
        return math.prod(self.length(atom) for atom in group)

    @property
    def is_spatial(self) -> bool:
        """Whether the model's tensor is (batch, channel, row, column)."""
        return len(self.layout) == 3 and all(group in ("", atom)
                                             for group, atom in zip(self.layout, "cyx", strict=True))


def layout_of(channels: int, local: Pair, groups: Sequence[str] = ("c", "y", "x")) -> tuple[str, ...]:
    """Return a layout with the axes of length 1 left out.

    >>> layout_of(5, (1, 4)), layout_of(5, (1, 1), ["cyx"])
    (('c', '', 'x'), ('c',))
    """
    lengths = dict(zip("cyx", (channels, *local), strict=True))
    return tuple("".join(atom for atom in group if lengths[atom] > 1) for group in groups)


def needed(windows: Windows, local: Pair, stride: Pair) -> Pair:
    """Return how many rows and columns, from coordinate 0 on, hold all that windows read of a field."""
    return _pair(n + s * (size - 1) for n, s, size in zip(windows.count, stride, local, strict=True))


def reached(field: Field, windows: Windows, extent: Pair, local: Pair, stride: Pair) -> tuple[Pair, Pair, bool]:
    """Return which part of a layer's output must be stored.

    Args:
        field: its input; an output at coordinate x reads the inputs from x to x + extent.
        extent: rows and columns that the kernel spans, less one.
        local: size of one window's own output map.
        stride: of the output's field.

    Returns:
        (lead, size, constant): coordinate and size of the rectangle, and whether all else is one constant.
    """
    if windows.period is not None:
        grown = _pair(n + e for n, e in zip(field.size, extent, strict=True))
        if field.const is not None and all(n < p for n, p in zip(grown, windows.period, strict=True)):
            return _pair(lead - e for lead, e in zip(field.lead, extent, strict=True)), grown, True
        return (0, 0), _once_around(windows, local, stride), False
    most = needed(windows, local, stride)
    if field.const is None:
        return (0, 0), most, False
    axes = [_overlap(lead - e, lead + n, end)
            for lead, n, e, end in zip(field.lead, field.size, extent, most, strict=True)]
    return _pair(a for a, _ in axes), _pair(b - a for a, b in axes), True


def _once_around(windows: Windows, local: Pair, stride: Pair) -> Pair:
    """Return how much of a torus windows read: once around at most."""
    most = needed(windows, local, stride)
    return most if windows.period is None else _pair(min(n, p) for n, p in zip(most, windows.period, strict=True))


def _overlap(start: int, stop: int, end: int) -> Pair:
    """Return the part of start..stop within 0..end; one cell where there is none, so that no tensor is empty."""
    a, b = max(start, 0), min(stop, end)
    return (a, b) if a < b else (0, 1)


def joined(fields: Sequence[Field], windows: Windows) -> tuple[Pair, Pair, bool]:
    """Return the smallest rectangle that holds what all fields store: its lead, its size, and whether all else is
    one constant in each of them."""
    first = fields[0]
    constant = all(field.const is not None for field in fields)
    if windows.period is not None:
        if constant and all((field.lead, field.size) == (first.lead, first.size) for field in fields):
            return first.lead, first.size, True
        return (0, 0), _once_around(windows, first.local, first.stride), False
    if not constant:
        return (0, 0), needed(windows, first.local, first.stride), False
    lead = _pair(min(values) for values in zip(*(field.lead for field in fields), strict=True))
    ends = zip(*((field.lead[0] + field.size[0], field.lead[1] + field.size[1]) for field in fields), strict=True)
    return lead, _pair(max(values) - a for values, a in zip(ends, lead, strict=True)), True


def reader(field: Field, windows: Windows, lead: Pair, size: Pair, fill: torch.Tensor | None = None) -> Read:
    """Return the function that reads the rectangle of `size` at `lead` out of a field's numbers.

    What is not stored is filled with the field's constant, or with `fill` (channels,); on a torus the field repeats
    itself. Where nothing is to be filled the result is a view.
    """
    rows, columns = (_pieces(field.lead[k] - lead[k], field.size[k], size[k],
                             windows.period[k] if windows.period else None) for k in (0, 1))
    if len(rows) == len(columns) == 1 and (rows[0][2], columns[0][2]) == size:
        (_, top, height), (_, left, width) = rows[0], columns[0]
        return lambda data: data[:, :, top:top + height, left:left + width]
    around = field.const if fill is None else fill
    return lambda data: _filled(data, size, around, rows, columns)


def _pieces(start: int, length: int, size: int, period: int | None) -> list[tuple[int, int, int]]:
    """Return (place in the rectangle, place in the store, length) of what one axis holds of the rectangle."""
    starts = [start] if period is None else range(start % period - period, size, period)
    ends = [(max(a, 0), min(a + length, size), a) for a in starts]
    return [(a, a - origin, b - a) for a, b, origin in ends if a < b]


def _filled(data: torch.Tensor, size: Pair, around: torch.Tensor | None, rows: Sequence[tuple[int, int, int]],
            columns: Sequence[tuple[int, int, int]]) -> torch.Tensor:
    layout = torch.channels_last if data.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    result = torch.empty(*data.shape[:2], *size, dtype=data.dtype, device=data.device, memory_format=layout)
    if around is not None:
        result.copy_(around.view(1, -1, 1, 1))
    for a, top, height in rows:
        for b, left, width in columns:
            result[:, :, a:a + height, b:b + width] = data[:, :, top:top + height, left:left + width]
    return result


def margins(field: Field, windows: Windows, lead: Pair, size: Pair) -> Pair | None:
    """Return how far the rectangle of `size` at `lead` reaches beyond what is stored, where it does so equally on
    opposite sides; else None."""
    if windows.period is not None:
        return None
    before = _pair(a - b for a, b in zip(field.lead, lead, strict=True))
    after = _pair(n - k - b for n, k, b in zip(size, field.size, before, strict=True))
    return before if before == after and min(before) >= 0 else None


def is_within(field: Field, windows: Windows, lead: Pair, size: Pair) -> bool:
    """Return whether reading this rectangle needs no filling."""
    return all(start >= origin and start + n <= origin + length for start, n, origin, length in
               zip(lead, size, field.lead, field.size, strict=True)) or (
                   windows.period is not None and field.const is None)


def _pair(values: Iterable[int]) -> Pair:
    a, b = values
    return a, b
