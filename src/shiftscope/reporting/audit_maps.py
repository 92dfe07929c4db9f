"""Accuracy by position: at every placement, for each class, and by the offset modulo a stride."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import (
    COLUMNS_LABEL,
    MAPS,
    ROWS_LABEL,
    PlacementGrid,
    audit_credit,
    audit_title,
    check_audits,
    common_scale,
    describe_audits,
    draw_map,
    extremes,
    is_sparse,
    map_size,
    offset_ticks,
    scale_bar,
    ticks,
)
from shiftscope.reporting.figure_style import INK, MUTED, describe, inches, page, readable_on, styled, verbatim
from shiftscope.reporting.formatting import listing, percent, points, shorten
from shiftscope.results import Audit

METRICS = (("mean_accuracy", "mean", "over images and placements"),
           ("worst_case_accuracy", "worst case", "of images correct at every placement"),
           ("consistency", "consistency", "two random placements: same label"),
           ("unanimity", "unanimity", "of images: one label at all placements"),
           ("middle_accuracy", "centered", "accuracy on centered images"))
"""(field of an audit, name, meaning) of the numbers below a map."""

_SIDE, _LEFT, _GAP, _LINES = 3.1, 0.62, 0.55, 1.55
_LARGE = 9  # cells per side; in smaller maps a number fits into its cell
_CELLS = {"canvas": ("the offset of the image's top-left corner on the canvas", "the centered image"),
          "crop": ("the offset of the window that the model sees", "the middle window"),
          "circular": ("the shift by which the centered image was rolled", "the unshifted image"),
          "fill": ("the shift of the image (uncovered sides are filled)", "the unshifted image")}

_COLUMNS, _CLASS_SIDE, _ACROSS, _DOWN = 5, 1.3, 0.34, 0.62
_MAX_CLASSES = 25
_NAMED = 8  # most classes without images that are named
_CLASS_NOTE = (f"Rows: {ROWS_LABEL}; columns: {COLUMNS_LABEL}. The framed cell is the centered image. Above each map: "
               "mean accuracy, and in parentheses the lowest and highest placement. All maps have the same scale.")

_PHASE_CELL = 0.4
_PHASE_NOTE = ("Each cell holds the placements whose offset has these remainders; its number is the accuracy there (%)."
               " Strided layers cause aliasing: accuracy then depends on the remainder. Remainders are not equally far "
               "from the middle on average, so differences of a few tenths of a point may have other causes. –: no "
               "placement has these remainders.")


@styled
def accuracy_map(audits: Sequence[Audit], *, scale: Normalize | None = None) -> Figure:
    """Draw accuracy by placement, one map per model on a common scale, with the metrics of each audit.

    Args:
        scale: the scale of the colors (default: the range of these maps).
    """
    return _position_map(audits, [audit.accuracy_map for audit in audits], "accuracy", "Accuracy by position", scale)


@styled
def agreement_map(audits: Sequence[Audit], *, scale: Normalize | None = None) -> Figure:
    """Draw the fraction of images whose prediction at a placement is that at the middle one; needs no labels.

    Args:
        scale: the scale of the colors (default: the range of these maps).
    """
    return _position_map(audits, [audit.agreement_map for audit in audits], "agreement",
                         "Agreement with the middle by position", scale)


def _position_map(audits: Sequence[Audit], maps: Sequence[np.ndarray], what: str, title: str,
                  scale: Normalize | None) -> Figure:
    check_audits(audits)
    grids = [PlacementGrid(audit) for audit in audits]
    scale = scale or common_scale(maps)
    sizes = [map_size(grid.shape, _SIDE) for grid in grids]
    tallest = max(height for height, _ in sizes)
    width = max(_LEFT + len(audits) * (_SIDE + _LEFT + _GAP) + 0.5, 6.2)
    title += f": {listing(list(map(audit_title, audits)))}" if len(audits) < 3 else ""
    figure, bottom = page(width, tallest, title, describe_audits(*audits),
                          (_note(audits[0], maps, what), audit_credit(audits[0])), above=0.3, below=_LINES + 0.55)
    left = _LEFT
    for audit, values, grid, (height, wide) in zip(audits, maps, grids, sizes, strict=True):
        _panel(inches(figure, left, bottom + tallest - height, wide, height), audit, values, grid, scale)
        _write_metrics(figure, left - 0.3, bottom - 0.63, audit, values)
        left += _SIDE + _LEFT + _GAP
    scale_bar(figure, left - _LEFT - _GAP + 0.15, bottom, tallest, scale, what)
    return describe(figure, " ".join([f"{title}.", *map(_summary, audits, maps), audit_credit(audits[0])]))


def _note(audit: Audit, maps: Sequence[np.ndarray], what: str) -> str:
    cell, middle = _CELLS.get(audit.mode, _CELLS["canvas"])
    meaning = {"accuracy": "accuracy there (%)",
               "agreement": "images (%) whose prediction there is that in the framed cell, correct or not"}[what]
    note = f"Each cell is {cell}; color and numbers: {meaning}. The framed cell is {middle}."
    return f"{note} Gray cells were not computed." if any(np.isnan(values).any() for values in maps) else note


def _panel(axes: Axes, audit: Audit, values: np.ndarray, grid: PlacementGrid, scale: Normalize) -> None:
    values = grid.arrange(values)
    draw_map(axes, grid, values, scale)
    offset_ticks(axes, grid)
    axes.set_title(verbatim(audit_title(audit)), fontsize=10)
    if not is_sparse(values):
        rows, columns = (ticks(count, grid.middle[axis] if grid.middle else None)
                         for axis, count in enumerate(grid.shape))
        for cell in ((row, column) for row in rows for column in columns if np.isfinite(values[row, column])):
            _write_number(axes, values, cell, scale, framed=cell == grid.middle)


def _write_number(axes: Axes, values: np.ndarray, cell: tuple[int, int], scale: Normalize, *, framed: bool) -> None:
    """Write a cell's accuracy: moved inwards at the border, and out of the frame of a small cell."""
    (down, up), (left, right) = (_align(index, count) for index, count in zip(cell, values.shape, strict=True))
    y, x, accuracy = cell[0] + up, cell[1] + right, float(values[cell])
    if framed and max(values.shape) > _LARGE:
        x, left = cell[1] + 0.035 * max(values.shape), "left"
    axes.text(x, y, f"{100 * accuracy:.0f}", ha=left, va={"left": "top", "right": "bottom"}.get(down, down),
              fontsize=7.5, color=readable_on(MAPS(scale(accuracy))), zorder=5, weight="bold")


def _align(index: int, count: int) -> tuple[str, float]:
    """Alignment and shift that keep the number of a cell inside the map."""
    if count > _LARGE and index == 0:
        return "left", -0.3
    return ("right", 0.3) if count > _LARGE and index == count - 1 else ("center", 0.0)


def _metrics(audit: Audit) -> list[tuple[str, str, str]]:
    """Return the rows of `METRICS` that an audit has."""
    return [row for row in METRICS if math.isfinite(getattr(audit, row[0]))]


def _write_metrics(figure: Figure, left: float, top: float, audit: Audit, values: np.ndarray) -> None:
    """Write the metrics of an audit, one per line, downwards from `top` inches."""
    wide, tall = figure.get_size_inches()
    for row, (name, word, meaning) in enumerate(_metrics(audit)):
        low, high = audit.intervals.get(name, (None, None))
        interval = "" if low is None or high is None else f"({100 * low:.1f}–{100 * high:.1f})"
        for x, text, size, weight in ((0.0, word, 9, "bold"), (0.92, percent(getattr(audit, name)), 9, "bold"),
                                      (1.52, f"{interval} {meaning}".strip(), 7.2, "normal")):
            figure.text((left + x) / wide, (top - 0.215 * row) / tall, verbatim(text), fontsize=size, weight=weight,
                        color=INK, va="top")
    figure.text(left / wide, (top - 0.215 * len(_metrics(audit))) / tall, verbatim(extremes(audit, values)),
                fontsize=7.2, color=INK, va="top")


def _summary(audit: Audit, values: np.ndarray) -> str:
    metrics = ", ".join(f"{word} {percent(getattr(audit, name))}" for name, word, _ in _metrics(audit))
    return f"{audit_title(audit)}: {metrics}; {extremes(audit, values)}. {describe_audits(audit)}"


@styled
def class_maps(audit: Audit, *, limit: int = _MAX_CLASSES) -> Figure:
    """Draw the accuracy map of each class on a common scale; classes without images are left out.

    If there are more than `limit` classes, those with the lowest mean accuracy are drawn.
    """
    grid = PlacementGrid(audit)
    means = {cls: mean for cls, mean in enumerate(audit.per_class) if mean is not None and math.isfinite(mean)}
    shown = sorted(sorted(means, key=lambda cls: means[cls])[:limit])
    columns, rows = min(_COLUMNS, max(len(shown), 1)), max(-(-len(shown) // _COLUMNS), 1)
    high, wide = map_size(grid.shape, _CLASS_SIDE)
    title = f"Accuracy by position and class: {audit_title(audit)}"
    cut = f" The {limit} classes with the lowest accuracy." if len(shown) < len(means) else ""
    missing = [shorten(name, 16) for cls, name in enumerate(audit.class_names) if cls not in means]
    cut += f" Classes without images: {listing(missing)}." if 0 < len(missing) <= _NAMED else ""
    cut += f" {len(missing):,} of {len(audit.class_names):,} classes have no images." if len(missing) > _NAMED else ""
    subtitle = describe_audits(audit) + cut
    figure, bottom = page(max(0.5 + columns * (wide + _ACROSS) + 0.75, 5.6), rows * (high + _DOWN), title, subtitle,
                          (_CLASS_NOTE, audit_credit(audit)), below=0.1)
    scale = common_scale([audit.class_maps[cls] for cls in shown] or [np.zeros((1, 1))])
    for index, cls in enumerate(shown):
        row, column = divmod(index, columns)
        low = bottom + (rows - row - 1) * (high + _DOWN) + 0.2
        axes = inches(figure, 0.4 + column * (wide + _ACROSS), low, wide, high)
        draw_map(axes, grid, grid.arrange(audit.class_maps[cls]), scale)
        offset_ticks(axes, grid, size=6.5, labels=False)
        axes.set_title(f"{verbatim(shorten(audit.class_names[cls], 16))}\n{_mean_and_range(audit, cls)}", fontsize=7.5,
                       loc="left", pad=3)
    scale_bar(figure, 0.4 + columns * (wide + _ACROSS) - 0.12, bottom + 0.2, high, scale)
    summary = listing([f"{audit.class_names[cls]} {_mean_and_range(audit, cls)}" for cls in shown])
    return describe(figure, f"{title}. {subtitle} Mean (lowest–highest placement): {summary}. {audit_credit(audit)}")


def _mean_and_range(audit: Audit, cls: int) -> str:
    low, high = (100 * float(find(audit.class_maps[cls])) for find in (np.nanmin, np.nanmax))
    return f"{percent(audit.per_class[cls], 0)} ({low:.0f}–{high:.0f})"


@styled
def phase_tables(audit: Audit) -> Figure:
    """Draw accuracy by (dy mod s, dx mod s), one table per stride s, on a common scale."""
    tables = dict(sorted((int(stride), np.array(rows, dtype=float)) for stride, rows in audit.by_phase.items()))
    values = np.concatenate([table[np.isfinite(table)] for table in tables.values()] or [np.zeros(1)])
    scale = Normalize(float(values.min(initial=1.0)), max(float(values.max(initial=0.0)), float(values.min()) + 0.01))
    width = max(0.2 + sum(_PHASE_CELL * stride + 0.75 for stride in tables), 6.0)
    title = f"Accuracy by offset modulo stride: {audit_title(audit)}"
    spreads = listing([f"{points(_range(table))} for stride {stride}" for stride, table in tables.items()])
    subtitle = f"Difference between best and worst remainder: {spreads}. {describe_audits(audit)}"
    tallest = _PHASE_CELL * max(tables, default=2)
    figure, bottom = page(width, tallest, title, subtitle, (_PHASE_NOTE, audit_credit(audit)), above=0.25, below=0.5)
    left = 0.65
    for stride, table in tables.items():
        side = _PHASE_CELL * stride
        _draw_table(inches(figure, left, bottom + tallest - side, side, side), stride, table, scale)
        left += side + 0.75
    return describe(figure, f"{title}. {subtitle} {audit_credit(audit)}")


def _range(table: np.ndarray) -> float:
    values = table[np.isfinite(table)]
    return float(values.max() - values.min()) if len(values) else float("nan")


def _draw_table(axes: Axes, stride: int, table: np.ndarray, scale: Normalize) -> None:
    axes.imshow(table, cmap=MAPS, norm=scale, interpolation="none", aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(stride))
    axes.set_yticks(range(stride))
    axes.tick_params(length=0, labelsize=7.5)
    axes.set_xlabel(f"dx mod {stride} (right)", fontsize=8)
    axes.set_ylabel(f"dy mod {stride} (down)", fontsize=8, labelpad=2)
    axes.set_title(f"stride {stride}", fontsize=9)
    for (row, column), accuracy in np.ndenumerate(table):
        known = np.isfinite(accuracy)
        axes.text(column, row, f"{100 * accuracy:.1f}" if known else "–", ha="center", va="center", fontsize=7,
                  color=readable_on(MAPS(scale(accuracy))) if known else MUTED)
