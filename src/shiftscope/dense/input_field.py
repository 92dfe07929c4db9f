"""The field of the pixels: the rows and columns of the image that each row and column of a canvas shows."""

from dataclasses import dataclass

import numpy as np
import torch

from shiftscope.dense.axis import VOID, Taps, distinct
from shiftscope.dense.field import Field, Read, layout_of, reader
from shiftscope.dense.unsupported import NotDense
from shiftscope.geometry import Geometry
from shiftscope.placement import Placement

WASTE = 16
"""Largest number of computed placements per requested one: all pairs of the rows and columns of the offsets are."""


@dataclass(frozen=True, eq=False)
class InputField:
    """The pixels that the canvases of all placements show.

    Args:
        rows, columns: rows and columns of the image, or of the centered canvas.
        background: value of the canvas without the image, in [0, 1]; None if everything is stored.
        centered: the placement that creates the canvas that is rolled; None if rows and columns are the image's.
        order: int64 (P,), index of each placement among all pairs of the rows and columns of the offsets.
    """

    rows: Taps
    columns: Taps
    background: float | None
    centered: Placement | None
    order: torch.Tensor

    def field(self, channels: int, dtype: torch.dtype, device: torch.device) -> Field:
        """Return the description of the field, in slot 0."""
        const = None
        if self.background is not None:
            const = torch.full((channels,), self.background, dtype=dtype, device=device)
        rows, columns = self.rows.axis, self.columns.axis
        return Field(0, channels, rows, columns, const, layout_of(channels, (rows.length, columns.length)), dtype)

    def reader(self) -> Read:
        """Return the function from images (B, C, h, w) to the stored rows and columns."""
        get = reader(self.rows.index[:, 0], self.columns.index[:, 0])
        if self.centered is None:
            return get
        place, zeros = self.centered, torch.zeros(1, 2, dtype=torch.int64)
        return lambda images: get(place.place(images, zeros.expand(len(images), 2)))


def input_field(placement: Placement) -> InputField:
    """Return the field of all placements.

    Raises:
        NotDense: if they share no pixels, or are few of the pairs of their rows and columns.
    """
    geometry = placement.geometry
    texture = not isinstance(placement.background, int)
    if texture and placement.mode == "canvas":
        raise NotDense("background", "a textured background does not move with the image, so placements share nothing")
    offsets, (dy, dx) = geometry.offsets, geometry.axes
    if len(dy) * len(dx) > WASTE * len(offsets):
        raise NotDense("placement", f"the {len(offsets)} offsets are few of the {len(dy) * len(dx)} pairs of their "
                       "rows and columns, and one pass computes all of them")
    order = np.searchsorted(dy, offsets[:, 0]) * len(dx) + np.searchsorted(dx, offsets[:, 1])
    shown = [_shown(geometry, axis, texture) for axis in (0, 1)]
    centered = None
    if texture and placement.mode == "circular":
        centered = Placement(image=placement.image, canvas=placement.canvas, mode="circular",
                             background=placement.background)
    everything = texture or placement.mode == "crop" or placement.fill in ("edge", "reflect")
    background = None if everything else int(placement.background) / 255  # type: ignore[arg-type]
    return InputField(shown[0], shown[1], background, centered, torch.from_numpy(order))


def _shown(geometry: Geometry, axis: int, texture: bool) -> Taps:
    """Return the rows (axis 0) or columns of the image that each row of the canvas shows, for each offset."""
    size, offsets, rows = geometry.image[axis], geometry.axes[axis][:, None], np.arange(geometry.canvas[axis])
    if geometry.mode == "crop":
        source = rows + offsets
    elif geometry.mode == "circular":
        source = (rows - offsets) % geometry.canvas[axis] - (0 if texture else geometry.start[axis])
    else:
        source = rows - offsets
    if geometry.fill in ("edge", "reflect"):
        last = size - 1
        source = source.clip(0, last) if geometry.fill == "edge" else last - np.abs(last - np.abs(source))
    if not texture:
        source = np.where((source >= 0) & (source < size), source, VOID)
    ends, none = np.array([size]), np.array([VOID])
    return distinct(source[:, :, None], np.maximum(ends, source.max() + 1), none, np.zeros(source.shape, bool))
