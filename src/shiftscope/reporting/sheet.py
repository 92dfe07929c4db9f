"""A page of equal pictures in rows, laid out in inches: what the galleries and the weight pictures share."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType

from shiftscope.errors import UsageError, require
from shiftscope.reporting.style import foot, foot_height, head, head_height

_MARGIN = 0.12


def to_pictures(images: np.ndarray) -> np.ndarray:
    """Return raw images as RGB pictures.

    Args:
        images: uint8 (N, C, H, W). One channel is gray, three or more show the first three as red, green and blue,
            two show their mean.

    Returns:
        uint8 (N, H, W, 3).

    Raises:
        UsageError: another dtype or number of axes.
    """
    if images.ndim != 4 or images.dtype != np.uint8:
        raise UsageError(f"images must be uint8 of shape (N, C, H, W), got {images.dtype} {images.shape}")
    if images.shape[1] < 3:
        images = images.mean(axis=1, keepdims=True).astype(np.uint8).repeat(3, axis=1)
    return images[:, :3].transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class Layout:
    """Sizes of a page, in inches where nothing else is said."""

    count: int
    """Number of cells."""
    columns: int
    size: tuple[int, int]
    """(H, W) of every picture, pixels: gives its proportions."""
    side: float = 1.0
    """Longer side of a picture, at most."""
    above: float = 0.0
    """Room for text above each picture."""
    below: float = 0.0
    """Room for text under each picture."""
    gap: float = 0.1
    group: int = 0
    """Leave a wider gap after every this many columns; 0: nowhere."""
    least_width: float = 5.2
    """Width of the page, at least: titles need it."""
    right: float = 0.0
    """Room at the right of the pictures, for a color scale."""
    top: float = 0.0
    """Room above the first row, for the names of columns."""
    left: float = 0.0
    """Room at the left of the pictures, for the names of rows."""

    def __post_init__(self) -> None:
        require(self.count >= 1, "the number of pictures", self.count, "at least 1: there is nothing to draw")

    @property
    def picture(self) -> tuple[float, float]:
        """(height, width) of a picture."""
        rows, columns = self.size
        longer = max(rows, columns)
        return self.side * rows / longer, self.side * columns / longer

    @property
    def rows(self) -> int:
        return -(-self.count // self.columns)

    def corner(self, cell: int) -> tuple[float, float]:
        """Return (down, right) of the top left corner of the picture in `cell`."""
        row, column = divmod(cell, self.columns)
        height, _ = self.picture
        groups = column // self.group if self.group else 0
        down = self.top + row * (self.above + height + self.below + self.gap) + self.above
        return down, self.left + column * (self.side + self.gap) + groups * 0.3

    @property
    def extent(self) -> tuple[float, float]:
        """(height, width) of all cells together."""
        groups = (self.columns - 1) // self.group if self.group else 0
        height = self.top + self.rows * (self.above + self.picture[0] + self.below + self.gap)
        return height, self.left + self.columns * (self.side + self.gap) + groups * 0.3


class Sheet:
    """A figure of equal pictures; its axes count inches, to the right and down."""

    def __init__(self, layout: Layout, *, title: str, subtitle: str = "", footer: tuple[str, ...] = ()):
        self.layout = layout
        height, width = layout.extent
        page = max(width + 2 * _MARGIN + layout.right, layout.least_width)
        bottom = foot_height(page, *footer)
        total = head_height(page, title, subtitle) + height + bottom
        self.figure = Figure(figsize=(page, total))
        head(self.figure, title, subtitle)
        foot(self.figure, *footer)
        self.axes: Axes = self.figure.add_axes((_MARGIN / page, bottom / total, width / page, height / total))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        self.axes.autoscale(False)

    def show(self, cell: int, picture: np.ndarray, **options: Any) -> AxesImage:
        """Draw a picture into a cell; `options` go to `imshow`."""
        down, right = self.layout.corner(cell)
        height, width = self.layout.picture
        return self.axes.imshow(picture, extent=(right, right + width, down + height, down), aspect="auto",
                                interpolation="none", **options)  # the pixels themselves, also inside an SVG

    def frame(self, cell: int, color: str, width: float, style: LineStyleType = "solid") -> None:
        """Draw a frame of `width` points around the picture in a cell."""
        down, right = self.layout.corner(cell)
        tall, wide = self.layout.picture
        self.axes.add_patch(Rectangle((right, down), wide, tall, fill=False, edgecolor=color, linewidth=width,
                                      linestyle=style, clip_on=False))


def side_axes(sheet: Sheet) -> Axes:
    """Return axes for a color scale, right of the first pictures; the layout keeps room for them."""
    width, height = sheet.figure.get_size_inches()
    box = sheet.axes.get_position()
    tall = min(box.height, 3.0 / height)
    return sheet.figure.add_axes((box.x1 + 0.12 / width, box.y1 - tall + 0.01, 0.13 / width, tall - 0.01))
