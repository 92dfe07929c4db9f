"""The predicted class of single images at every placement: a figure, and the same as text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from string import ascii_lowercase
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import require
from shiftscope.reporting.figure_style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    RULE,
    SKY,
    VERMILLION,
    describe,
    inches,
    page,
    styled,
    verbatim,
)
from shiftscope.reporting.formatting import percent, shorten
from shiftscope.reporting.image_grid import NONFINITE_NAME

_COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION)
"""Of the classes by their number of placements over all images; further ones share `RULE`."""

_SIDE, _LEFT, _GAP, _LINE, _LINES, _ACROSS = 2.4, 0.55, 0.45, 0.17, 6, 3
_LETTERS = "." + ascii_lowercase
_OTHERS = "*"


def placement_counts(prediction: Mapping[str, Any]) -> list[tuple[str | None, int]]:
    """Return (class, number of placements) of a map: first the class at the offset, then the most frequent ones."""
    counts = Counter(name for row in prediction["map"]["classes"] for name in row)
    own = prediction["class"]
    return [(own, counts.pop(own, 0)), *sorted(counts.items(), key=lambda entry: (-entry[1], str(entry[0])))]


def describe_map(prediction: Mapping[str, Any]) -> str:
    """Return for which placements a map holds the prediction."""
    found = prediction["map"]
    count, step = len(found["rows"]) * len(found["columns"]), found["step"]
    return f"all {count:,} placements" if step == 1 else f"{count:,} placements, every {step} pixels from the middle"


def prediction_map_text(prediction: Mapping[str, Any]) -> list[str]:
    """Return a map as lines of text: a dot where the class is the one at the offset, a letter for every other class.

    Args:
        prediction: with keys "class" and "map", see `predict_files`.
    """
    found, counts = prediction["map"], placement_counts(prediction)
    letters = {name: _LETTERS[rank] if rank < len(_LETTERS) else _OTHERS for rank, (name, _) in enumerate(counts)}
    total = sum(count for _, count in counts)
    width, columns = max(len(str(row)) for row in found["rows"]), found["columns"]
    lines = [f"{letters[name]} {name or NONFINITE_NAME}: {count:,} ({percent(count / total)})"
             for name, count in counts]
    last = " " * max(1, 2 * len(columns) - 2 - len(str(columns[0])))
    lines.append(f"{'dy':>{width}}  dx {columns[0]}{last}{columns[-1] if len(columns) > 1 else ''}".rstrip())
    lines += [f"{row:>{width}}     {' '.join(letters[name] for name in names)}"
              for row, names in zip(found["rows"], found["classes"], strict=True)]
    return lines


@styled
def prediction_map_figure(predictions: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the predicted class of each image at every placement, as colored cells.

    Args:
        predictions: one per image, with keys "file", "offset", "class" and "map", see `predict_files`.
    """
    require(len(predictions) >= 1, "predictions", 0, "at least one")
    across = min(_ACROSS, len(predictions))
    colors = class_colors(predictions)
    lines = max(len(placement_counts(one)) for one in predictions)
    down, tall = -(-len(predictions) // across), _SIDE + 0.85 + _LINE * min(lines, _LINES)
    cut = "Gray cells: other classes." if len(colors) > len(_COLORS) else ""
    figure, bottom = page(
        max(across * (_LEFT + _SIDE + _GAP) + 0.3, 5.2), down * tall, "Predicted class by position",
        f"{describe_map(predictions[0]).capitalize()}; the framed cell is the offset of the prediction.",
        ("Rows: offset dy; columns: offset dx, both in pixels. Percentages: fraction of these placements.", cut))
    for cell, prediction in enumerate(predictions):
        row, column = divmod(cell, across)
        _draw(figure, prediction, colors, _LEFT + column * (_LEFT + _SIDE + _GAP), bottom + (down - row) * tall - 0.3)
    summary = "; ".join(f"{PurePath(one['file']).name}: {one['class'] or NONFINITE_NAME} at "
                        f"{percent(one['map']['same_class'])} of the placements" for one in predictions)
    return describe(figure, f"Predicted class by position. {summary}.")


def class_colors(predictions: Sequence[Mapping[str, Any]]) -> dict[str | None, str]:
    """Return the color of each class that occurs, the same in all maps."""
    counts: Counter[str | None] = Counter()
    for prediction in predictions:
        counts.update(dict(placement_counts(prediction)))
    ranking = sorted(counts, key=lambda name: (-counts[name], str(name)))
    return {name: _COLORS[rank] if rank < len(_COLORS) else RULE for rank, name in enumerate(ranking)}


def class_cells(prediction: Mapping[str, Any], colors: Mapping[str | None, str]) -> np.ndarray:
    """Return the color of the class of each cell of a map, (R, Q, 3) from 0 to 1."""
    return np.array([[to_rgb(colors[name]) for name in row] for row in prediction["map"]["classes"]])


def _draw(figure: Figure, prediction: Mapping[str, Any], colors: Mapping[str | None, str], left: float,
          top: float) -> None:
    """Draw one map with its legend below; `left` and `top` in inches."""
    found = prediction["map"]
    cells = class_cells(prediction, colors)
    longest = max(cells.shape[:2])
    height, width = (_SIDE * count / longest for count in cells.shape[:2])
    axes = inches(figure, left, top - height, width, height)
    axes.imshow(cells, interpolation="nearest", aspect="auto")
    axes.grid(visible=False)
    axes.set_title(verbatim(shorten(PurePath(prediction["file"]).name, 30)), fontsize=9)
    for axis, values in ((axes.yaxis, found["rows"]), (axes.xaxis, found["columns"])):
        ends = sorted({0, len(values) // 2, len(values) - 1})
        axis.set_ticks(ends, [str(values[end]) for end in ends])
    if (dy := prediction["offset"][0]) in found["rows"] and (dx := prediction["offset"][1]) in found["columns"]:
        corner = (found["columns"].index(dx) - 0.5, found["rows"].index(dy) - 0.5)
        for color, line in ((PAPER, 3.0), (INK, 1.2)):
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=color, linewidth=line))
    write_legend(figure, placement_counts(prediction), colors, left, top - height - 0.42)


def write_legend(figure: Figure, counts: Sequence[tuple[str | None, int]], colors: Mapping[str | None, str],
                 left: float, top: float) -> None:
    """Write the most frequent classes with their colors; `left` and `top` in inches."""
    wide, tall = figure.get_size_inches()
    total = sum(count for _, count in counts)
    for rank, (name, count) in enumerate(counts[:_LINES]):
        y = (top - rank * _LINE) / tall
        figure.add_artist(Rectangle((left / wide, y - 0.03 / tall), 0.11 / wide, 0.11 / tall, color=colors[name]))
        text = f"{shorten(name or NONFINITE_NAME, 24)} {percent(count / total)}"
        figure.text((left + 0.17) / wide, y, verbatim(text), fontsize=8, color=INK if rank == 0 else MUTED)
