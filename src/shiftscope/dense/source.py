"""The input's field: one picture that holds, for every placement, the canvas that shows it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from shiftscope.dense.field import Field, Pair, Windows, layout_of
from shiftscope.dense.refusal import NotDense
from shiftscope.placement import Placement

WASTE = 16
"""Most windows computed for each one asked for (with `step`): one pass saves about ten to forty times the work of
separate windows, so beyond this nothing is won."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where windows lie on the input's field, and how images fill it.

    Args:
        windows: of the field.
        lead: coordinate of the stored rectangle.
        size: of the stored rectangle.
        background: value around it in [0, 1]; None where all is stored.
        fill: uint8 (B, C, h, w) -> the stored rectangle, uint8.
        order: int64 (P,), the window, in row-major order, that shows each placement.
    """

    windows: Windows
    lead: Pair
    size: Pair
    background: float | None
    fill: Callable[[torch.Tensor], torch.Tensor]
    order: torch.Tensor

    def field(self, channels: int, canvas: Pair, dtype: torch.dtype, device: torch.device) -> Field:
        """Return the input's field, in slot 0."""
        const = None
        if self.background is not None:
            const = torch.full((channels,), self.background, dtype=dtype, device=device)
        return Field(0, channels, canvas, (1, 1), self.lead, self.size, const, layout_of(channels, canvas))


def sources(placement: Placement) -> list[Source]:
    """Return the ways to lay all placements out on one field, the cheapest first.

    Mode canvas has two: an image on an empty plane, and, since an image that lies wholly on the canvas is a roll of the
    centered one, a torus, which suits nets with circular padding.

    Raises:
        NotDense: the placements share no field, or so few of its windows are asked for that nothing is won.
    """
    if placement.mode == "canvas" and not isinstance(placement.background, int):
        raise NotDense("background", "a textured background stands still while the image moves, so no two windows "
                       "share a field")
    if placement.mode == "crop":
        found = [_crop(placement)]
    elif placement.mode == "circular":
        found = [_torus(placement)]
    else:
        found = [_plane(placement), _torus(placement)]
    ny, nx = found[0].windows.count
    if not placement.geometry.is_grid:
        raise NotDense("placement", "the listed offsets are not a grid in row-major order")
    if ny * nx > WASTE * placement.count:
        raise NotDense("placement", f"step {placement.step} asks for {placement.count} of {ny * nx} windows: one pass "
                       "computes them all, so nothing is won")
    return found


def _shifts(placement: Placement, axis: int) -> torch.Tensor:
    """Return by how much each allowed offset moves the image from the middle one (the nearer way around)."""
    geometry = placement.geometry
    return torch.from_numpy(geometry.shifts(geometry.axes[axis], axis))


def _order(rows: torch.Tensor, columns: torch.Tensor, width: int) -> torch.Tensor:
    return (rows[:, None] * width + columns).flatten()


def _ranges(values: list[torch.Tensor]) -> tuple[Pair, Pair, Pair]:
    low, high = [int(v.min()) for v in values], [int(v.max()) for v in values]
    return ((low[0], low[1]), (high[0], high[1]), (high[0] - low[0] + 1, high[1] - low[1] + 1))


def _plane(placement: Placement) -> Source:
    """Window i shows the offset `high - i`: a corner further down sees the image further up."""
    rows, columns = placement.axes
    _, high, count = _ranges([rows, columns])
    order = _order(high[0] - rows, high[1] - columns, count[1])
    return Source(Windows(count), high, placement.image, _level(placement), lambda images: images, order)


def _torus(placement: Placement) -> Source:
    """The centered image, repeated with the canvas as period; window i shows the roll by `high - i`."""
    rows, columns = _shifts(placement, 0), _shifts(placement, 1)
    _, high, count = _ranges([rows, columns])
    order = _order(high[0] - rows, high[1] - columns, count[1])
    windows = Windows(count, placement.canvas)
    whole = not isinstance(placement.background, int) or placement.image == placement.canvas
    if whole:
        still = Placement(image=placement.image, canvas=placement.canvas, mode="circular",
                          background=placement.background)
        zeros = torch.zeros(1, 2, dtype=torch.int64)
        return Source(windows, high, placement.canvas, None,
                      lambda images: still.place(images, zeros.expand(len(images), 2)), order)
    middle = placement.geometry.start
    lead = (middle[0] + high[0], middle[1] + high[1])
    return Source(windows, lead, placement.image, _level(placement), lambda images: images, order)


def _crop(placement: Placement) -> Source:
    """The image itself is the field; window i shows the offset `low + i`."""
    rows, columns = placement.axes
    low, _, count = _ranges([rows, columns])
    order = _order(rows - low[0], columns - low[1], count[1])
    size = (count[0] + placement.canvas[0] - 1, count[1] + placement.canvas[1] - 1)
    return Source(Windows(count), (0, 0), size, None,
                  lambda images: images[:, :, low[0]:low[0] + size[0], low[1]:low[1] + size[1]], order)


def _level(placement: Placement) -> float:
    return int(placement.background) / 255  # type: ignore[arg-type]
