"""The field of the pixels: one image that contains the canvas of every placement as a window."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from shiftscope.dense.field import Field, Pair, Windows, layout_of
from shiftscope.dense.unsupported import NotDense
from shiftscope.placement import Placement

WASTE = 16
"""Largest number of computed windows per requested one (with `step`). One pass saves about ten to forty times the work
of separate windows, so there is no gain beyond this."""


@dataclass(frozen=True, eq=False)
class InputField:
    """Positions of the windows, and the function that fills the field.

    Args:
        windows: of the field.
        lead: coordinate of the stored rectangle.
        size: its size.
        background: value outside of it, in [0, 1]; None if everything is stored.
        fill: images (B, C, h, w) -> the stored rectangle.
        order: int64 (P,), row-major index of the window of each placement.
    """

    windows: Windows
    lead: Pair
    size: Pair
    background: float | None
    fill: Callable[[torch.Tensor], torch.Tensor]
    order: torch.Tensor

    def field(self, channels: int, canvas: Pair, dtype: torch.dtype, device: torch.device) -> Field:
        """Return the description of the field, in slot 0."""
        const = None
        if self.background is not None:
            const = torch.full((channels,), self.background, dtype=dtype, device=device)
        return Field(0, channels, canvas, (1, 1), self.lead, self.size, const, layout_of(channels, canvas))


def input_fields(placement: Placement) -> list[InputField]:
    """Return the fields that contain all placements, the cheapest first.

    Mode canvas has two: an image on an empty plane, and a torus, because each placement is a roll of the centered
    canvas. The torus supports circular padding.

    Raises:
        NotDense: if the placements share no field, or use too few of its windows.
    """
    if placement.mode == "canvas" and not isinstance(placement.background, int):
        raise NotDense("background", "a textured background does not move with the image, so windows share no field")
    if placement.mode == "canvas":
        fields = [_plane(placement), _torus(placement)]
    else:
        fields = [_crop(placement) if placement.mode == "crop" else _torus(placement)]
    ny, nx = fields[0].windows.count
    if not placement.geometry.is_grid:
        raise NotDense("placement", "the listed offsets are not a grid in row-major order")
    if ny * nx > WASTE * placement.count:
        raise NotDense("placement", f"step {placement.step} uses {placement.count} of {ny * nx} windows, and one pass "
                       "computes all of them")
    return fields


def _windows(first: list[torch.Tensor]) -> tuple[Pair, torch.Tensor]:
    """Return the number of windows, and their order, from the first rows and columns of the windows, from 0 on."""
    rows, columns = first
    count = (int(rows.max()) + 1, int(columns.max()) + 1)
    return count, (rows[:, None] * count[1] + columns).flatten()


def _plane(placement: Placement) -> InputField:
    """An image on an empty plane; window i shows the offset `high - i`."""
    high = (int(placement.axes[0].max()), int(placement.axes[1].max()))
    count, order = _windows([end - axis for end, axis in zip(high, placement.axes, strict=True)])
    return InputField(Windows(count), high, placement.image, _level(placement), lambda images: images, order)


def _torus(placement: Placement) -> InputField:
    """The centered image, repeated with the period of the canvas; window i shows the roll by `high - i`."""
    geometry = placement.geometry
    shifts = [torch.from_numpy(geometry.shifts(values, axis)) for axis, values in enumerate(geometry.axes)]
    high = (int(shifts[0].max()), int(shifts[1].max()))
    count, order = _windows([end - shift for end, shift in zip(high, shifts, strict=True)])
    windows = Windows(count, placement.canvas)
    if isinstance(placement.background, int) and placement.image != placement.canvas:
        lead = (geometry.start[0] + high[0], geometry.start[1] + high[1])
        return InputField(windows, lead, placement.image, _level(placement), lambda images: images, order)
    centered = Placement(image=placement.image, canvas=placement.canvas, mode="circular",
                         background=placement.background)
    zeros = torch.zeros(1, 2, dtype=torch.int64)
    return InputField(windows, high, placement.canvas, None,
                      lambda images: centered.place(images, zeros.expand(len(images), 2)), order)


def _crop(placement: Placement) -> InputField:
    """The image itself; window i shows the offset `low + i`."""
    low = (int(placement.axes[0].min()), int(placement.axes[1].min()))
    count, order = _windows([axis - begin for begin, axis in zip(low, placement.axes, strict=True)])
    size = (count[0] + placement.canvas[0] - 1, count[1] + placement.canvas[1] - 1)
    return InputField(Windows(count), (0, 0), size, None,
                      lambda images: images[:, :, low[0]:low[0] + size[0], low[1]:low[1] + size[1]], order)


def _level(placement: Placement) -> float:
    return int(placement.background) / 255  # type: ignore[arg-type]
