"""Figures of equally sized images in rows and columns, laid out in inches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.typing import LineStyleType

from shiftscope.errors import UsageError, require
from shiftscope.reporting.figure_style import CORRECT, INCORRECT, INK, page, verbatim
from shiftscope.reporting.formatting import percent, shorten

NONFINITE_NAME = "non-finite"
"""Shown as the predicted class if the outputs are not finite."""

_MARGIN = 0.12
_WIDTH = 19  # characters of a line under an image of one inch


def to_rgb(images: np.ndarray) -> np.ndarray:
    """Convert uint8 images (N, C, H, W) to RGB (N, H, W, 3).

    One channel becomes gray, two are averaged, of more than three the first three are used.
    """
    if images.ndim != 4 or images.dtype != np.uint8:
        raise UsageError(f"images must be uint8 of shape (N, C, H, W), got {images.dtype} {images.shape}")
    if images.shape[1] < 3:
        images = images.mean(axis=1, keepdims=True).astype(np.uint8).repeat(3, axis=1)
    return images[:, :3].transpose(0, 2, 3, 1)


@dataclass(frozen=True)
class GridLayout:
    """Positions and sizes of the cells of an `ImageGrid`, in inches."""

    count: int  # cells
    columns: int
    size: tuple[int, int]  # (H, W) of every image in pixels: sets its aspect ratio
    side: float = 1.0  # longer side of an image
    above: float = 0.0  # space for text above each image
    below: float = 0.0  # space for text below each image
    gap: float = 0.1
    group: int = 0  # add a wider gap after this many columns; 0: none
    min_width: float = 5.2  # of the figure: titles need it
    right: float = 0.0  # space at the right, for a color bar
    top: float = 0.0  # space above the first row, for column names

    def __post_init__(self) -> None:
        require(self.count >= 1, "the number of images", self.count, "at least 1")

    @property
    def image(self) -> tuple[float, float]:
        """(height, width) of an image."""
        longer = max(self.size)
        return self.side * self.size[0] / longer, self.side * self.size[1] / longer

    def corner(self, cell: int) -> tuple[float, float]:
        """Return (down, right) of the top left corner of the image in `cell`."""
        row, column = divmod(cell, self.columns)
        groups = column // self.group if self.group else 0
        down = self.top + row * (self.above + self.image[0] + self.below + self.gap) + self.above
        return down, column * (self.side + self.gap) + groups * 0.3

    @property
    def extent(self) -> tuple[float, float]:
        """(height, width) of all cells together."""
        rows, groups = -(-self.count // self.columns), (self.columns - 1) // self.group if self.group else 0
        height = self.top + rows * (self.above + self.image[0] + self.below + self.gap)
        return height, self.columns * (self.side + self.gap) + groups * 0.3


class ImageGrid:
    """A figure with a grid of images; its axes are in inches, to the right and down."""

    def __init__(self, layout: GridLayout, *, title: str, subtitle: str = "", footer: tuple[str, ...] = ()):
        self.layout = layout
        height, width = layout.extent
        page_width = max(width + 2 * _MARGIN + layout.right, layout.min_width)
        self.figure, bottom = page(page_width, height, title, subtitle, footer)
        total = self.figure.get_size_inches()[1]
        self.axes: Axes = self.figure.add_axes((_MARGIN / page_width, bottom / total, width / page_width,
                                                height / total))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.set_axis_off()
        self.axes.autoscale(False)

    def draw(self, cell: int, image: np.ndarray, **options: Any) -> AxesImage:
        """Draw an image into a cell; `options` are passed to `imshow`."""
        down, right = self.layout.corner(cell)
        height, width = self.layout.image
        return self.axes.imshow(image, extent=(right, right + width, down + height, down), aspect="auto",
                                interpolation="none", **options)  # keeps the pixels in an SVG

    def frame(self, cell: int, color: str, width: float, style: LineStyleType = "solid") -> None:
        """Draw a frame of `width` points around the image in a cell."""
        down, right = self.layout.corner(cell)
        tall, wide = self.layout.image
        self.axes.add_patch(Rectangle((right, down), wide, tall, fill=False, edgecolor=color, linewidth=width,
                                      linestyle=style, clip_on=False))

    def text_above(self, cell: int, text: str, *, size: float = 7.0, color: str = INK, weight: str = "normal",
                   gap: float = 0.03) -> None:
        """Write one line above the image in a cell."""
        down, right = self.layout.corner(cell)
        self.axes.text(right, down - gap, verbatim(text), fontsize=size, color=color, weight=weight, va="bottom")

    def text_below(self, cell: int, *lines: tuple[str, str, str]) -> None:
        """Write small lines (text, color, weight) below the image in a cell."""
        down, right = self.layout.corner(cell)
        top = down + self.layout.image[0] + 0.06
        for row, (line, color, weight) in enumerate(lines):
            self.axes.text(right, top + row * 0.125, verbatim(shorten(line, _WIDTH)), fontsize=7, color=color,
                           weight=weight, va="top")

    def mark_prediction(self, cell: int, *, correct: bool, true: str, predicted: str, confidence: float) -> None:
        """Frame the image in a cell and write true class, predicted class and confidence below it.

        Class names need not be unique, so `correct` is a separate argument.
        """
        color = CORRECT if correct else INCORRECT
        self.frame(cell, color, 1.2 if correct else 2.6, "solid" if correct else (0, (2.2, 1.1)))
        result = "✓ correct" if correct else "✗ incorrect"
        result += f", {percent(confidence, 0)}"
        self.text_below(cell, (result, color, "bold"), (f"true: {true}", INK, "normal"),
                        (f"pred: {predicted}", INK if correct else INCORRECT, "normal"))

    def colorbar_axes(self) -> Axes:
        """Return axes for a color bar at the right of the first rows; `layout.right` reserves the space."""
        width, height = self.figure.get_size_inches()
        box = self.axes.get_position()
        tall = min(box.height, 3.0 / height)
        return self.figure.add_axes((box.x1 + 0.12 / width, box.y1 - tall + 0.01, 0.13 / width, tall - 0.01))
