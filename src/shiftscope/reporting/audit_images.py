"""The images about which a model changes its mind most: what it says of each at every placement."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from shiftscope.errors import require
from shiftscope.reporting.audit_grid import (
    DOWN,
    RIGHT_OF,
    Grid,
    audit_credit,
    audit_title,
    how_audited,
    inches,
    is_sparse,
    mark_middle,
    offset_ticks,
    picture_size,
    readable_on,
    short_classes,
)
from shiftscope.reporting.sheet import to_pictures
from shiftscope.reporting.style import INK, PAPER, describe, foot, foot_height, head, head_height, styled, verbatim
from shiftscope.reporting.wording import listing, percent, shorten
from shiftscope.results import NONFINITE, Audit
from shiftscope.results.agreement import agreement

LABEL_COLORS = ("#332288", "#88CCEE", "#44AA99", "#117733", "#999933", "#DDCC77", "#CC6677", "#882255", "#AA4499",
                 "#DDDDDD")
"""Paul Tol, "Color Schemes", 2021: the muted scheme and its gray. With more classes they begin anew: letters tell."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_NO_ANSWER = "?"
_COLUMNS, _IMAGE, _MAP, _CELL, _ABOVE, _BELOW = 2, 0.95, 2.1, 3.75, 0.36, 0.32
_LETTERS_ACROSS = 6  # letters in a row of a map: more would hide it
_NOTE = (f"Left the image, right its map of answers. Rows: {DOWN}; columns: {RIGHT_OF}. A color and a letter stand "
         "for an answer; the black line runs around the placements where it is right; the framed cell is the centered "
         "image.")


def shown_consistency(audit: Audit) -> np.ndarray:
    """Return for each shown image the probability that two random placements get the same label, float64 (S,)."""
    return agreement(audit.predictions[audit.shown_index], len(audit.class_names))[0]


def letter(cls: int) -> str:
    """Return the letter of a class; a class without one has its number.

    >>> letter(0), letter(51), letter(60)
    ('A', 'z', '60')
    """
    return LETTERS[cls] if cls < len(LETTERS) else str(cls)


@styled
def wavering_images(audit: Audit, *, limit: int = 8) -> Figure:
    """Draw the shown images of worst consistency, each beside the map of its labels over the placements.

    Args:
        audit: of one model.
        limit: images at most.
    """
    require(limit >= 1, "limit", limit, "at least 1")
    consistency = shown_consistency(audit)
    chosen = np.argsort(consistency, kind="stable")[:limit].tolist()
    said = sorted({int(label) for place in chosen for label in np.unique(audit.predictions[audit.shown_index[place]])})
    rows = -(-max(len(chosen), 1) // _COLUMNS)
    width = 0.25 + _COLUMNS * _CELL
    title = f"Where the {audit_title(audit)} changes its mind"
    subtitle = (f"The {len(chosen)} images whose answer depends most on the place (lowest consistency). "
                f"{how_audited(audit)}")
    footer = (_NOTE, audit_credit(audit))
    legend = 0.2 * -(-len(said) // 4) + 0.12
    top, bottom = head_height(width, title, subtitle), foot_height(width, *footer) + 0.05
    row_height = _ABOVE + _MAP + _BELOW
    figure = Figure(figsize=(width, top + rows * row_height + legend + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    _legend(figure, audit, said, bottom, legend)
    pictures, told = to_pictures(audit.shown_images), []
    for cell, place in enumerate(chosen):
        row, column = divmod(cell, _COLUMNS)
        low = bottom + legend + (rows - 1 - row) * row_height + _BELOW
        told.append(_cell(figure, 0.15 + column * _CELL, low, audit, place, pictures[place], float(consistency[place])))
    return describe(figure, f"{title}. {subtitle} {' '.join(told)} {audit_credit(audit)}")


def _cell(figure: Figure, left: float, low: float, audit: Audit, place: int, picture: np.ndarray,
          consistency: float) -> str:
    """Draw one image with its map; return what it shows in words."""
    index = int(audit.shown_index[place])
    true, predictions = int(audit.labels[index]), audit.predictions[index]
    name = audit.class_names[true]
    grid = Grid(audit)
    high, wide = picture_size(grid.shape, _MAP)
    tall, across = picture_size((picture.shape[0], picture.shape[1]), _IMAGE)
    image = inches(figure, left, low + _MAP - tall, across, tall)
    image.imshow(picture, interpolation="none")
    image.set_axis_off()
    axes = inches(figure, left + _IMAGE + 0.38, low + _MAP - high, wide, high)
    label_map(axes, grid, grid.spread(predictions.astype(float)), true, lost=_lost(audit))
    offset_ticks(axes, grid, size=6.5, labels=False)
    right = float((predictions == true).mean())
    wide_page, tall_page = figure.get_size_inches()
    lines = (f"Is {shorten(name, 26)} ({letter(true)}), image {index}",
             f"right at {percent(right, 0)} of the placements, consistency {percent(consistency, 0)}")
    for row, line in enumerate(lines):
        figure.text(left / wide_page, (low + _MAP + 0.29 - 0.145 * row) / tall_page, verbatim(line), va="top",
                    fontsize=7.8 - 0.6 * row, weight="bold" if row == 0 else "normal")
    return f"{name} (image {index}): right at {percent(right)} of the placements, {_most(audit, predictions)}."


def _most(audit: Audit, predictions: np.ndarray) -> str:
    labels, counts = np.unique(predictions, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    return listing([f"{_name(audit, int(labels[place]))} {percent(float(counts[place] / counts.sum()), 0)}"
                    for place in order])


def _name(audit: Audit, label: int) -> str:
    return "no answer (NaN)" if label == _lost(audit) else audit.class_names[label]


def _lost(audit: Audit) -> int:
    return NONFINITE if audit.predictions.dtype == np.uint8 else 65535


def color_of(label: int, lost: int) -> str:
    """Return the color of an answer; white where there was none."""
    return PAPER if label == lost else LABEL_COLORS[label % len(LABEL_COLORS)]


def label_map(axes: Axes, grid: Grid, picture: np.ndarray, true: int, *, lost: int = NONFINITE) -> None:
    """Draw labels (R, Q) as colors and letters, with a line around the cells of the true class.

    Args:
        picture: classes as floats, NaN where nothing was computed.
        true: the true class.
        lost: stands for an answer that was not finite.
    """
    rows, columns = picture.shape
    colors = np.full((rows, columns, 3), 0.93)
    for label in np.unique(picture[np.isfinite(picture)]).astype(int):
        colors[picture == label] = _rgb(color_of(label, lost))
    axes.imshow(colors, interpolation="none", aspect="auto")
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.grid(False)
    edges = outline(picture == true)
    for color, width in ((PAPER, 1.9), (INK, 0.9)):
        axes.add_collection(LineCollection(edges, colors=color, linewidths=width, capstyle="projecting"))
    for row, column in _lettered(picture):
        _letter(axes, row, column, int(picture[row, column]), lost)
    mark_middle(axes, grid)


def _letter(axes: Axes, row: int, column: int, label: int, lost: int) -> None:
    color = color_of(label, lost)
    text = axes.text(column, row, _NO_ANSWER if label == lost else letter(label), ha="center", va="center", fontsize=7,
                     weight="bold", color=readable_on(_rgb(color)), zorder=5)
    text.set_path_effects([withStroke(linewidth=2.0, foreground=color)])  # keeps lines off the letter


def _lettered(picture: np.ndarray) -> Iterable[tuple[int, int]]:
    """The cells that get a letter: evenly spread over the map, or every so many of a few dots."""
    if is_sparse(picture):
        dots = np.argwhere(np.isfinite(picture))
        return [(int(row), int(column)) for row, column in dots[::max(1, len(dots) // _LETTERS_ACROSS ** 2)]]
    rows, columns = picture.shape
    return [(row, column) for row in _every(rows) for column in _every(columns) if np.isfinite(picture[row, column])]


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[at:at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue


def _every(count: int) -> Sequence[int]:
    """Rows or columns that get a letter: evenly spread, none at the very rim unless there are few."""
    step = -(-count // _LETTERS_ACROSS)
    return range((count - 1) % step // 2 if step > 1 else 0, count, step)


def outline(inside: np.ndarray) -> list[list[tuple[float, float]]]:
    """Return the edges ((x, y), (x, y)) between cells that are inside and cells that are not, the rim included.

    >>> len(outline(np.array([[False, True, True]])))
    6
    """
    framed = np.pad(inside, 1)
    edges = []
    for row, column in np.argwhere(framed[1:] != framed[:-1]):  # between rows row - 1 and row of the map
        edges.append([(column - 1.5, row - 0.5), (column - 0.5, row - 0.5)])
    for row, column in np.argwhere(framed[:, 1:] != framed[:, :-1]):
        edges.append([(column - 0.5, row - 1.5), (column - 0.5, row - 0.5)])
    return edges


def _legend(figure: Figure, audit: Audit, said: Sequence[int], bottom: float, height: float) -> None:
    """Explain letters and colors, four in a row."""
    width = float(figure.get_size_inches()[0])
    axes = inches(figure, 0.0, bottom, width, height)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    names = short_classes(audit)
    for place, label in enumerate(said):
        row, column = divmod(place, 4)
        x, y = 0.15 + column * (width - 0.3) / 4, 0.06 + 0.2 * row
        lost = label == _lost(audit)
        color = color_of(label, _lost(audit))
        axes.add_patch(Rectangle((x, y), 0.17, 0.15, facecolor=color, edgecolor=INK, linewidth=0.5))
        axes.text(x + 0.085, y + 0.078, _NO_ANSWER if lost else letter(label), ha="center", va="center", fontsize=6.5,
                  color=readable_on(_rgb(color)))
        axes.text(x + 0.23, y + 0.078, "no answer (NaN)" if lost else verbatim(names[label]), va="center", fontsize=7.5)
