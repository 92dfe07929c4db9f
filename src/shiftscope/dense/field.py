"""Fields: a layer's outputs at all placements, stored once as (distinct rows) x (distinct columns).

`shiftscope.dense.axis` explains which rows and columns are distinct. If no padding was met, rows and columns that the
image does not reach are not stored: each channel is constant there.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from shiftscope.dense.axis import PAD, VOID, Axis

Pair = tuple[int, int]
Read = Callable[[torch.Tensor], torch.Tensor]
"""Function from a field's values to some of its rows and columns."""

PIECES = 4
"""Most runs of consecutive rows that are copied one by one; more are read by index."""


@dataclass(frozen=True, eq=False)
class Field:
    """Description of a field; its values are a tensor (B, channels, rows.size, columns.size).

    Args:
        slot: index of its values in the program.
        channels: number of channels.
        rows, columns: the axes.
        const: (channels,), the value where the image and padding do not reach; None if there is no such position.
        layout: for each axis of the model's tensor after the batch axis, the axes c, y, x that it combines, such as
            ("c", "y", "x") or, flattened, ("cyx",). Axes of length 1 are omitted.
        dtype: of the values; Boolean after a comparison.
    """

    slot: int
    channels: int
    rows: Axis
    columns: Axis
    const: torch.Tensor | None
    layout: tuple[str, ...]
    dtype: torch.dtype

    @property
    def size(self) -> Pair:
        """Stored rows and columns."""
        return self.rows.size, self.columns.size

    @property
    def values(self) -> int:
        """Number of stored values of one image."""
        return self.channels * self.rows.size * self.columns.size

    @property
    def local(self) -> Pair:
        """Rows and columns of the model's map."""
        return self.rows.length, self.columns.length

    @property
    def has_border(self) -> bool:
        """True if rows or columns touch padding; all of them are then stored."""
        return self.rows.has_border or self.columns.has_border

    def example(self, device: torch.device) -> torch.Tensor:
        """Return values (1, channels, 1, 1) without the image, or zeros."""
        if self.const is not None:
            return self.const.view(1, -1, 1, 1)
        return torch.zeros(1, self.channels, 1, 1, dtype=self.dtype, device=device)

    def length(self, axes: str) -> int:
        """Return the length of combined axes."""
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


def reader(rows: np.ndarray, columns: np.ndarray, *, void: torch.Tensor | None = None, pad: float = 0.0) -> Read:
    """Return the function that reads rows and columns (indices) of a field's values; a view if it can be one.

    Args:
        void: (channels,), the value of `VOID` rows and columns (default: zero).
        pad: the value of padding.
    """
    runs = runs_of(rows), runs_of(columns)
    if len(runs[0]) == len(runs[1]) == 1 and min(rows.min(), columns.min()) >= 0:
        (_, top, height), (_, left, width) = runs[0][0], runs[1][0]
        return lambda data: data[:, :, top:top + height, left:left + width]
    fills = [(axis, start, stop, value) for axis, source in ((2, rows), (3, columns))
             for value, missing in ((void, source == VOID), (pad, source <= PAD)) for start, stop in _spans(missing)]
    size = (len(rows), len(columns))
    if max(map(len, runs)) <= PIECES:
        return lambda data: _copied(data, size, runs, fills)
    return _Gather(rows, columns, fills)


def runs_of(index: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (start in the result, first row, length) of the runs of consecutive stored rows.

    >>> runs_of(np.array([-1, 3, 4, 5, -2, 0]))
    [(1, 3, 3), (5, 0, 1)]
    """
    breaks = np.flatnonzero(np.diff(index) != 1) + 1
    parts = zip([0, *breaks], [*breaks, len(index)], strict=True)
    return [(int(a), int(index[a]), int(b - a)) for start, b in parts
            for a in [start + int((index[start:b] < 0).sum())] if a < b]


def _spans(chosen: np.ndarray) -> list[Pair]:
    """Return start and stop of the runs of True."""
    ends = np.flatnonzero(np.diff(np.r_[0, chosen.astype(int), 0])).tolist()
    return list(zip(ends[::2], ends[1::2], strict=True))


def _fill(result: torch.Tensor, fills: Iterable[tuple[int, int, int, torch.Tensor | float | None]]) -> None:
    for axis, start, stop, value in fills:
        part = result.narrow(axis, start, stop - start)
        if isinstance(value, torch.Tensor):
            part.copy_(value.view(1, -1, 1, 1))
        else:
            part.fill_(value or 0.0)


def _copied(data: torch.Tensor, size: Pair, runs: tuple[list, list], fills: list) -> torch.Tensor:
    result = blank(data, data.shape[1], size)
    _fill(result, fills)
    for a, top, height in runs[0]:
        for b, left, width in runs[1]:
            result[:, :, a:a + height, b:b + width] = data[:, :, top:top + height, left:left + width]
    return result


class _Gather:
    """Reads any rows and columns by index, in the channels-last layout, where one position is one block of memory."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, fills: list):
        self.rows, self.columns, self.fills = torch.from_numpy(rows.clip(0)), torch.from_numpy(columns.clip(0)), fills
        self.index: torch.Tensor | None = None

    def __call__(self, data: torch.Tensor) -> torch.Tensor:
        batch, channels, _, width = data.shape
        if self.index is None:
            index = (self.rows[:, None] * width + self.columns).flatten()
            self.index = index.to(device=data.device, dtype=torch.int32)
        flat = data.permute(0, 2, 3, 1).reshape(batch, data.shape[2] * width, channels)
        found = flat.index_select(1, self.index).view(batch, len(self.rows), len(self.columns), channels)
        result = found.permute(0, 3, 1, 2)
        _fill(result, self.fills)
        return result


def blank(data: torch.Tensor, channels: int, size: Pair) -> torch.Tensor:
    """Return an uninitialized tensor (B, channels, *size), channels-last, of the dtype and device of `data`."""
    return torch.empty(len(data), channels, *size, dtype=data.dtype, device=data.device,
                       memory_format=torch.channels_last)
