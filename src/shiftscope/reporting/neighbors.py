"""Synthesized images beside real ones: top activating images, activation histograms and receptive fields."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import UsageError
from shiftscope.reporting.figure_style import BLUE, INK, MUTED, RULE, SKY, VERMILLION, describe, styled, verbatim
from shiftscope.reporting.formatting import UNDEFINED, image_credit, is_finite, model_title, shorten
from shiftscope.reporting.image_grid import GridLayout, ImageGrid, to_rgb
from shiftscope.reporting.synthesis import shown_images
from shiftscope.results import Neighbors, Synthesis

_SIDE, _GAP = 0.86, 0.07
_WIDE = 2  # cells of a histogram


@styled
def neighbors_figure(synthesis: Synthesis, neighbors: Neighbors, *, limit: int = 10, images: int = 9) -> Figure:
    """Draw for each unit its synthesized image, the top activating real images, a histogram and the receptive field.

    At most `limit` units are drawn, with at most `images` real images each.

    Raises:
        UsageError: if the two records have different units.
    """
    if synthesis.units != neighbors.units:
        raise UsageError(f"the synthesis is of {synthesis.objective}, the neighbors are of {neighbors.objective}: pass "
                         "records of the same units")
    shown, best = min(limit, len(neighbors.units)), min(images, neighbors.top_index.shape[1])
    partial = not (neighbors.fields[:shown] == (0, 0, *neighbors.top_canvases.shape[3:])).all()  # receptive fields
    across = 1 + best + _WIDE + partial
    layout = GridLayout(count=shown * across, columns=across, size=neighbors.top_canvases.shape[3:], side=_SIDE,
                        above=0.2, below=0.15, gap=_GAP)
    title, exceeding = _title(synthesis, shown), int((synthesis.activations > neighbors.maximum).sum())
    summary = (f"{neighbors.words} {exceeding} of {len(neighbors.units)} synthesized images activate their unit more "
               "than any of these images.")
    credit = image_credit(neighbors.dataset, synthetic=neighbors.synthetic)
    grid = ImageGrid(layout, title=title, subtitle=_legend(neighbors, best, partial), footer=(summary, credit))
    synthesized = shown_images(synthesis, shown)
    for unit in range(shown):
        first = unit * across
        grid.draw(first, synthesized[unit])
        name = shorten(neighbors.units[unit].removeprefix("class:"), 24)
        grid.text_above(first, name, size=8, weight="bold", gap=0.035)
        for cell, image in enumerate(to_rgb(neighbors.top_canvases[unit, :best]), first + 1):
            grid.draw(cell, image)
            down, right = layout.corner(cell)
            name = shorten(neighbors.class_names[int(neighbors.top_labels[unit, cell - first - 1])], 15)
            grid.axes.text(right, down + layout.image[0] + 0.02, verbatim(name), fontsize=6.5, color=MUTED, va="top")
        _draw_histogram(grid, first + 1 + best, synthesis, neighbors, unit)
        if partial:
            _draw_field(grid, first + 1 + best + _WIDE, neighbors, unit)
    return describe(grid.figure, f"{title}. {summary} {credit}")


def _title(synthesis: Synthesis, shown: int) -> str:
    layer = synthesis.units[0].rpartition(":")[0]
    units = "classes" if layer == "class" else f"units of {layer}"
    which = f"the first {shown} of {len(synthesis.units)} {units}" if shown < len(synthesis.units) else units
    return f"Synthesized and top activating real images: {which}, {model_title(synthesis.model)}"


def _legend(neighbors: Neighbors, best: int, partial: bool) -> str:
    unit = "class" if neighbors.units[0].startswith("class:") else "unit"
    field = (" Frame at the right: receptive field on the canvas (for a channel: of its middle unit)." if partial
             else f" The receptive field of each {unit} is the whole canvas.")
    return (f"From left to right: synthesized image; the {best} real images with the highest activation, each at its "
            "best position; histogram of the activations of all real images (▼: synthesized image; dashed: best real "
            f"image).{field}")


def _draw_histogram(grid: ImageGrid, cell: int, synthesis: Synthesis, neighbors: Neighbors, unit: int) -> None:
    """Draw the activation histogram of a unit across two cells."""
    down, right = grid.layout.corner(cell)
    tall, wide = grid.layout.image[0], _SIDE * _WIDE + _GAP
    counts, edges, floor = neighbors.counts[unit], neighbors.edges[unit], down + tall
    filled = np.flatnonzero(counts)
    reached, best = float(synthesis.activations[unit]), float(neighbors.maximum[unit])
    shown = reached if is_finite(reached) else best
    low, high = min(edges[filled[0]], shown), max(edges[filled[-1] + 1], shown)

    def across(value: float) -> float:
        return right + wide * (0.03 + 0.94 * (value - low) / (high - low or 1.0))

    for index in filled:
        left, end = across(edges[index]), across(edges[index + 1])
        height = 0.8 * tall * counts[index] / counts.max()
        grid.axes.add_patch(Rectangle((left, floor - height), end - left, height, facecolor=SKY, edgecolor="none"))
    grid.axes.plot([right, right + wide], [floor, floor], color=MUTED, linewidth=0.7)
    grid.axes.plot([across(best)] * 2, [floor - 0.8 * tall, floor], color=BLUE, linewidth=1.0, linestyle=(0, (3, 2)))
    if is_finite(reached):
        grid.axes.plot([across(reached)] * 2, [floor - 0.86 * tall, floor], color=VERMILLION, linewidth=1.3)
        grid.axes.plot([across(reached)], [floor - 0.9 * tall], color=VERMILLION, marker="v", markersize=5)
    text = f"{reached:.3g}" if is_finite(reached) else UNDEFINED
    grid.text_above(cell, f"▼ {text}, real: max {best:.3g}", gap=0.035)
    for value in ((0.0,) if low < 0 < high else (low, high)):
        grid.axes.plot([across(value)] * 2, [floor, floor + 0.03], color=MUTED, linewidth=0.7)
        grid.axes.text(across(value), floor + 0.035, f"{value:.3g}", fontsize=6.5, color=MUTED, va="top", ha="center")


def _draw_field(grid: ImageGrid, cell: int, neighbors: Neighbors, unit: int) -> None:
    """Draw the receptive field as a frame on the canvas."""
    down, right = grid.layout.corner(cell)
    rows, columns = neighbors.top_canvases.shape[3:]
    tall, wide = grid.layout.image
    top, left, bottom, end = (int(edge) for edge in neighbors.fields[unit])
    grid.axes.add_patch(Rectangle((right, down), wide, tall, facecolor=RULE, edgecolor=MUTED, linewidth=0.7))
    grid.axes.add_patch(Rectangle(
        (right + wide * left / columns, down + tall * top / rows), wide * (end - left) / columns,
        tall * (bottom - top) / rows, facecolor="white", edgecolor=BLUE, linewidth=1.5))
    grid.text_above(cell, f"{bottom - top} x {end - left}", color=INK, gap=0.035)
