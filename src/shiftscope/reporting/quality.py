"""Quality measures of synthesized images: one panel per measure, one dot per unit."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shiftscope.reporting.figure_style import BLUE, INK, MUTED, describe, inches, page, styled, verbatim
from shiftscope.reporting.formatting import MISSING, UNDEFINED, model_title, percent, shorten
from shiftscope.results import Quality

_PANELS = {"over_best": "activation relative to\nthe best real image",
           "selectivity": "fraction of the total\nactivation of its layer",
           "placement_stability": "activation left after a\nshift by {shift} pixels",
           "seed_stability": "correlation of images\nfrom {seeds} random starts"}

_NAMED = 24  # more units are drawn without names and sorted by value
_WIDTH, _ROW = 8.4, 0.21  # inches


@styled
def quality_figure(quality: Quality, *, credit: str = "") -> Figure:
    """Draw the quality measures of a synthesis side by side.

    Panels without values are left out and named below. Up to 24 units are named; more are sorted in each panel. Values
    that are not finite are written as "not defined".
    """
    panels = [name for name in _PANELS if np.isfinite(getattr(quality, name)).any()]
    empty = [_heading(quality, name).replace("\n", " ") for name in _PANELS if name not in panels]
    count, many = len(quality.units), len(quality.units) > _NAMED
    title = f"Quality of the synthesized images of {quality.objective}: {model_title(quality.model)}"
    subtitle = "One dot per unit" + (", sorted in each panel." if many else ".")
    if quality.transfer is not None and not many:
        subtitle += " ✓: the second model predicts the target class; ✗: it does not."
    lines = (quality_summary(quality), f"Not measured, or not defined for all units: {'; '.join(empty)}." * bool(empty),
             quality.pictures, credit)
    tall = 1.9 if many else 0.3 + _ROW * count
    figure, bottom = page(_WIDTH, tall, title, subtitle, lines, above=0.4, below=0.3)
    left = _WIDTH * (0.03 if many else 0.14)
    wide = (0.98 * _WIDTH - left) / max(len(panels), 1)
    for index, name in enumerate(panels):
        axes = inches(figure, left + index * wide, bottom, wide - 0.03 * _WIDTH, tall)
        _panel(axes, quality, name, named=index == 0 and not many)
    undefined = sum(int((~np.isfinite(getattr(quality, name))).sum()) for name in panels)
    note = f"{undefined} values are {UNDEFINED}." if undefined else ""
    return describe(figure, " ".join(filter(None, [f"{title}.", note, *lines])))


def _heading(quality: Quality, name: str) -> str:
    return _PANELS[name].format(shift=quality.shift, seeds=quality.seeds or "several")


def quality_summary(quality: Quality) -> str:
    """Return the measures of all units together as text."""
    parts = []
    if quality.exceeds_real is not None:
        parts.append(f"{percent(quality.exceeds_real, 0)} of the units are activated more by their synthesized image "
                     "than by any real image.")
    if quality.transfer is not None:
        judge = shorten(model_title(quality.judge or MISSING), 40)
        parts.append(f"A second model ({judge}) classifies {percent(quality.transfer, 0)} of the images correctly.")
    if quality.dead is not None:
        parts.append(f"{percent(quality.dead, 0)} of the layer's units are inactive for every real image.")
    return " ".join((*parts, f"{quality.seconds_per_unit:.2g} seconds per unit."))


def _panel(axes: Axes, quality: Quality, name: str, *, named: bool) -> None:
    values = getattr(quality, name)
    many, rows, defined = len(values) > _NAMED, np.arange(len(values)), np.isfinite(values)
    if many:  # undefined values last
        order = np.argsort(np.where(defined, values, np.inf), kind="stable")
        values, defined = values[order], defined[order]
    axes.scatter(values[defined], rows[defined], s=5 if many else 16, color=BLUE, zorder=3)
    axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
    low, high = min(0.0, float(values[defined].min()) - 0.05), max(1.05, 1.05 * float(values[defined].max()))
    axes.set_xlim(low, high)
    axes.set_ylim(len(values) - 0.5, -0.5)
    _write_undefined(axes, rows[~defined], low + 0.02 * (high - low), many=many)
    axes.set_title(_heading(quality, name), fontsize=8, color=INK)
    axes.set_yticks([] if many else rows)
    axes.set_yticklabels([verbatim(_label(quality, row)) for row in rows.tolist()] if named else [])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="both", length=0, labelsize=7.5)


def _write_undefined(axes: Axes, rows: np.ndarray, x: float, *, many: bool) -> None:
    """Write "not defined" in rows without a value; of many units once, with their number."""
    texts = {float(rows.mean()): f"{len(rows)} {UNDEFINED}"} if many and len(rows) else dict.fromkeys(
        rows.tolist(), UNDEFINED)
    for row, text in texts.items():
        axes.text(x, row, text, fontsize=6.5, color=MUTED, va="center")


def _label(quality: Quality, row: int) -> str:
    name = shorten(quality.units[row].removeprefix("class:"), 16)
    return name if quality.transfer is None else f"{name} {'✓' if quality.judged_correct[row] else '✗'}"
