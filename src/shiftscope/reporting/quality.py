"""How good syntheses are: one panel a figure of merit, one dot a unit."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shiftscope.reporting.style import (
    BLUE,
    INK,
    MUTED,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    styled,
    verbatim,
)
from shiftscope.reporting.wording import MISSING, model_title, percent, shorten
from shiftscope.results import Quality

_PANELS = {"over_best": "activation over that of\nthe best real image",
           "selectivity": "its share of all\nits layer gives",
           "placement_stability": "share of activation left\nwhen moved by {shift} pixels",
           "seed_stability": "correlation of pictures\nfrom {seeds} random starts"}

_NAMED = 24  # more rows than this are drawn without names, in the order of their values

_WIDTH, _ROW = 8.4, 0.21  # inches


@styled
def quality_figure(quality: Quality, *, credit: str = "") -> Figure:
    """Draw the figures of merit of a synthesis side by side, each unit as a dot.

    Panels that hold no number are left out. Up to 24 units are named; more are sorted in each panel.

    Args:
        quality: of one synthesis.
        credit: line at the foot, see `image_credit`.
    """
    panels = [name for name in _PANELS if np.isfinite(getattr(quality, name)).any()]
    count = len(quality.units)
    tall = 1.9 if count > _NAMED else 0.3 + _ROW * count
    title = f"How good the pictures of {quality.objective} are for the {model_title(quality.model)}"
    subtitle = "One dot a unit" + (", sorted in each panel." if count > _NAMED else ".")
    if quality.transfer is not None and count <= _NAMED:
        subtitle += " ✓: the judge names the picture right; ✗: it does not."
    lines = (quality_sentence(quality), quality.pictures, credit)
    bottom = foot_height(_WIDTH, *lines) + 0.3
    total = head_height(_WIDTH, title, subtitle) + 0.4 + tall + bottom
    figure = Figure(figsize=(_WIDTH, total))
    head(figure, title, subtitle)
    foot(figure, *lines)
    names = 0.14 if count <= _NAMED else 0.03
    wide = (0.98 - names) / max(len(panels), 1)
    for place, name in enumerate(panels):
        axes = figure.add_axes((names + place * wide, bottom / total, wide - 0.03, tall / total))
        _panel(axes, quality, name, named=place == 0 and count <= _NAMED)
    return describe(figure, f"{title}. {quality_sentence(quality)} {quality.pictures} {credit}".strip())


def quality_sentence(quality: Quality) -> str:
    """Return the figures that hold for all units together, in words."""
    parts = []
    if quality.exceeds_real is not None:
        parts.append(f"{percent(quality.exceeds_real, 0)} of the units are excited more by their picture than by any real "
                     "one.")
    if quality.transfer is not None:
        judge = shorten(model_title(quality.judge or MISSING), 40)
        parts.append(f"The judge, {judge}, names {percent(quality.transfer, 0)} of the pictures right.")
    if quality.dead is not None:
        parts.append(f"{percent(quality.dead, 0)} of the layer's units are silent for every real image.")
    return " ".join((*parts, f"{quality.seconds_per_unit:.2g} seconds a unit."))


def _panel(axes: Axes, quality: Quality, name: str, *, named: bool) -> None:
    values = getattr(quality, name)
    count = len(values)
    rows = np.arange(count)
    many = count > _NAMED
    axes.scatter(np.sort(values) if many else values, rows, s=5 if many else 16, color=BLUE, zorder=3)
    axes.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_xlim(min(0.0, float(np.nanmin(values)) - 0.05), max(1.05, 1.05 * float(np.nanmax(values))))
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_title(_PANELS[name].format(shift=quality.shift, seeds=quality.seeds), fontsize=8, color=INK)
    axes.set_yticks([] if many else rows)
    axes.set_yticklabels([verbatim(_label(quality, row)) for row in range(count)] if named else [])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="both", length=0, labelsize=7.5)


def _label(quality: Quality, row: int) -> str:
    """The name of a unit; where there was a judge of classes, with its verdict."""
    name = shorten(quality.units[row].removeprefix("class:"), 16)
    if quality.transfer is None:
        return name
    return f"{name} {'✓' if quality.judged_correct[row] else '✗'}"
