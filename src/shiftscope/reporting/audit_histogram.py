"""How many images are right at how many placements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import audit_credit, audit_title, check_audits, how_all_audited, inches
from shiftscope.reporting.style import (
    INK,
    RIGHT,
    SKY,
    WRONG,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    styled,
    verbatim,
)
from shiftscope.reporting.wording import percent
from shiftscope.results import Audit

_BINS = 20
"""Bars between the ends; with fewer placements each count has its own bar."""

_PANEL = 1.75
_NOTE = ("The two ends stand apart: images that are wrong everywhere and images that are right everywhere (the "
         "worst-case accuracy). Numbers on bars: percent of the images; a bar below 0.5 % has none.")


@dataclass(frozen=True)
class Bars:
    """Shares of images by the share of placements at which they are right; all of them sum to 1."""

    never: float
    always: float
    edges: np.ndarray
    """(B + 1,) shares of placements, from 0 to 1."""
    between: np.ndarray
    """(B,) shares of images: those right somewhere, not everywhere; a bar holds its left edge, not its right one."""


def count_bars(correct_counts: np.ndarray, placements: int) -> Bars:
    """Sort images by the number of placements at which they are right.

    >>> bars = count_bars(np.array([0, 1, 2, 2, 4]), 4)
    >>> bars.never, bars.always, bars.between.tolist()
    (0.2, 0.2, [0.2, 0.4, 0.0])
    """
    never, always = (correct_counts == 0).mean(), (correct_counts == placements).mean()
    middle = correct_counts[(correct_counts > 0) & (correct_counts < placements)]
    if placements - 1 <= _BINS:  # a bar for every count, half a step to both sides of it
        between = np.bincount(middle, minlength=placements + 1)[1:placements]
        edges = (np.arange(placements) + 0.5) / placements
    else:
        between = np.bincount(middle.astype(np.int64) * _BINS // placements, minlength=_BINS)
        edges = np.arange(_BINS + 1) / _BINS
    return Bars(float(never), float(always), edges, between / max(len(correct_counts), 1))


@styled
def right_counts_histogram(audits: Sequence[Audit]) -> Figure:
    """Draw how many images are right at which share of the placements, a panel a model.

    Raises:
        UsageError: no audits.
    """
    check_audits(audits)
    bars = [count_bars(audit.correct_counts, audit.placements) for audit in audits]
    width = 7.6
    title, subtitle = "At how many placements is an image classified right?", how_all_audited(audits)
    footer = (_NOTE, audit_credit(audits[0]))
    top, bottom = head_height(width, title, subtitle) + 0.25, foot_height(width, *footer) + 0.5
    height = top + len(audits) * (_PANEL + 0.6) - 0.6 + bottom
    figure = Figure(figsize=(width, height))
    head(figure, title, subtitle)
    foot(figure, *footer)
    highest = 100 * max(max(part.never, part.always, *part.between) for part in bars)
    for place, (audit, part) in enumerate(zip(audits, bars, strict=True)):
        low = bottom + (len(audits) - 1 - place) * (_PANEL + 0.6)
        axes = inches(figure, 0.65, low, width - 0.85, _PANEL)
        _panel(axes, audit, part)
        axes.set_ylim(0, highest * 1.14)
        if place == len(audits) - 1:
            axes.set_xlabel("share of the placements at which the image is classified right")
    return describe(figure, " ".join([title, subtitle, *map(_in_words, audits, bars), audit_credit(audits[0])]))


def _panel(axes: Axes, audit: Audit, bars: Bars) -> None:
    widths = 100 * np.diff(bars.edges)
    centers = 100 * (bars.edges[:-1] + bars.edges[1:]) / 2
    axes.bar(centers, 100 * bars.between, width=widths * 0.94, color=SKY, edgecolor=INK, linewidth=0.5)
    axes.bar([-7], [100 * bars.never], width=6, color=WRONG, edgecolor=INK, linewidth=0.5, hatch="xx")
    axes.bar([107], [100 * bars.always], width=6, color=RIGHT, edgecolor=INK, linewidth=0.5)
    for x, share, weight in ((-7.0, bars.never, "bold"), (107.0, bars.always, "bold"),
                             *((float(x), float(share), "normal") for x, share in
                               zip(centers, bars.between, strict=True))):
        if share >= 0.005 or weight == "bold":
            axes.annotate(f"{100 * share:.1f}", (x, 100 * share), (0, 2), textcoords="offset points", ha="center",
                          fontsize=8.5 if weight == "bold" else 6.8, weight=weight)
    axes.set_xlim(-12, 112)
    axes.set_xticks([-7, 0, 25, 50, 75, 100, 107], ["none", "0 %", "25 %", "50 %", "75 %", "100 %", "all"])
    axes.get_xticklabels()[1].set_horizontalalignment("left")  # off the words "none" and "all"
    axes.get_xticklabels()[-2].set_horizontalalignment("right")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("images (%)")
    axes.set_title(verbatim(audit_title(audit)))


def _in_words(audit: Audit, bars: Bars) -> str:
    return (f"{audit_title(audit)}: {percent(bars.always)} of the images are right everywhere, {percent(bars.never)} "
            f"nowhere, {percent(float(bars.between.sum()))} at some placements only.")
