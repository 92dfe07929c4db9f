"""Distinct rows: one axis of a layer's map at all offsets, each value once.

Row u of the map for offset d is stored at index `table[d, u]`. Two rows have the same index if they are computed from
the same pixels in the same way. So the table follows from the rows that a layer reads: a row of its output is the tuple
of the indices that it reads, and equal tuples are one distinct row. This covers strides (the à-trous identity, Giusti
et al. 2013, arXiv:1302.1700), padding of any kind, and branches that are joined, without a formula for any of them.

Rows that touch the padding come after all others, in runs of rows of one offset. The others are sorted by the rows that
they read, so a kernel reads them at equal distances: a layer of stride 1 whose kernel is dilated by the strides before
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

VOID, PAD, BEYOND = -1, -2, -3
"""Indices that are not stored: a row that the image does not reach, whose values are one constant per channel; a row of
padding; a row beyond the padding, which a pool does not count."""

WIDEST = 64
"""Largest distance of taps that is tried before taps are read one by one."""


@dataclass(frozen=True, eq=False)
class Axis:
    """The rows (or columns) of a map at all offsets.

    Args:
        table: int64 (P, n), index of the distinct row for each offset and row; `VOID` if the image does not reach it.
        size: number of distinct rows that are stored.
        inner: number of them that touch no padding; they come first.
        void: index of the stored row that the image does not reach, `VOID` if there is none.
    """

    table: np.ndarray
    size: int
    inner: int
    void: int = VOID

    @property
    def length(self) -> int:
        """n: rows of the map."""
        return self.table.shape[1]

    @property
    def has_border(self) -> bool:
        """True if some rows touch padding, so that rows without the image may differ between columns."""
        return self.inner < self.size or self.void >= 0

    def stored(self) -> "Axis":
        """Return the axis with `VOID` rows as a first stored row."""
        if not (self.table == VOID).any():
            return self
        return Axis(self.table + 1, self.size + 1, self.inner + 1, 0)


@dataclass(frozen=True, eq=False)
class Taps:
    """The rows that each distinct row of a layer's output reads.

    Args:
        axis: of the output.
        index: int64 (axis.size, k), indices of the input's distinct rows; of another input for each tap in joins.
    """

    axis: Axis
    index: np.ndarray

    @property
    def touches_padding(self) -> bool:
        """True if the output has rows that touch padding."""
        return self.axis.has_border

    @property
    def is_regular(self) -> bool:
        """True if a dilated kernel can read the rows in their order."""
        count, taps = self.index.shape
        return taps == 1 or count <= 2 or cover(self.index).spread < count

    def parts(self) -> list[slice]:
        """Return the output's rows in groups: those that touch no padding, and those that do, which are read apart."""
        ends = (0, self.axis.inner if self.index.shape[1] > 1 else 0, self.axis.size)
        return [slice(a, b) for a, b in pairwise(ends) if a < b]


def windows(length: int, count: int, kernel: int, *, stride: int = 1, dilation: int = 1, before: int = 0,
            after: int = 0, mode: str = "constant") -> np.ndarray:
    """Return the rows that the windows of a kernel read, int64 (count, kernel): `PAD` and `BEYOND` outside of the map.

    Args:
        length: n, rows of the map.
        count: number of windows.
        before, after: rows of padding.
        mode: "constant", "reflect", "replicate" or "circular".

    Example:
        >>> windows(4, 2, 3, stride=3, before=1).tolist(), windows(3, 1, 5, before=1, after=1, mode="reflect").tolist()
        ([[-2, 0, 1], [2, 3, -3]], [[1, 0, 1, 2, 1]])
    """
    rows = np.arange(count)[:, None] * stride - before + np.arange(kernel) * dilation
    inside, beyond = (rows >= 0) & (rows < length), rows >= length + after
    if mode == "constant":
        outside = np.where(beyond, BEYOND, PAD)
    elif mode == "circular":
        outside = rows % length
    elif mode == "replicate":
        outside = rows.clip(0, length - 1)
    else:
        outside = length - 1 - np.abs(length - 1 - np.abs(rows))
    return np.where(inside, rows, outside)


def read_windows(axis: Axis, rows: np.ndarray, *, wrapped: np.ndarray | None = None) -> Taps:
    """Return the taps of a layer whose output rows read `rows` (n', k) of the map.

    Args:
        wrapped: bool (n', k), rows that padding repeats.
    """
    sources = np.where(rows >= 0, axis.table[:, rows.clip(0)], rows)  # (P, n', k)
    repeats = np.zeros(rows.shape[:1], bool) if wrapped is None else wrapped.any(1)
    return distinct(sources, np.full(rows.shape[1], axis.inner), np.full(rows.shape[1], axis.void),
                    np.broadcast_to(repeats, sources.shape[:2]))


def join(axes: Sequence[Axis]) -> Taps:
    """Return the taps of a layer that combines the same row of several maps; maps of one row are repeated."""
    length = max(axis.length for axis in axes)
    tables = [np.broadcast_to(axis.table, (len(axis.table), length)) for axis in axes]
    same = all(np.array_equal(table, tables[0]) for table in tables)
    if same and len({(axis.inner, axis.size) for axis in axes}) == 1:
        widest = next(axis for axis in axes if axis.length == length)
        return Taps(widest, np.repeat(np.arange(widest.size)[:, None], len(axes), 1))
    sources = np.stack(tables, 2)
    return distinct(sources, np.array([axis.inner for axis in axes]), np.array([axis.void for axis in axes]),
                    np.zeros(sources.shape[:2], bool))


def distinct(sources: np.ndarray, inner: np.ndarray, void: np.ndarray, border: np.ndarray) -> Taps:
    """Return the distinct rows among tuples of indices.

    Args:
        sources: int64 (P, n, k), the indices that row u reads for offset d.
        inner: (k,), for each tap, the number of rows of its source that touch no padding.
        void: (k,), for each tap, the index of the row of its source without the image.
        border: bool (P, n), rows that touch padding for another reason.
    """
    count, length, taps = sources.shape
    tuples, first, inverse = np.unique(sources.reshape(-1, taps), axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    edges = (tuples >= inner) | (tuples < VOID)
    touches = edges.any(1)
    always = np.ones(len(tuples), bool)  # a row touches padding only if it does so wherever it occurs
    always[inverse[~border.reshape(-1)]] = False
    touches |= always
    empty = (tuples == VOID).all(1)
    if empty.all():
        empty[0] = False  # one row, so that no tensor is empty
    keys = np.where(edges, PAD, tuples)  # sorted by the taps that touch no padding first
    runs = np.where(touches, first, 0) if length > 1 else np.zeros(len(tuples), int)  # rows of one offset are neighbors
    order = np.lexsort((*tuples.T[::-1], *keys.T[::-1], runs, touches, empty))[:int((~empty).sum())]
    rank = np.full(len(tuples), VOID)
    rank[order] = np.arange(len(order))
    ground = rank[((tuples == void) & (void >= 0)).all(1)]
    axis = Axis(rank[inverse].reshape(count, length), len(order), int((~touches[order]).sum()),
                int(ground[0]) if len(ground) else VOID)
    return Taps(axis, tuples[order])


@dataclass(frozen=True, eq=False)
class Cover:
    """Rows from which a dilated kernel reads all taps: tap i of output row r is `rows[r + i * spread]`."""

    rows: np.ndarray
    spread: int


def cover(index: np.ndarray) -> Cover:
    """Return the shortest sequence of rows for taps (R, k) at equal distances.

    >>> found = cover(np.array([[-1, 0, 1], [0, 1, 2], [1, 2, -1]]))
    >>> found.rows.tolist(), found.spread
    ([-1, 0, 1, 2, -1], 1)
    >>> cover(np.array([[0, 2], [1, 3], [2, 4]])).spread, cover(np.array([[0, 1], [0, 2]])).spread
    (2, 2)
    """
    count, taps = index.shape
    for spread in range(1, min(count, WIDEST)):
        rows = np.full(count + (taps - 1) * spread, BEYOND - 1)
        for tap in range(taps):
            part = rows[tap * spread:tap * spread + count]
            free = part == BEYOND - 1
            if not np.array_equal(part[~free], index[~free, tap]):
                break
            part[free] = index[free, tap]
        else:
            return Cover(np.where(rows == BEYOND - 1, 0, rows), spread)
    return Cover(index.T.reshape(-1), count)


@dataclass(frozen=True, eq=False)
class Plan:
    """How a kernel reads its taps from a sequence of rows: tap i of output row r is
    `rows[stride * kept[r] + i * spread]`.

    Args:
        rows: int64, indices of rows.
        spread: dilation of the kernel.
        stride: of the kernel.
        kept: int64 (R,), outputs that are rows of the layer; the others are not used.
        taps: of the kernel.
    """

    rows: np.ndarray
    spread: int
    stride: int
    kept: np.ndarray
    taps: int

    @property
    def keeps_all(self) -> bool:
        """True if each output is a row of the layer, in order."""
        outputs = (len(self.rows) - self.spread * (self.taps - 1) - 1) // self.stride + 1
        return np.array_equal(self.kept, np.arange(outputs))


def plan(index: np.ndarray, stride: int) -> Plan:
    """Return a sequence of rows for taps (R, k): at equal distances, or runs in which neighbors read common rows.

    Args:
        stride: of the layer, by which neighboring rows of its output are apart.

    Example:
        >>> found = plan(np.array([[-2, 4, 5], [4, 5, 6], [-2, 7, 8], [7, 8, -2]]), 1)
        >>> found.rows.tolist(), found.kept.tolist()
        ([-2, 4, 5, 6, -2, 7, 8, -2], [0, 1, 4, 5])
    """
    count, taps = index.shape
    even = cover(index)
    if taps > stride and taps > 1 and even.spread >= count > 2:
        runs = _runs(index, stride)
        if len(runs.rows) < len(even.rows):
            return runs
    return Plan(even.rows, even.spread, 1, np.arange(count), taps)


def _runs(index: np.ndarray, stride: int) -> Plan:
    rows: list[int] = []
    kept, common = [], index.shape[1] - stride
    for r, row in enumerate(index):
        if r and np.array_equal(row[:common], index[r - 1, stride:]):
            rows.extend(row[common:])
            kept.append(kept[-1] + 1)
        else:
            rows.extend([0] * (-len(rows) % stride))
            kept.append(len(rows) // stride)
            rows.extend(row)
    return Plan(np.array(rows), 1, stride, np.array(kept), index.shape[1])


def straight(index: np.ndarray, axis: Axis) -> tuple[int, int] | None:
    """Return (first, step) if tap i of row r reads row `first + r + i * step`, or none that is reached where there is
    no such row; None if the taps have another structure.

    Args:
        index: int64 (R, k), taps that read rows of `axis` that touch no padding.
    """
    reached = index != axis.void
    low, high = (1 if axis.void == 0 else 0), axis.inner
    if axis.void > 0 or not reached.any():
        return None
    rows = np.arange(len(index))[:, None]
    r, i = np.argwhere(reached)[0]
    for step in range(1, WIDEST):
        first = int(index[r, i]) - int(r) - int(i) * step
        expected = first + rows + np.arange(index.shape[1]) * step
        inside = (expected >= low) & (expected < high)
        if np.array_equal(inside, reached) and np.array_equal(expected[inside], index[inside]):
            return first, step
    return None
