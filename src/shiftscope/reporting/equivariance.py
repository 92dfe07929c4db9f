"""The layer profile: equivariance error of each layer of a model."""

import math

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import format_sizes
from shiftscope.reporting.figure_style import INK, MUTED, PAPER, describe, inches, page, readable_on, styled, verbatim
from shiftscope.reporting.formatting import image_credit, is_finite, model_title, shorten
from shiftscope.results.equivariance import PIXELS_DB, Equivariance

LEVELS = colormaps["cividis"].with_extremes(bad="#e3e6ea")
_SCALE = Normalize(0.0, PIXELS_DB)

_ROW, _CELL, _NAMES, _MAX_LAYERS = 0.24, 0.36, 2.75, 60
_NOTE = ("Signal-to-error ratio in decibels, 10 log10(signal power / error power). 20 dB: the error is a tenth of the "
         "signal; 0 dB: as large as the signal; ∞: exactly equal; above about 120 dB: float32 rounding. The error of a "
         "feature map is its difference from the shifted output for the unshifted image. Layers without rows and "
         "columns (marked •) should not change: their change is relative to their spread between images and cannot be "
         "compared with feature maps. Loss: relative to the map before, capped at 50 dB (8-bit pixels); +: gain. –: "
         "not defined.")


def format_decibels(value: float | None) -> str:
    """Return a value in decibels as text.

    >>> format_decibels(15.42), format_decibels(math.inf), format_decibels(math.nan), format_decibels(-0.2)
    ('15', '∞', '–', '0')
    """
    if value is None or math.isnan(value):
        return "–"
    return f"{value:z.0f}".replace("inf", "∞").replace("-", "−")


@styled
def layer_profile(profile: Equivariance, *, credit: str = "") -> Figure:
    """Draw a row for each layer: signal-to-error ratio for each shift down and right, and the loss in each layer.

    Only the last 60 layers are drawn. The credit at the bottom is by default that of the dataset.
    """
    rows = list(range(len(profile.layers)))[-_MAX_LAYERS:]
    shifts = [index for index, shift in enumerate(profile.shifts) if shift]
    block, height = _CELL * len(shifts), _ROW * max(len(rows), 1)
    title = f"Equivariance error by layer: {model_title(profile.model)}"
    subtitle = _subtitle(profile, len(rows))
    credit = credit or image_credit(profile.dataset, synthetic=profile.synthetic)
    figure, bottom = page(max(_NAMES + 2 * block + 1.8, 7.0), height, title, subtitle, (_NOTE, credit), above=0.45,
                          below=0.45)
    for axis, name in enumerate(("down", "right")):
        axes = inches(figure, _NAMES + axis * (block + 0.25), bottom, block, height)
        _block(axes, profile.decibels[rows, axis][:, shifts], [profile.shifts[index] for index in shifts], name)
        if axis == 0:
            axes.set_yticks(range(len(rows)), [verbatim(_row_name(profile, row)) for row in rows], fontsize=7.5)
    _losses(inches(figure, _NAMES + 2 * block + 0.45, bottom, 1.25, height), profile, rows)
    overall = "; ".join(f"{_row_name(profile, row)}: {_overall(profile, row)} dB" for row in rows)
    return describe(figure, f"{title}. {subtitle} Over all shifts: {overall}. {credit}")


def _subtitle(profile: Equivariance, rows: int) -> str:
    worst = (f"Largest loss: {profile.loses_most}." if profile.loses_most is not None
             else "No feature map loses more than the rounding of pixels.")
    cut = f" The last {rows} of {len(profile.layers)} layers." if rows < len(profile.layers) else ""
    return (f"{worst} {profile.images} {profile.split} images, shifted by 1 to {profile.shifts[-1]} pixels, mode "
            f"{profile.mode}, {format_sizes(profile.geometry)}.{cut}")


def _row_name(profile: Equivariance, row: int) -> str:
    name, strides = profile.layers[row], profile.strides[row]
    if strides is None:
        return f"{shorten(name, 28)} •"
    stride = f"{strides[0]}" if strides[0] == strides[1] else f"{strides[0]} x {strides[1]}"
    return f"{shorten(name, 26)}, stride {stride}"


def _block(axes: Axes, values: np.ndarray, shifts: list[int], name: str) -> None:
    """Draw layers x shifts as numbers on colors; infinity has the brightest color."""
    clipped = np.clip(values, 0.0, PIXELS_DB)
    axes.imshow(clipped, cmap=LEVELS, norm=_SCALE, aspect="auto", interpolation="none")
    axes.set_xticks(range(len(shifts)), [str(shift) for shift in shifts], fontsize=7.5)
    axes.set_yticks([])
    axes.tick_params(length=0)
    axes.set_xlabel(f"shift {name} (pixels)", fontsize=8)
    axes.set_title(f"shifted {name} (dB)", fontsize=9)
    axes.grid(False)
    for (row, column), value in np.ndenumerate(values):
        ink = MUTED if np.isnan(value) else readable_on(LEVELS(float(_SCALE(clipped[row, column]))))
        axes.text(column, row, format_decibels(float(value)), ha="center", va="center", fontsize=7, color=ink)


def _losses(axes: Axes, profile: Equivariance, rows: list[int]) -> None:
    """Draw the loss of each feature map relative to the one before; the largest has another color and a label."""
    drops = [drop if (drop := profile.drops[row]) is not None and math.isfinite(drop) else 0.0 for row in rows]
    widest = max(*(abs(drop) for drop in drops), 1.0)
    for index, (row, drop) in enumerate(zip(rows, drops, strict=True)):
        is_worst = profile.layers[row] == profile.loses_most
        axes.barh(index, max(drop, 0.0), height=0.62, color="#00204d" if is_worst else "#a59c74", edgecolor=INK,
                  linewidth=0.5)
        if not is_finite(profile.drops[row]):
            axes.text(0.03 * widest, index, format_decibels(None), va="center", fontsize=7, color=MUTED)
        else:
            text = ("+" if drop <= -0.5 else "") + format_decibels(abs(drop)) + (" largest" if is_worst else "")
            axes.text(max(drop, 0.0) + 0.03 * widest, index, text, va="center", fontsize=7,
                      weight="bold" if is_worst else "normal")
    axes.set_xlim(0, widest * 1.75)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.set_facecolor(PAPER)
    axes.set_title("loss (dB)", fontsize=9)


def _overall(profile: Equivariance, row: int) -> str:
    value = profile.overall[row]
    if value is None:
        value = math.inf if np.isposinf(profile.decibels[row]).all() else math.nan
    return format_decibels(value)
