"""The filters of any convolution, and what neurons read of a map: a strip a unit, in it a picture an input channel."""

import numpy as np
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.reporting.sheet import Layout, Sheet, side_axes
from shiftscope.reporting.style import INK, MUTED, describe, styled
from shiftscope.reporting.weights import draw_weights, scale_end

_SIGNS_UP_TO = 7  # pixels: kernels this small have room for a sign in every pixel
_ROWS = 15  # more do not fit on a screen: further units stand beside the first
_CELLS = 14  # pictures and names side by side, as wide as the other figures


@styled
def filter_grid(weights: np.ndarray, *, title: str, groups: int = 1, limit: int = 30, channels: int = 12,
                unit: str = "filter", credit: str = "") -> Figure:
    """Draw the weights of each unit for each input channel, all on one color scale that is symmetric about zero.

    Args:
        weights: float (N, C, h, w), from C channels to N units; of a grouped convolution, C channels of the group.
        title: line at the top.
        groups: of the convolution; unit n reads the channels from n // (N / groups) * C on.
        limit: units drawn at most, the first ones; no more than 15 where they are too wide to stand side by side.
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
    across = min(read, channels)
    shown, beside = _arrange(min(units, limit), across)
    synthetic = weights[:shown, :across].astype(float)
    layout = Layout(count=-(-shown // beside) * beside * (across + 1), columns=beside * (across + 1),
                    size=(height, width), side=0.62, gap=0.06, right=0.95, top=0.2 if groups == 1 else 0.0,
                    above=0.0 if groups == 1 else 0.14, least_width=6.4)
    small = max(height, width) <= _SIGNS_UP_TO
    sheet = Sheet(layout, title=title, subtitle=_subtitle(weights.shape, shown, across, unit),
                  footer=(_how_to_read(small), credit))
    end = scale_end(synthetic)
    images = [draw_weights(sheet, row * (across + 1) + 1 + step, synthetic[row, step], end, signs=small)
              for row in range(shown) for step in range(across)]
    _label(sheet, beside, across, unit, first=[row // (units // groups) * read for row in range(shown)])
    sheet.figure.colorbar(images[0], cax=side_axes(sheet), label="weight", extend="both")
    return describe(sheet.figure, f"{title}. {shown} strips of {across} pictures of {height} x {width} weights; orange "
                                  f"is positive, blue negative, white zero. {credit}".strip())


def _arrange(units: int, across: int) -> tuple[int, int]:
    """Return how many units to draw, and how many of them side by side; each takes a cell for its name as well."""
    beside = max(1, min(-(-units // _ROWS), _CELLS // (across + 1)))
    return min(units, beside * _ROWS), beside


def _subtitle(shape: tuple[int, ...], shown: int, across: int, unit: str) -> str:
    units, read, height, width = shape
    rows = f"the first {shown} of {units}" if shown < units else f"all {units}"
    columns = f"the first {across} of {read}" if across < read else f"all {read}"
    return (f"A strip is a {unit} ({rows}), a picture in it an input channel that it reads ({columns}), each "
            f"{height} x {width} weights, numbered from 0, all on one scale.")


def _how_to_read(signs: bool) -> str:
    text = "Orange: what the channel shows there excites the unit. Blue: it silences it. White: no weight."
    return f"{text} A minus sign marks every negative weight." if signs else text


def _label(sheet: Sheet, beside: int, across: int, unit: str, first: list[int]) -> None:
    """Name each unit, and the channels: once at the top where all units read the same, else over each picture."""
    tall, wide = sheet.layout.picture
    for row, begin in enumerate(first):
        down, right = sheet.layout.corner(row * (across + 1))
        sheet.axes.text(right + wide, down + tall / 2, f"{unit} {row}", fontsize=7, color=INK, ha="right", va="center")
        if row >= beside and not sheet.layout.above:
            continue
        for step in range(across):
            down, right = sheet.layout.corner(row * (across + 1) + 1 + step)
            sheet.axes.text(right, down - 0.02, f"ch. {begin + step}", fontsize=6, color=MUTED, va="bottom")
