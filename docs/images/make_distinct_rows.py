"""Draw the second figure of docs/identity.md: the distinct rows of one padded layer, and the nine blocks they form.

Run `python docs/images/make_distinct_rows.py` from the root of the repository.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.dense.axis import PAD, Axis, Taps, read_windows, windows
from shiftscope.reporting.figure_style import INK, MUTED, PAPER, describe, foot, head, render_figure, styled

IMAGE, CANVAS = 3, 6
"""Pixels of the image and of the canvas along one axis; the kernel has three taps and one row of padding."""

COLORS = {"inner": "#bcad6c", "top": "#00204d", "bottom": "#7c7b78"}
INKS = {"inner": INK, "top": PAPER, "bottom": PAPER}
NOTE = ("Left: row u of the map at offset d reads rows u - 1, u and u + 1 of the canvas. Equal numbers: the same three "
        "inputs, so the same values. Rows that read padding are numbered after the others. Right: rows and columns "
        "are distinct independently, so the map at all offsets is one array of (distinct rows) x (distinct columns).")


def layer() -> Taps:
    """Return the distinct rows of the layer."""
    offsets, rows = np.arange(CANVAS - IMAGE + 1)[:, None], np.arange(CANVAS)
    shown = rows - offsets
    image = np.where((shown >= 0) & (shown < IMAGE), shown + 1, 0)  # row 0: the canvas without the image
    axis = Axis(image, IMAGE + 1, IMAGE + 1, 0)
    return read_windows(axis, windows(CANVAS, CANVAS, 3, before=1, after=1))


def kind_of(taps: Taps, row: int) -> str:
    """Return "inner", or the border that a distinct row touches."""
    if row < taps.axis.inner:
        return "inner"
    return "top" if taps.index[row, 0] == PAD else "bottom"


def table(axes: Axes, taps: Taps) -> None:
    """Draw the table of distinct rows: offsets down, rows of the map to the right."""
    for (d, u), row in np.ndenumerate(taps.axis.table):
        kind = kind_of(taps, int(row))
        axes.bar(u, 0.9, width=0.92, bottom=d - 0.45, color=COLORS[kind], edgecolor=MUTED, linewidth=0.5)
        axes.text(u, d, str(row), ha="center", va="center", color=INKS[kind], fontsize=9)
    for d in range(len(taps.axis.table)):
        axes.text(-0.75, d, f"d = {d}", ha="right", va="center", fontsize=9)
    for u in range(CANVAS):
        axes.text(u, -0.75, f"u = {u}", ha="center", va="center", fontsize=9)
    axes.set_xlim(-1.9, CANVAS - 0.4)
    axes.set_ylim(len(taps.axis.table) - 0.4, -1.2)


def blocks(axes: Axes, taps: Taps) -> None:
    """Draw the nine blocks to scale."""
    kinds = [kind_of(taps, row) for row in range(taps.axis.size)]
    ends = [0, *(k + 1 for k, (a, b) in enumerate(pairwise(kinds)) if a != b), len(kinds)]
    names = [kinds[start] for start in ends[:-1]]
    for (top, down), row in zip(pairwise(ends), names, strict=True):
        for (left, right), column in zip(pairwise(ends), names, strict=True):
            inner = row == column == "inner"
            axes.bar((left + right) / 2, down - top, width=right - left, bottom=top, edgecolor=PAPER, linewidth=2,
                     color=COLORS["inner"] if inner else "#e9e6d8")
            text = "one dilated\nconvolution" if inner else f"{row}\nx {column}"
            axes.text((left + right) / 2, (top + down) / 2, text, ha="center", va="center", fontsize=8.5)
    for (start, stop), name in zip(pairwise(ends), names, strict=True):
        label = f"{name}: {stop - start}"
        axes.text((start + stop) / 2, -0.5, label, ha="center", va="center", fontsize=9)
        axes.text(-0.3, (start + stop) / 2, label, ha="right", va="center", fontsize=9)
    axes.set_xlim(-3.2, len(kinds) + 0.1)
    axes.set_ylim(len(kinds) + 0.1, -1.1)


@styled
def distinct_rows_figure() -> Figure:
    """Return the figure."""
    taps = layer()
    figure = Figure(figsize=(10.4, 5.2))
    count, every = taps.axis.size, taps.axis.table.size
    head(figure, "A padded layer at all offsets: each distinct row once",
         f"Convolution of 3 taps with one row of zero padding; images of {IMAGE} rows on a canvas of {CANVAS}: {every} "
         f"rows, {count} of them distinct.")
    foot(figure, NOTE)
    left, right = figure.add_axes((0.02, 0.2, 0.44, 0.58)), figure.add_axes((0.5, 0.13, 0.47, 0.68))
    for axes in (left, right):
        axes.set_axis_off()
    table(left, taps)
    blocks(right, taps)
    left.set_title("index of row u at offset d", fontsize=10, weight="bold")
    right.set_title("the stored map", fontsize=10, weight="bold")
    return describe(figure, f"Left, a table with one row for each of {len(taps.axis.table)} offsets and one column for "
                            f"each of {CANVAS} rows of the map; equal numbers mark equal rows. Right, a square of "
                            f"{count} by {count} distinct rows and columns, divided into nine blocks: inner, top and "
                            "bottom rows times the same kinds of columns.")


if __name__ == "__main__":
    (Path(__file__).parent / "distinct-rows.png").write_bytes(render_figure(distinct_rows_figure(), "png"))
