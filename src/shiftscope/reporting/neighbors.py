"""A synthesis beside real images: what excites a unit most, how much all images do, and which pixels reach it."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import UsageError
from shiftscope.reporting.sheet import Layout, Sheet, to_pictures
from shiftscope.reporting.style import BLUE, INK, MUTED, RULE, SKY, VERMILLION, describe, styled, verbatim
from shiftscope.reporting.synthesis import shown_pictures
from shiftscope.reporting.wording import image_credit, model_title, shorten
from shiftscope.results import Neighbors, Synthesis

_SIDE, _GAP = 0.86, 0.07
_WIDE = 2  # cells that a histogram takes


@styled
def neighbors_figure(synthesis: Synthesis, found: Neighbors, *, limit: int = 10, images: int = 9) -> Figure:
    """Draw a row for each unit: its synthesis, the real images that excite it most, a histogram, its receptive field.

    Args:
        synthesis: pictures made for the units.
        found: what real images do to the same units.
        limit: units drawn at most, the first ones.
        images: real images drawn at most for each unit.

    Raises:
        UsageError: the two records are about different units.
    """
    if synthesis.units != found.units:
        raise UsageError(f"the pictures are of {synthesis.objective}, the neighbors of {found.objective}: draw those "
                         "of the same units together")
    shown, best = min(limit, len(found.units)), min(images, found.top_index.shape[1])
    narrow = not _reads_all(found, shown).all()
    across = 1 + best + _WIDE + narrow
    layout = Layout(count=shown * across, columns=across, size=found.top_canvases.shape[3:], side=_SIDE, above=0.2,
                    below=0.15, gap=_GAP)
    sheet = Sheet(layout, title=_title(synthesis, found, shown), subtitle=_legend(found, best, narrow),
                  footer=(_account(synthesis, found), image_credit(found.dataset, synthetic=found.synthetic)))
    made = shown_pictures(synthesis, shown)
    for unit in range(shown):
        first = unit * across
        sheet.show(first, made[unit])
        _say(sheet, first, shorten(found.units[unit].removeprefix("class:"), 24), INK, "bold")
        for place, picture in enumerate(to_pictures(found.top_canvases[unit, :best])):
            sheet.show(first + 1 + place, picture)
            _under(sheet, first + 1 + place, found, int(found.top_labels[unit, place]))
        _histogram(sheet, first + 1 + best, synthesis, found, unit)
        if narrow:
            _field(sheet, first + 1 + best + _WIDE, found, unit)
    return describe(sheet.figure, f"{_title(synthesis, found, shown)}. {_account(synthesis, found)} "
                                  f"{image_credit(found.dataset, synthetic=found.synthetic)}")


def _title(synthesis: Synthesis, found: Neighbors, shown: int) -> str:
    layer = found.units[0].rpartition(":")[0]
    what = "classes" if layer == "class" else f"units of {layer}"
    number = f"the first {shown} of {len(found.units)} {what}" if shown < len(found.units) else what
    return f"Real images beside the syntheses: {number}, {model_title(synthesis.model)}"


def _reads_all(found: Neighbors, shown: int) -> np.ndarray:
    """Whether the whole canvas can reach each of the first units, bool (shown,)."""
    return (found.fields[:shown] == (0, 0, *found.top_canvases.shape[3:])).all(1)


def _legend(found: Neighbors, best: int, narrow: bool) -> str:
    unit = "class" if found.units[0].startswith("class:") else "unit"
    field = (" Framed at the right: the part of the canvas that can reach it, of a channel its middle unit." if narrow
             else f" The whole canvas can reach every {unit}.")
    return (f"From left to right: the synthesis; the {best} real images that excite the {unit} most, best first, each "
            f"where on the canvas it does so most; how much all of them excite it: ▼ marks the synthesis, the dashed "
            f"line the best real image.{field}")


def _account(synthesis: Synthesis, found: Neighbors) -> str:
    beyond = int((synthesis.activations > found.maximum).sum())
    return f"{found.words} {beyond} of {len(found.units)} syntheses excite their unit more than any of these pictures."


def _say(sheet: Sheet, cell: int, text: str, color: str, weight: str = "normal") -> None:
    """Write a line above a cell."""
    down, right = sheet.layout.corner(cell)
    sheet.axes.text(right, down - 0.035, verbatim(text), fontsize=8 if weight == "bold" else 7, color=color,
                    weight=weight, va="bottom")


def _under(sheet: Sheet, cell: int, found: Neighbors, label: int) -> None:
    """Name the class of a real image under it."""
    down, right = sheet.layout.corner(cell)
    name = shorten(found.class_names[label], 15)
    sheet.axes.text(right, down + sheet.layout.picture[0] + 0.02, verbatim(name), fontsize=6.5, color=MUTED, va="top")


def _histogram(sheet: Sheet, cell: int, synthesis: Synthesis, found: Neighbors, unit: int) -> None:
    """Draw the histogram of a unit across two cells."""
    down, right = sheet.layout.corner(cell)
    tall, wide = sheet.layout.picture[0], _SIDE * _WIDE + _GAP
    counts, edges = found.counts[unit], found.edges[unit]
    filled = np.flatnonzero(counts)
    reached, best = float(synthesis.activations[unit]), float(found.maximum[unit])
    low, high = min(edges[filled[0]], reached), max(edges[filled[-1] + 1], reached)

    def across(value: float) -> float:
        return right + wide * (0.03 + 0.94 * (value - low) / (high - low or 1.0))

    floor = down + tall
    for place in filled:
        height = 0.8 * tall * counts[place] / counts.max()
        sheet.axes.add_patch(Rectangle((across(edges[place]), floor - height), across(edges[place + 1]) -
                                       across(edges[place]), height, facecolor=SKY, edgecolor="none"))
    sheet.axes.plot([right, right + wide], [floor, floor], color=MUTED, linewidth=0.7)
    sheet.axes.plot([across(best)] * 2, [floor - 0.8 * tall, floor], color=BLUE, linewidth=1.0, linestyle=(0, (3, 2)))
    sheet.axes.plot([across(reached)] * 2, [floor - 0.86 * tall, floor], color=VERMILLION, linewidth=1.3)
    sheet.axes.plot([across(reached)], [floor - 0.9 * tall], color=VERMILLION, marker="v", markersize=5)
    _say(sheet, cell, f"▼ {reached:.3g}, real up to {best:.3g}", INK)
    _ticks(sheet, low, high, across, floor)


def _ticks(sheet: Sheet, low: float, high: float, across: Callable[[float], float], floor: float) -> None:
    """Mark where 0 lies, else both ends."""
    for value in ((0.0,) if low < 0 < high else (low, high)):
        sheet.axes.plot([across(value)] * 2, [floor, floor + 0.03], color=MUTED, linewidth=0.7)
        sheet.axes.text(across(value), floor + 0.035, f"{value:.3g}", fontsize=6.5, color=MUTED, va="top", ha="center")


def _field(sheet: Sheet, cell: int, found: Neighbors, unit: int) -> None:
    """Draw the receptive field as a frame on the canvas."""
    down, right = sheet.layout.corner(cell)
    rows, columns = found.top_canvases.shape[3:]
    tall, wide = sheet.layout.picture
    top, left, bottom, end = (int(edge) for edge in found.fields[unit])
    sheet.axes.add_patch(Rectangle((right, down), wide, tall, facecolor=RULE, edgecolor=MUTED, linewidth=0.7))
    sheet.axes.add_patch(Rectangle(
        (right + wide * left / columns, down + tall * top / rows), wide * (end - left) / columns,
        tall * (bottom - top) / rows, facecolor="white", edgecolor=BLUE, linewidth=1.5))
    _say(sheet, cell, f"{bottom - top} x {end - left}", INK)
