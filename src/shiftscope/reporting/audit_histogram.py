"""Histogram of the fraction of placements at which an image is classified correctly."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.reporting.audit_grid import audit_credit, audit_title, check_audits, describe_audits
from shiftscope.reporting.figure_style import CORRECT, INCORRECT, INK, SKY, describe, inches, page, styled, verbatim
from shiftscope.reporting.formatting import percent
from shiftscope.results import Audit

_BINS = 20  # between the two ends; with fewer placements each count has its own bin
_PANEL = 1.75
_NOTE = ("Separate bars at the ends: images that are incorrect everywhere, and images that are correct everywhere (the "
         "worst-case accuracy). Numbers: percent of the images; bars below 0.5 % have none.")


@dataclass(frozen=True)
class Histogram:
    """Fractions of images by the fraction of placements at which they are correct; all of them sum to 1."""

    never: float
    always: float
    edges: np.ndarray  # (B + 1,) fractions of placements, from 0 to 1
    between: np.ndarray  # (B,) fractions of the images that are correct at some placements only; closed at the left


def correct_histogram(correct_counts: np.ndarray, placements: int) -> Histogram:
    """Sort images into bins by the number of placements at which they are correct.

    >>> histogram = correct_histogram(np.array([0, 1, 2, 2, 4]), 4)
    >>> histogram.never, histogram.always, histogram.between.tolist()
    (0.2, 0.2, [0.2, 0.4, 0.0])
    """
    never, always = (correct_counts == 0).mean(), (correct_counts == placements).mean()
    middle = correct_counts[(correct_counts > 0) & (correct_counts < placements)]
    if placements - 1 <= _BINS:  # one bin per count
        between = np.bincount(middle, minlength=placements + 1)[1:placements]
        edges = (np.arange(placements) + 0.5) / placements
    else:
        between = np.bincount(middle.astype(np.int64) * _BINS // placements, minlength=_BINS)
        edges = np.arange(_BINS + 1) / _BINS
    return Histogram(float(never), float(always), edges, between / max(len(correct_counts), 1))


@styled
def correct_placements_histogram(audits: Sequence[Audit]) -> Figure:
    """Draw a histogram of the fraction of placements with a correct prediction, one panel per model."""
    check_audits(audits)
    histograms = [correct_histogram(audit.correct_counts, audit.placements) for audit in audits]
    width, step = 7.6, _PANEL + 0.6
    title, subtitle = "Images by fraction of placements with a correct prediction", describe_audits(*audits)
    figure, bottom = page(width, len(audits) * step - 0.6, title, subtitle, (_NOTE, audit_credit(audits[0])),
                          above=0.25, below=0.5)
    highest = 100 * max(max(part.never, part.always, *part.between) for part in histograms)
    for below, audit, histogram in zip(range(len(audits) - 1, -1, -1), audits, histograms, strict=True):
        axes = inches(figure, 0.65, bottom + below * step, width - 0.85, _PANEL)
        _panel(axes, audit, histogram)
        axes.set_ylim(0, highest * 1.14)
        if below == 0:
            axes.set_xlabel("fraction of placements with a correct prediction")
    return describe(figure, " ".join([f"{title}. {subtitle}", *map(_summary, audits, histograms),
                                      audit_credit(audits[0])]))


def _panel(axes: Axes, audit: Audit, histogram: Histogram) -> None:
    centers = 100 * (histogram.edges[:-1] + histogram.edges[1:]) / 2
    axes.bar(centers, 100 * histogram.between, width=94 * np.diff(histogram.edges), color=SKY, edgecolor=INK,
             linewidth=0.5)
    axes.bar([-7], [100 * histogram.never], width=6, color=INCORRECT, edgecolor=INK, linewidth=0.5, hatch="xx")
    axes.bar([107], [100 * histogram.always], width=6, color=CORRECT, edgecolor=INK, linewidth=0.5)
    ends = [(-7.0, histogram.never, 8.5, "bold"), (107.0, histogram.always, 8.5, "bold")]
    for x, fraction, size, weight in ends + [(float(x), float(fraction), 6.8, "normal") for x, fraction in
                                             zip(centers, histogram.between, strict=True) if fraction >= 0.005]:
        axes.annotate(f"{100 * fraction:.1f}", (x, 100 * fraction), (0, 2), textcoords="offset points", ha="center",
                      fontsize=size, weight=weight)
    axes.set_xlim(-12, 112)
    axes.set_xticks([-7, 0, 25, 50, 75, 100, 107], ["none", "0 %", "25 %", "50 %", "75 %", "100 %", "all"])
    axes.get_xticklabels()[1].set_horizontalalignment("left")  # away from the labels "none" and "all"
    axes.get_xticklabels()[-2].set_horizontalalignment("right")
    axes.grid(visible=False, axis="x")
    axes.set_ylabel("images (%)")
    axes.set_title(verbatim(audit_title(audit)))


def _summary(audit: Audit, histogram: Histogram) -> str:
    return (f"{audit_title(audit)}: {percent(histogram.always)} of the images are correct everywhere, "
            f"{percent(histogram.never)} nowhere, {percent(float(histogram.between.sum()))} at some placements only.")
