"""The value of a field for single placements, as the model computes it for a canvas."""

from collections.abc import Callable

import torch

from shiftscope.dense.field import Field

Values = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Function from a field's values for one image (C, rows, columns) and indices of placements (n,) to (n, ...)."""


def first_positions(field: Field, order: torch.Tensor) -> torch.Tensor:
    """Return the index of each placement's first position among the stored ones of a field, row-major, int64 (P,).

    Args:
        order: see `materialized`.
    """
    rows, columns = (torch.from_numpy(axis.table[:, 0]).to(order.device) for axis in (field.rows, field.columns))
    return rows[order // len(columns)] * field.columns.size + columns[order % len(columns)]


def materialized(field: Field, shape: tuple[int, ...], order: torch.Tensor) -> Values:
    """Return the function that reads a layer's output at some placements; it is channels-last if it is a map.

    Args:
        field: all of its rows and columns are stored.
        shape: of the layer's output for one canvas.
        order: int64 (P,), index of each placement among all pairs of rows and columns of the offsets.
    """
    device, width = order.device, field.columns.size
    rows = torch.from_numpy(field.rows.table).to(device) * width
    columns = torch.from_numpy(field.columns.table).to(device)
    down, right = order // len(columns), order % len(columns)
    axes = "".join(field.layout)
    axes += "".join(axis for axis in "cyx" if axis not in axes)
    permutation = [0, *("cyx".index(axis) + 1 for axis in axes)]

    def compute(data: torch.Tensor, placements: torch.Tensor) -> torch.Tensor:
        index = rows[down[placements]][:, :, None] + columns[right[placements]][:, None]
        flat = data.permute(1, 2, 0).reshape(-1, data.shape[0])
        values = flat.index_select(0, index.flatten()).view(*index.shape, -1).permute(0, 3, 1, 2)
        return values.permute(permutation).reshape(len(placements), *shape)

    return compute
