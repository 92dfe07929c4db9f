"""Linear layers over a whole map, some rows and columns of which touch padding.

    y[r, c] = sum over u, v of kernel[u, v] * x[rows[r, u], columns[c, v]]

Most taps (u, v) never touch padding: their sum is the correlation of a network without padding, which
`shiftscope.dense.correlate` computes with few operations. The taps of each remaining row u read few distinct rows, so
their sums are computed once per distinct row; the same holds for the remaining columns.
"""

from dataclasses import dataclass

import numpy as np
import torch

from shiftscope.dense.axis import Axis, Taps, straight
from shiftscope.dense.correlate import Correlation
from shiftscope.dense.field import Field, reader
from shiftscope.dense.program import Compute


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights (O, C/groups, kh, kw), bias (O,) or None, and groups of a convolution."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    groups: int = 1

    def part(self, rows: slice | int, columns: slice) -> torch.Tensor:
        """Return the weights of some taps, (O, C/groups, ., .)."""
        rows = slice(rows, rows + 1) if isinstance(rows, int) else rows
        return self.weight[:, :, rows, columns]


def outside_sum(field: Field, kernel: Kernel, rows: np.ndarray, columns: np.ndarray) -> torch.Tensor:
    """Return the sum over the taps that read values without the image, (O, R, C) or (O, 1, 1).

    Args:
        rows, columns: int64 (R, kh) and (C, kw), the taps.
    """
    weight = kernel.weight
    inside = [torch.from_numpy(index != axis.void).double()
              for index, axis in ((rows, field.rows), (columns, field.columns))]
    if field.const is None or not field.const.any() or all(bool(part.all()) for part in inside):
        return weight.new_zeros(len(weight), 1, 1)
    const = field.const.cpu().double().view(kernel.groups, 1, -1, 1, 1)
    sums = (weight.cpu().double().unflatten(0, (kernel.groups, -1)) * const).sum(2).flatten(0, 1)  # (O, kh, kw)
    reached = torch.einsum("ru,ouv,cv->orc", inside[0], sums, inside[1])
    return (sums.sum((1, 2))[:, None, None] - reached).to(weight)


def whole_map(field: Field, kernel: Kernel, rows: Taps, columns: Taps) -> Compute:
    """Return the function (B, C, ., .) -> (B, O, R, C) of a linear layer over the whole map of a field with borders."""
    down, right = _inner_taps(rows.index, field.rows), _inner_taps(columns.index, field.columns)
    if down is None or right is None:
        down, right = slice(0, 0), slice(0, 0)
    parts: list[Compute] = []
    if down.start < down.stop and right.start < right.stop:
        parts.append(_correlation(field, kernel, rows.index, columns.index, down, right))
    everything = slice(0, columns.index.shape[1])
    for u in _others(rows.index.shape[1], down):
        parts.append(_one_row(rows.index[:, u], columns.index, kernel.part(u, everything)))
    for v in _others(columns.index.shape[1], right) if down.start < down.stop else []:
        transposed = kernel.part(down, slice(v, v + 1)).transpose(2, 3)
        one = _one_row(columns.index[:, v], rows.index[:, down], transposed)
        parts.append(lambda data, one=one: one(data.transpose(2, 3)).transpose(2, 3))
    bias = None if kernel.bias is None else kernel.bias.view(-1, 1, 1)

    def compute(data: torch.Tensor) -> torch.Tensor:
        result = parts[0](data)
        result = result if bias is None else result + bias
        for part in parts[1:]:
            result += part(data)
        return result

    return compute


def _others(count: int, inner: slice) -> list[int]:
    return [u for u in range(count) if not inner.start <= u < inner.stop]


def _inner_taps(index: np.ndarray, axis: Axis) -> slice | None:
    """Return the longest run of taps that touch no padding for any output and read rows at equal distances."""
    inner = ((index >= 0) & (index < axis.inner)).all(0)
    ends = np.flatnonzero(np.diff(np.r_[0, inner.astype(int), 0]))
    if not len(ends):
        return None
    start, stop = max(zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True), key=lambda run: run[1] - run[0])
    return slice(start, stop) if straight(index[:, start:stop], axis) is not None else None


def _correlation(field: Field, kernel: Kernel, rows: np.ndarray, columns: np.ndarray, down: slice,
                 right: slice) -> Compute:
    """Return the correlation of the taps that touch no padding."""
    taps = (rows[:, down], columns[:, right])
    axes = (field.rows, field.columns)
    (first_row, step_y), (first_column, step_x) = (straight(index, axis) or (0, 1)
                                                   for index, axis in zip(taps, axes, strict=True))
    start = [1 if axis.void == 0 else 0 for axis in axes]
    support = (field.rows.inner - start[0], field.columns.inner - start[1])
    inner = Kernel(kernel.part(down, right), None)
    correlate = Correlation(inner.weight.contiguous(), dilation=(step_y, step_x), support=support,
                            lead=(start[0] - first_row, start[1] - first_column), out=(len(rows), len(columns)))
    outside = outside_sum(field, inner, *taps)
    stop = (field.rows.inner, field.columns.inner)
    return lambda data: correlate(data[:, :, start[0]:stop[0], start[1]:stop[1]]).add_(outside)


def _one_row(row: np.ndarray, columns: np.ndarray, weight: torch.Tensor) -> Compute:
    """Return the sum over the taps of one row: computed for each distinct row that is read, then repeated.

    Args:
        row: int64 (R,), the row that each output reads.
        columns: int64 (C, kw), the columns.
        weight: (O, C, 1, kw).
    """
    distinct, inverse = np.unique(row, return_inverse=True)
    count, taps = columns.shape
    get = reader(distinct, columns.reshape(-1))
    matrix = weight[:, :, 0].permute(2, 1, 0).reshape(-1, len(weight)).contiguous()  # (kw * C, O)
    repeat = torch.from_numpy(inverse.reshape(-1)).to(weight.device)

    def compute(data: torch.Tensor) -> torch.Tensor:
        values = get(data).permute(0, 2, 3, 1).reshape(len(data), len(distinct), count, taps * data.shape[1])
        return (values @ matrix).index_select(1, repeat).permute(0, 3, 1, 2)

    return compute
