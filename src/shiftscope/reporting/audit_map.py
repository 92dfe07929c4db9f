"""Accuracy at every placement as a map, with the figures that belong to it."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import (
    MAPS,
    Grid,
    audit_credit,
    audit_title,
    check_audits,
    common_scale,
    draw_map,
    extremes,
    how_all_audited,
    how_audited,
    inches,
    is_sparse,
    offset_ticks,
    picture_size,
    readable_on,
    scale_bar,
    ticks,
)
from shiftscope.reporting.style import INK, describe, foot, foot_height, head, head_height, styled, verbatim
from shiftscope.reporting.wording import listing, percent
from shiftscope.results import Audit

FIGURES = (("mean_accuracy", "mean", "over images and placements"),
           ("worst_case_accuracy", "worst case", "of images right at every placement"),
           ("consistency", "consistency", "two random placements: same label"),
           ("unanimity", "unanimity", "of images: one label everywhere"),
           ("middle_accuracy", "centered", "of the centered images right"))
"""(field of an audit, its name, what it says), in the order in which they are written."""

_SIDE, _LEFT, _GAP, _LINES = 3.1, 0.62, 0.55, 1.55
_LARGE = 9  # cells a side; in smaller maps a number fits into its cell
_NOTE = ("A cell is the image's top-left corner on the canvas, its color the share of images classified right there; "
         "numbers: the same in percent. The framed cell is the centered image.")
_NOTE_CROP = ("A cell is the corner of the window that the model sees, its color the share of images classified right "
              "there; numbers: the same in percent. The framed cell is the middle window.")
_NOTE_CIRCULAR = ("A cell is how far the centered image was rolled, its color the share of images classified right "
                  "there; numbers: the same in percent. The framed cell is the unmoved image, in the middle.")
_HOLES = "Gray cells were not computed."


@styled
def accuracy_map(audits: Sequence[Audit]) -> Figure:
    """Draw accuracy by placement, a map a model side by side, on one scale, with the audit's figures under each.

    Raises:
        UsageError: no audits.
    """
    check_audits(audits)
    grids = [Grid(audit) for audit in audits]
    scale = common_scale([audit.accuracy_map for audit in audits])
    sizes = [picture_size(grid.shape, _SIDE) for grid in grids]
    tallest = max(height for height, _ in sizes)
    width = max(_LEFT + len(audits) * (_SIDE + _LEFT + _GAP) + 0.5, 6.2)
    title, subtitle = _title(audits), how_all_audited(audits)
    footer = (_note(audits), audit_credit(audits[0]))
    top, bottom = head_height(width, title, subtitle) + 0.3, foot_height(width, *footer)
    figure = Figure(figsize=(width, top + tallest + 0.55 + _LINES + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    low, left = bottom + _LINES + 0.55, _LEFT
    for audit, grid, (height, wide) in zip(audits, grids, sizes, strict=True):
        axes = inches(figure, left, low + tallest - height, wide, height)
        _panel(axes, audit, grid, scale)
        _figures(figure, left - 0.3, bottom + _LINES - 0.08, audit)
        left += _SIDE + _LEFT + _GAP
    scale_bar(figure, left - _LEFT - _GAP + 0.15, low, tallest, scale, "images classified right (%)")
    return describe(figure, " ".join([title, *(_in_words(audit) for audit in audits), audit_credit(audits[0])]))


def _title(audits: Sequence[Audit]) -> str:
    if len(audits) > 2:
        return "Where each model is right"
    return f"Where the {listing([audit_title(audit) for audit in audits])} {'is' if len(audits) == 1 else 'are'} right"


def _note(audits: Sequence[Audit]) -> str:
    note = {"crop": _NOTE_CROP, "circular": _NOTE_CIRCULAR}.get(audits[0].mode, _NOTE)
    holes = any(np.isnan(audit.accuracy_map).any() for audit in audits)
    return f"{note} {_HOLES}" if holes else note


def _panel(axes: Axes, audit: Audit, grid: Grid, scale: Normalize) -> None:
    picture = grid.lay(audit.accuracy_map)
    draw_map(axes, grid, picture, scale)
    offset_ticks(axes, grid)
    axes.set_title(verbatim(audit_title(audit)), fontsize=10)
    if is_sparse(picture):
        return  # numbers would stand on the empty ground between the dots
    rows, columns = (ticks(count, grid.middle[axis] if grid.middle else None)
                     for axis, count in enumerate(grid.shape))
    for row in rows:
        for column in columns:
            _number(axes, picture, (row, column), scale, framed=(row, column) == grid.middle)


def _number(axes: Axes, picture: np.ndarray, cell: tuple[int, int], scale: Normalize, *, framed: bool) -> None:
    """Write a cell's share in percent: moved inwards at the rim, and out of the frame of a small cell."""
    share = float(picture[cell])
    if not np.isfinite(share):
        return
    (down, up), (left, right) = (_toward(place, count) for place, count in zip(cell, picture.shape, strict=True))
    y, x = cell[0] + up, cell[1] + right
    if framed and max(picture.shape) > _LARGE:
        x, left = cell[1] + 0.035 * max(picture.shape), "left"
    axes.text(x, y, f"{100 * share:.0f}", ha=left, va={"left": "top", "right": "bottom"}.get(down, down), fontsize=7.5,
              color=readable_on(MAPS(scale(share))), zorder=5, weight="bold")


def _toward(place: int, count: int) -> tuple[str, float]:
    """How a number is aligned on its cell, and by how much it is moved, so that it does not leave the map."""
    if count > _LARGE and place == 0:
        return "left", -0.3
    return ("right", 0.3) if count > _LARGE and place == count - 1 else ("center", 0.0)


def _figures(figure: Figure, left: float, top: float, audit: Audit) -> None:
    """Write the figures of an audit, a line each, from `top` inches down."""
    wide, tall = figure.get_size_inches()
    for row, (name, word, meaning) in enumerate(FIGURES):
        y = (top - 0.215 * row) / tall
        for x, text, size, weight in ((0.0, word, 9, "bold"), (0.92, percent(getattr(audit, name)), 9, "bold"),
                                      (1.52, f"{_interval(audit, name)} {meaning}", 7.2, "normal")):
            figure.text((left + x) / wide, y, verbatim(text.strip()), fontsize=size, weight=weight, color=INK, va="top")
    figure.text(left / wide, (top - 0.215 * len(FIGURES)) / tall, verbatim(extremes(audit)), fontsize=7.2, color=INK,
                va="top")


def _interval(audit: Audit, name: str) -> str:
    if name not in audit.intervals:
        return ""
    low, high = audit.intervals[name]
    return f"({100 * low:.1f}–{100 * high:.1f})"


def _in_words(audit: Audit) -> str:
    figures = ", ".join(f"{word} {percent(getattr(audit, name))}" for name, word, _ in FIGURES)
    return f"{audit_title(audit)}: {figures}; {extremes(audit)}. {how_audited(audit)}"
