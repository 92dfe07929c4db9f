"""The filters of any convolution, and what neurons read of a map: a row a unit, a column an input channel."""

import numpy as np
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.reporting.sheet import Layout, Sheet, side_axes
from shiftscope.reporting.style import INK, MUTED, describe, styled
from shiftscope.reporting.weights import draw_weights, scale_end

_SIGNS_UP_TO = 7  # pixels: kernels this small have room for a sign in every pixel


@styled
def filter_grid(weights: np.ndarray, *, title: str, groups: int = 1, limit: int = 30, channels: int = 12,
                unit: str = "filter", credit: str = "") -> Figure:
    """Draw the weights of each unit for each input channel, all on one colour scale that is symmetric about zero.

    Args:
        weights: float (N, C, h, w), from C channels to N units; of a grouped convolution, C channels of the group.
        title: line at the top.
        groups: of the convolution; unit n reads the channels from n // (N / groups) * C on.
        limit: units drawn at most, the first ones.
        channels: input channels drawn at most, the first ones of each unit.
        unit: what a row is called.
        credit: line at the foot, see `image_credit`.

    Raises:
        UsageError: another number of axes, no weights, or groups that do not divide the units.
    """
    if weights.ndim != 4 or weights.size == 0 or groups < 1 or len(weights) % groups:
        raise UsageError(f"weights must be of shape (N, C, h, w), N a multiple of the {groups} groups, got "
                         f"{weights.shape}")
    units, read, height, width = weights.shape
    shown, across = min(units, limit), min(read, channels)
    drawn = weights[:shown, :across].astype(float)
    layout = Layout(count=shown * across, columns=across, size=(height, width), side=0.62, gap=0.06, left=0.62,
                    right=0.95, top=0.2 if groups == 1 else 0.0, above=0.0 if groups == 1 else 0.14, least_width=6.4)
    small = max(height, width) <= _SIGNS_UP_TO
    sheet = Sheet(layout, title=title, subtitle=_subtitle(weights.shape, shown, across, unit),
                  footer=(_how_to_read(small), credit))
    end = scale_end(drawn)
    images = [draw_weights(sheet, cell, picture, end, signs=small)
              for cell, picture in enumerate(drawn.reshape(-1, height, width))]
    _label(sheet, shown, across, unit, first=[row // (units // groups) * read for row in range(shown)])
    sheet.figure.colorbar(images[0], cax=side_axes(sheet), label="weight", extend="both")
    return describe(sheet.figure, f"{title}. {shown} rows of {across} pictures of {height} x {width} weights; orange "
                                  f"is positive, blue negative, white zero. {credit}".strip())


def _subtitle(shape: tuple[int, ...], shown: int, across: int, unit: str) -> str:
    units, read, height, width = shape
    rows = f"the first {shown} of {units}" if shown < units else f"all {units}"
    columns = f"the first {across} of {read}" if across < read else f"all {read}"
    return (f"A row is a {unit} ({rows}), a column an input channel that it reads ({columns}), each {height} x {width} "
            "weights, numbered from 0, all on one scale.")


def _how_to_read(signs: bool) -> str:
    text = "Orange: what the channel shows there excites the unit. Blue: it silences it. White: no weight."
    return f"{text} A minus sign marks every negative weight." if signs else text


def _label(sheet: Sheet, rows: int, across: int, unit: str, first: list[int]) -> None:
    """Name each row, and the channels: once at the top where all rows read the same, else over each picture."""
    tall, _ = sheet.layout.picture
    for row in range(rows):
        down, right = sheet.layout.corner(row * across)
        sheet.axes.text(right - 0.06, down + tall / 2, f"{unit} {row}", fontsize=7, color=INK, ha="right", va="center")
        if row and len(set(first)) == 1 and not sheet.layout.above:
            continue
        for step in range(across):
            down, right = sheet.layout.corner(row * across + step)
            sheet.axes.text(right, down - 0.02, f"ch. {first[row] + step}", fontsize=6, color=MUTED, va="bottom")
