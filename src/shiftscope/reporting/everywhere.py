"""Prediction, confidence and margin of single images at every placement: a figure and a table."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.errors import require
from shiftscope.reporting.audit_grid import MAPS, map_size, ticks
from shiftscope.reporting.figure_style import INK, PAPER, describe, inches, page, styled, verbatim
from shiftscope.reporting.formatting import MISSING, percent, shorten
from shiftscope.reporting.image_grid import NONFINITE_NAME
from shiftscope.reporting.prediction_map import class_cells, class_colors, placement_counts, write_legend
from shiftscope.results.image_table import csv_text

COLUMNS = ("file", "dy", "dx", "class", "confidence", "margin")
"""Columns of the table, one row per image and placement."""

MOST = 12
"""Largest number of images in the figure: those with the same class at the fewest placements."""

_LEFT, _SIDE, _BAR, _ABOVE, _BELOW, _LEGEND, _LEAST = 0.62, 2.2, 0.95, 0.5, 0.35, 1.9, 1.3
"""Sizes in inches; `_LEAST` is the least height of a row, which has a legend of six lines."""


def describe_everywhere(prediction: Mapping[str, Any]) -> str:
    """Return the placements of a map as text: number, mode and limits."""
    found = prediction["map"]
    limits = [f"at most {found['max_shift']} pixels from the middle"] if found["max_shift"] is not None else []
    limits += [f"every {found['step']} pixels"] if found["step"] > 1 else []
    return ", ".join([f"{len(found['rows']) * len(found['columns']):,} placements, mode {found['mode']}", *limits])


def extent(prediction: Mapping[str, Any], name: str) -> str:
    """Return the smallest and the largest confidence or margin of an image as text."""
    values = _values(prediction, name)
    if np.isnan(values).all():
        return MISSING
    return f"{np.nanmin(values):.3g} to {np.nanmax(values):.3g}"


def everywhere_csv(predictions: Sequence[Mapping[str, Any]]) -> str:
    """Return one row per image and placement in CSV format, see `COLUMNS`.

    A margin is empty if it is not finite; text is escaped as in `shiftscope.results.image_table`.

    Args:
        predictions: with keys "file" and "map", see `predict_files` with `everywhere`.
    """
    return csv_text(COLUMNS, map(_table, predictions))


def _table(prediction: Mapping[str, Any]) -> dict[str, np.ndarray]:
    found = prediction["map"]
    rows, columns = np.array(found["rows"]), np.array(found["columns"])
    classes = [name or NONFINITE_NAME for row in found["classes"] for name in row]
    return {"file": np.full(len(classes), prediction["file"]), "dy": np.repeat(rows, len(columns)),
            "dx": np.tile(columns, len(rows)), "class": np.array(classes),
            **{name: _values(prediction, name).ravel() for name in ("confidence", "margin")}}


def _values(prediction: Mapping[str, Any], name: str) -> np.ndarray:
    """Return the confidence or margin at each placement, float64 (R, Q); NaN where it is not finite."""
    return np.array(prediction["map"][name], np.float64)


@styled
def everywhere_figure(predictions: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw predicted class, confidence and margin at every placement, one row per image.

    Of more than `MOST` images, those with the same class at the fewest placements are drawn.

    Args:
        predictions: with keys "file", "offset", "class" and "map", see `predict_files` with `everywhere`.
    """
    require(len(predictions) >= 1, "predictions", 0, "at least one")
    drawn = sorted(predictions, key=lambda one: one["map"]["same_class"])[:MOST]
    colors = class_colors(drawn)
    scales = {name: _scale(drawn, name) for name in ("confidence", "margin")}
    shape = len(drawn[0]["map"]["rows"]), len(drawn[0]["map"]["columns"])
    height, width = map_size(shape, _SIDE)
    step = _ABOVE + max(height, _LEAST) + _BELOW
    few = len(drawn) == len(predictions)
    which = "" if few else f"The {MOST} of {len(predictions):,} images whose prediction changes most. "
    figure, bottom = page(
        _LEFT + 3 * width + _LEGEND + 2 * _BAR, step * len(drawn), "Prediction by position",
        f"{which}{describe_everywhere(drawn[0])}; the framed cell is the offset of the prediction.",
        ("Rows: offset dy (down); columns: offset dx (right), both in pixels. Confidence: probability of the predicted "
         "class. Margin: difference of the two largest outputs. The scales are the same for all images.",))
    for number, prediction in enumerate(drawn):
        below = bottom + (len(drawn) - number) * step - _ABOVE - height
        _draw_row(figure, prediction, colors, below, (height, width), scales)
    return describe(figure, "Prediction, confidence and margin by position. " + "; ".join(
        f"{PurePath(one['file']).name}: {one['class'] or NONFINITE_NAME} at {percent(one['map']['same_class'])} of the "
        f"placements, confidence {extent(one, 'confidence')}" for one in drawn) + ".")


def _scale(predictions: Sequence[Mapping[str, Any]], name: str) -> Normalize:
    """Return the scale of the confidences or margins of all images, at least 0.01 wide."""
    values = np.concatenate([_values(one, name).ravel() for one in predictions])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return Normalize(low, max(high, low + 0.01))


def _draw_row(figure: Figure, prediction: Mapping[str, Any], colors: Mapping[str | None, str], bottom: float,
              size: tuple[float, float], scales: Mapping[str, Normalize]) -> None:
    height, width = size
    left = _LEFT
    axes = inches(figure, left, bottom, width, height)
    axes.imshow(class_cells(prediction, colors), interpolation="nearest", aspect="auto")
    _finish(axes, prediction, f"{shorten(PurePath(prediction['file']).name, 26)}\nprediction")
    write_legend(figure, placement_counts(prediction), colors, left + width + 0.12, bottom + height - 0.12)
    left += width + _LEGEND
    for name, scale in scales.items():
        axes = inches(figure, left, bottom, width, height)
        shown = axes.imshow(np.ma.masked_invalid(_values(prediction, name)), cmap=MAPS, norm=scale,
                            interpolation="nearest", aspect="auto")
        _finish(axes, prediction, f"{name}\n{extent(prediction, name)}")
        figure.colorbar(shown, cax=inches(figure, left + width + 0.08, bottom, 0.1, height)).ax.tick_params(labelsize=7)
        left += width + _BAR


def _finish(axes: Axes, prediction: Mapping[str, Any], title: str) -> None:
    """Write title and offsets, and frame the offset of the prediction."""
    found, offset = prediction["map"], prediction["offset"]
    axes.grid(visible=False)
    axes.set_title(verbatim(title), fontsize=8.5)
    row, column = (values.index(value) if value in values else None
                   for values, value in zip((found["rows"], found["columns"]), offset, strict=True))
    for axis, values, middle in ((axes.yaxis, found["rows"], row), (axes.xaxis, found["columns"], column)):
        chosen = ticks(len(values), middle)
        axis.set_ticks(chosen, [str(values[index]) for index in chosen], fontsize=7.5)
    if row is not None and column is not None:
        for color, line in ((PAPER, 3.0), (INK, 1.2)):
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=color, linewidth=line))
