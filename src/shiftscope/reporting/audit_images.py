"""The least consistent images of an audit, each with a map of its predictions at every placement."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb as rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from shiftscope.errors import require
from shiftscope.reporting.audit_grid import (
    COLUMNS_LABEL,
    ROWS_LABEL,
    PlacementGrid,
    audit_credit,
    audit_title,
    describe_audits,
    finish_map,
    is_sparse,
    map_size,
    offset_ticks,
)
from shiftscope.reporting.figure_style import INK, PAPER, describe, inches, page, readable_on, styled, verbatim
from shiftscope.reporting.formatting import image_title, listing, percent, shorten
from shiftscope.reporting.image_grid import NONFINITE_NAME, to_rgb
from shiftscope.reporting.theme_layers import SWATCH
from shiftscope.results import Audit
from shiftscope.results.agreement import agreement

LABEL_COLORS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499",
                "#DDDDDD")
"""Paul Tol, "Color Schemes", 2021: the muted scheme and its gray. Of more classes the most frequent have one."""

OTHERS = "#6e7781"
"""Color of the other classes."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_COLUMNS, _IMAGE, _MAP, _CELL, _ABOVE, _BELOW = 2, 0.95, 2.1, 3.75, 0.36, 0.32
_MOST_NAMES = 40  # classes in the legend
_LETTERS_ACROSS = 6  # letters in a row of a map


def _note(audit: Audit) -> str:
    region = "correct predictions" if audit.labeled else "the prediction of the framed cell"
    return (f"Left: image; right: its predictions by position. Rows: {ROWS_LABEL}; columns: {COLUMNS_LABEL}. Color and "
            f"letter: predicted class; black line: border of the region with {region}; framed cell: centered image.")


def shown_consistency(audit: Audit) -> np.ndarray:
    """Return the consistency of each stored image, float64 (S,)."""
    return agreement(audit.predictions[audit.shown_index], len(audit.class_names))[0]


def letter(cls: int) -> str:
    """Return the letter of a class, or its number if it has none.

    >>> letter(0), letter(51), letter(60)
    ('A', 'z', '60')
    """
    return LETTERS[cls] if cls < len(LETTERS) else str(cls)


Colors = Mapping[int, str]
"""Color of each predicted class that has one."""


def _colors(audit: Audit, frequent: Sequence[int]) -> Colors:
    """Return the colors of classes: of all, or of the first of `frequent` if there are more classes than colors."""
    count = len(audit.class_names)
    return dict(zip(range(count) if count <= len(LABEL_COLORS) else frequent, LABEL_COLORS, strict=False))


def _style(audit: Audit, label: int, colors: Colors) -> tuple[str, str, str]:
    """(name, letter, color) of a predicted class, or of a non-finite prediction."""
    if label == np.iinfo(audit.predictions.dtype).max:
        return NONFINITE_NAME, "?", PAPER
    sign = letter(label) if len(audit.class_names) <= len(LETTERS) else str(label)
    return audit.class_names[label], sign, colors.get(label, OTHERS)


@styled
def inconsistent_images(audit: Audit, *, limit: int = 8) -> Figure:
    """Draw the `limit` stored images with the lowest consistency, each next to a map of its predictions."""
    require(limit >= 1, "limit", limit, "at least 1")
    consistency = shown_consistency(audit)
    margins = audit.top_margins[audit.shown_index, 0]
    chosen = np.lexsort((margins, consistency.round(12)))[:limit].tolist()
    found, counts = np.unique(audit.predictions[audit.shown_index[chosen]], return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")].tolist()
    labels, colors = sorted(frequent[:_MOST_NAMES]), _colors(audit, frequent)
    rows = -(-max(len(chosen), 1) // _COLUMNS)
    title = f"Least stable images: {audit_title(audit)}"
    subtitle = f"The {len(chosen)} images whose prediction depends most on position. {describe_audits(audit)}"
    if len(labels) < len(found):
        subtitle += f" Legend: the {len(labels)} most frequent of {len(found)} predicted classes."
    legend, row_height = 0.2 * -(-len(labels) // 4) + 0.12, _ABOVE + _MAP + _BELOW
    figure, bottom = page(0.25 + _COLUMNS * _CELL, rows * row_height + legend, title, subtitle,
                          (_note(audit), audit_credit(audit)), below=0.05)
    _legend(figure, audit, labels, colors, bottom, legend)
    images, summary = to_rgb(audit.shown_images), []
    for cell, index in enumerate(chosen):
        row, column = divmod(cell, _COLUMNS)
        low = bottom + legend + (rows - 1 - row) * row_height + _BELOW
        summary.append(_draw_image(figure, 0.15 + column * _CELL, low, audit, colors, int(audit.shown_index[index]),
                                   images[index], float(consistency[index])))
    return describe(figure, f"{title}. {subtitle} {' '.join(summary)} {audit_credit(audit)}")


def _draw_image(figure: Figure, left: float, low: float, audit: Audit, colors: Colors, number: int,
                pixels: np.ndarray, consistency: float) -> str:
    """Draw one image with its map; return a description."""
    true, predictions, grid = int(audit.labels[number]), audit.predictions[number], PlacementGrid(audit)
    middle = audit.geometry.column(audit.offsets)
    outlined = true if audit.labeled else -1 if middle is None else int(predictions[middle])
    high, wide = map_size(grid.shape, _MAP)
    tall, across = map_size((pixels.shape[0], pixels.shape[1]), _IMAGE)
    image = inches(figure, left, low + _MAP - tall, across, tall)
    image.imshow(pixels, interpolation="none")
    image.set_axis_off()
    axes = inches(figure, left + _IMAGE + 0.38, low + _MAP - high, wide, high)
    _label_map(axes, audit, colors, grid, grid.scatter(predictions.astype(float)), outlined)
    offset_ticks(axes, grid, size=6.5, labels=False)
    hits, confidence = percent(float((predictions == outlined).mean()), 0), audit.confidences[number]
    page_width, page_height = figure.get_size_inches()
    name = image_title(audit.image_names, number, width=24)
    lines = (f"{shorten(audit.class_names[true], 26)} ({_style(audit, true, colors)[1]}), {name}",
             f"correct at {hits} of the placements, consistency {percent(consistency, 0)}")
    if not audit.labeled:
        lines = (image_title(audit.image_names, number, width=44),
                 f"as in the middle at {hits}, consistency {percent(consistency, 0)}, confidence "
                 f"{percent(float(confidence[0]), 0)} to {percent(float(confidence[1]), 0)}")
    for row, line in enumerate(lines):
        figure.text(left / page_width, (low + _MAP + 0.29 - 0.145 * row) / page_height, verbatim(line), va="top",
                    fontsize=7.8 - 0.6 * row, weight="bold" if row == 0 else "normal")
    labels, counts = np.unique(predictions, return_counts=True)
    common = listing([f"{_style(audit, int(label), colors)[0]} {percent(float(count / counts.sum()), 0)}"
                      for count, label in sorted(zip(counts, labels, strict=True), key=lambda pair: -pair[0])[:3]])
    title = image_title(audit.image_names, number, width=200)
    if not audit.labeled:
        return f"{title}: prediction of the middle placement at {hits} of the placements; predictions: {common}."
    return f"{audit.class_names[true]} ({title}): correct at {hits} of the placements; predictions: {common}."


def _label_map(axes: Axes, audit: Audit, known: Colors, grid: PlacementGrid, labels: np.ndarray, true: int) -> None:
    """Draw labels (R, Q; float, NaN if not computed) as colors and letters, with an outline around the true class."""
    colors = np.full((*labels.shape, 3), 0.93)
    for label in np.unique(labels[np.isfinite(labels)]).astype(int):
        colors[labels == label] = rgb(_style(audit, label, known)[2])
    axes.imshow(colors, interpolation="none", aspect="auto")
    edges = outline(labels == true)
    for color, width in ((PAPER, 1.9), (INK, 0.9)):
        axes.add_collection(LineCollection(edges, colors=color, linewidths=width, capstyle="projecting"))
    for row, column in _lettered_cells(labels):
        _, sign, color = _style(audit, int(labels[row, column]), known)
        text = axes.text(column, row, sign, ha="center", va="center", fontsize=7, weight="bold", zorder=5,
                         color=readable_on(rgb(color)))
        text.set_path_effects([withStroke(linewidth=2.0, foreground=color)])  # separates lines from the letter
    finish_map(axes, grid)


def _lettered_cells(labels: np.ndarray) -> Iterable[tuple[int, int]]:
    """The cells that get a letter, evenly spaced."""
    if is_sparse(labels):
        dots = np.argwhere(np.isfinite(labels))
        return [(int(row), int(column)) for row, column in dots[::max(1, len(dots) // _LETTERS_ACROSS ** 2)]]
    rows, columns = (range((count - 1) % step // 2 if (step := -(-count // _LETTERS_ACROSS)) > 1 else 0, count, step)
                     for count in labels.shape)
    return [(row, column) for row in rows for column in columns if np.isfinite(labels[row, column])]


def outline(inside: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the edges ((x, y), (x, y)) between cells inside and outside of a region, including the border.

    >>> len(outline(np.array([[False, True, True]])))
    6
    """
    framed = np.pad(inside, 1)
    horizontal = [[(column - 1.5, row - 0.5), (column - 0.5, row - 0.5)]
                  for row, column in np.argwhere(framed[1:] != framed[:-1])]
    return horizontal + [[(column - 0.5, row - 1.5), (column - 0.5, row - 0.5)]
                         for row, column in np.argwhere(framed[:, 1:] != framed[:, :-1])]


def _legend(figure: Figure, audit: Audit, labels: Sequence[int], colors: Colors, bottom: float,
            height: float) -> None:
    """Draw letters, colors and names of classes, four in a row."""
    width = float(figure.get_size_inches()[0])
    axes = inches(figure, 0.0, bottom, width, height)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    for index, label in enumerate(labels):
        row, column = divmod(index, 4)
        x, y = 0.15 + column * (width - 0.3) / 4, 0.06 + 0.2 * row
        name, sign, color = _style(audit, label, colors)
        axes.add_patch(Rectangle((x, y), 0.17, 0.15, facecolor=color, edgecolor=INK, linewidth=0.5, label=SWATCH))
        axes.text(x + 0.085, y + 0.078, sign, ha="center", va="center", fontsize=6.5, color=readable_on(rgb(color)))
        axes.text(x + 0.23, y + 0.078, verbatim(shorten(name, 18)), va="center", fontsize=7.5)
