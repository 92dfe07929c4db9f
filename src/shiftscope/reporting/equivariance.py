"""The layer profile: how far each layer of a model is from commuting with shifts."""

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import inches, readable_on, sizes_in_words
from shiftscope.reporting.style import (
    INK,
    MUTED,
    PAPER,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    styled,
    verbatim,
)
from shiftscope.reporting.wording import image_credit, model_title, shorten
from shiftscope.results.equivariance import PIXELS_DB, Equivariance

LEVELS = colormaps["cividis"].with_extremes(bad="#e3e6ea")
_SCALE = Normalize(0.0, PIXELS_DB)

_ROW, _CELL, _NAMES, _MOST = 0.24, 0.36, 2.75, 60
_NOTE = ("Numbers are decibels: 10 log10 of signal power to error power. 20 dB: an error of a tenth of the signal; 0 "
         "dB: as large as the signal; ∞: not a bit differs; above about 120 dB: rounding of 32-bit numbers. For maps "
         "the error is what remains when the answer to the unmoved image is moved along. Layers without rows and "
         "columns (marked •) should not change at all: their change is set against their spread between images, so "
         "their numbers do not compare with those of maps. Lost here: against the map before, 50 dB (8-bit pixels) at "
         "most; +: gained.")


def decibels_in_words(value: float | None) -> str:
    """Return a figure as the profile writes it.

    >>> decibels_in_words(15.42), decibels_in_words(math.inf), decibels_in_words(math.nan), decibels_in_words(-0.2)
    ('15', '∞', '–', '0')
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{round(value):d}".replace("-", "−")


@styled
def layer_profile(found: Equivariance, *, credit: str = "") -> Figure:
    """Draw a row a layer: dB at each shift down and right, and how much each map loses.

    Args:
        found: of one model; of more than 60 layers the last 60 are drawn.
        credit: line at the foot, that of the dataset unless given.
    """
    rows = list(range(len(found.layers)))[-_MOST:]
    shifts = [place for place, shift in enumerate(found.shifts) if shift]
    block = _CELL * len(shifts)
    width = max(_NAMES + 2 * block + 0.25 + 1.35, 7.0)
    title = f"How far each layer of the {model_title(found.model)} is from commuting with shifts"
    subtitle = _subtitle(found, len(rows))
    footer = (_NOTE, credit or image_credit(found.dataset, synthetic=found.synthetic))
    top, bottom = head_height(width, title, subtitle) + 0.45, foot_height(width, *footer) + 0.45
    height = _ROW * max(len(rows), 1)
    figure = Figure(figsize=(width, top + height + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    for axis, name in enumerate(("down", "right")):
        axes = inches(figure, _NAMES + axis * (block + 0.25), bottom, block, height)
        values = found.decibels[rows, axis][:, shifts]
        _block(axes, values, [found.shifts[place] for place in shifts], name)
        if axis == 0:
            axes.set_yticks(range(len(rows)), [verbatim(_row_name(found, row)) for row in rows], fontsize=7.5)
    _losses(inches(figure, _NAMES + 2 * block + 0.45, bottom, 1.05, height), found, rows)
    return describe(figure, f"{title}. {subtitle} {_in_words(found, rows)} {footer[1]}")


def _subtitle(found: Equivariance, rows: int) -> str:
    most = (f"{found.loses_most} loses most." if found.loses_most is not None
            else "No map loses more than the rounding of pixels.")
    cut = f" The last {rows} of {len(found.layers)} layers." if rows < len(found.layers) else ""
    return (f"{most} {found.images} {found.split} images, moved by every number of pixels up to {found.shifts[-1]}, "
            f"mode {found.mode}, {sizes_in_words(found.geometry)}.{cut}")


def _row_name(found: Equivariance, row: int) -> str:
    """Name and stride of a layer, the stride once where both directions have the same."""
    name, strides = found.layers[row], found.strides[row]
    if strides is None:
        return f"{shorten(name, 28)} •"
    stride = f"{strides[0]}" if strides[0] == strides[1] else f"{strides[0]} x {strides[1]}"
    return f"{shorten(name, 26)}, stride {stride}"


def _block(axes: Axes, values: np.ndarray, shifts: list[int], name: str) -> None:
    """Draw layers x shifts as numbers on colors; infinity has the brightest color."""
    axes.imshow(np.clip(values, 0.0, PIXELS_DB), cmap=LEVELS, norm=_SCALE, aspect="auto", interpolation="none")
    axes.set_xticks(range(len(shifts)), [str(shift) for shift in shifts], fontsize=7.5)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.set_xlabel(f"pixels moved {name}", fontsize=8)
    axes.set_title(f"moved {name} (dB)", fontsize=9)
    axes.grid(False)
    for (row, column), value in np.ndenumerate(values):
        ink = MUTED if np.isnan(value) else readable_on(LEVELS(_SCALE(min(max(value, 0.0), PIXELS_DB))))
        axes.text(column, row, decibels_in_words(float(value)), ha="center", va="center", fontsize=7, color=ink)


def _losses(axes: Axes, found: Equivariance, rows: list[int]) -> None:
    """Draw what each map loses since the one before; the largest loss is hatched and named."""
    drops = [found.drops[row] or 0.0 for row in rows]
    worst = [found.layers[row] == found.loses_most for row in rows]
    widest = max(*(abs(drop) for drop in drops), 1.0)
    for place, (drop, is_worst) in enumerate(zip(drops, worst, strict=True)):
        axes.barh(place, max(drop, 0.0), height=0.62, color="#00204d" if is_worst else "#a59c74", edgecolor=INK,
                  linewidth=0.5)
        if found.drops[rows[place]] is not None:
            axes.text(max(drop, 0.0) + 0.03 * widest, place, _loss(drop, is_worst), va="center", fontsize=7,
                      weight="bold" if is_worst else "normal")
    axes.set_xlim(0, widest * 1.75)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set_facecolor(PAPER)
    axes.set_title("lost here (dB)", fontsize=9)


def _loss(drop: float, is_worst: bool) -> str:
    text = decibels_in_words(-drop if drop < 0 else drop)
    sign = "+" if drop <= -0.5 else ""
    return f"{text} most" if is_worst else f"{sign}{text}"


def _in_words(found: Equivariance, rows: list[int]) -> str:
    parts = [f"{_row_name(found, row)}: {_overall(found, row)}" for row in rows]
    return f"Over all shifts: {'; '.join(parts)}."


def _overall(found: Equivariance, row: int) -> str:
    value = found.overall[row]
    if value is None:
        value = math.inf if np.isposinf(found.decibels[row]).all() else math.nan
    return f"{decibels_in_words(value)} dB"
