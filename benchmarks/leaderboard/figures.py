"""Rows of the leaderboard, and their figure: mean and worst-case accuracy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.geometry import Geometry
from shiftscope.reporting.audit_grid import format_sizes
from shiftscope.reporting.figure_style import (
    BLUE,
    INK,
    MUTED,
    VERMILLION,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    inches,
    styled,
    verbatim,
)
from shiftscope.reporting.formatting import image_credit

WIDTH, NAMES, ROW = 8.2, 2.65, 0.27


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A fraction from 0 to 1 with its uncertainty."""

    mean: float
    std: float | None = None
    """Over seeds."""
    interval: tuple[float, float] | None = None
    """95 %, over images; for several seeds, the mean of their intervals."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the leaderboard. Computed rows (chance) have neither seeds nor a machine."""

    entry: str
    title: str
    estimates: Mapping[str, Estimate]
    """By metric of an audit."""
    description: str = ""
    seeds: int = 0
    parameters: int | None = None
    epochs: int | None = None
    train_seconds: tuple[float, float | None] | None = None
    """Mean and standard deviation over seeds."""
    machine: str = ""
    claim: str = ""
    """Claimed invariance in the leaderboard's mode: exact, approximate or none."""
    claim_reason: str = ""
    flips: int = 0
    """Predictions that differ from the one at the middle placement, over all seeds."""
    ties: int = 0
    predictions: int = 0
    """Images times placements, over all seeds."""
    seed_values: Sequence[tuple[float, float]] = ()
    """(mean, worst case) of each seed."""
    p_values: Mapping[str, float | None] = field(default_factory=dict)
    """p-values of the tests against the next measured row below, by metric."""
    bold: tuple[str, ...] = ()
    """Metrics in which the row is significantly better than all others."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """The leaderboard, best row first."""

    rows: Sequence[Row]
    dataset: str
    synthetic: bool
    images: int
    placements: int
    mode: str
    placement: Mapping[str, Any]
    measured: str
    """Day of the last record."""


def format_percentage(fraction: float, digits: int = 1) -> str:
    """Return a fraction in percent; only 0 and 1 are shown as 0 and 100.

    >>> format_percentage(0.94321), format_percentage(1.0), format_percentage(0.999996), format_percentage(1e-5)
    ('94.3', '100', '99.9996', '0.001')
    """
    if fraction in (0, 1):
        return f"{100 * fraction:.0f}"
    while digits < 12 and float(f"{100 * fraction:.{digits}f}") in (0, 100):
        digits += 1
    return f"{100 * fraction:.{digits}f}"


def require_rows(board: Board) -> None:
    """Raise a `UsageError` if the board is empty."""
    if not board.rows:
        raise UsageError("there are no records to show; create some with run_leaderboard.py, or name their folder "
                         "with --results")


def describe_task(board: Board) -> str:
    """Return images, placements and sizes in one sentence."""
    sizes = format_sizes(Geometry.from_dict(board.placement)).replace("\N{NO-BREAK SPACE}", " ")
    return (f"{board.images:,} test images of {board.dataset} at all {board.placements:,} placements, mode "
            f"{board.mode}, {sizes}.")


@styled
def leaderboard_figure(board: Board) -> Figure:
    """Draw a line from worst-case to mean accuracy for each row; small marks are seeds.

    Raises:
        UsageError: no rows.
    """
    require_rows(board)
    title, subtitle = "Mean and worst-case accuracy", (
        "Squares: mean accuracy over all placements. Circles: worst-case accuracy, the fraction of images that are "
        "correct at every placement. The shorter the line, the less predictions depend on position.")
    footer = (describe_task(board), "Small marks: seeds.", image_credit(board.dataset, synthetic=board.synthetic))
    top, bottom = head_height(WIDTH, title, subtitle) + 0.15, foot_height(WIDTH, *footer) + 0.45
    tall = ROW * len(board.rows)
    figure = Figure(figsize=(WIDTH, top + tall + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    _dumbbells(inches(figure, NAMES, bottom, WIDTH - NAMES - 0.45, tall), board.rows)
    values = (f"{row.title}: mean {format_percentage(row.estimates['mean_accuracy'].mean)} %, worst case "
             f"{format_percentage(row.estimates['worst_case_accuracy'].mean)} %." for row in board.rows)
    return describe(figure, " ".join([title, *values, *footer]))


def _dumbbells(axes: Axes, rows: Sequence[Row]) -> None:
    for y, row in enumerate(rows):
        mean, worst = (100 * row.estimates[name].mean for name in ("mean_accuracy", "worst_case_accuracy"))
        axes.hlines(y, worst, mean, color=MUTED, linewidth=2.2, zorder=1)
        for value, seeds, color, marker, size in (
                (mean, [each[0] for each in row.seed_values], BLUE, "s", 7.5),
                (worst, [each[1] for each in row.seed_values], VERMILLION, "o", 5.0)):
            axes.plot([value], [y], marker, color=color, markersize=size, markeredgecolor=INK, markeredgewidth=0.5,
                      zorder=2)
            axes.plot([100 * seed for seed in seeds], [y] * len(seeds), "|", color=INK, markersize=5, zorder=3,
                      markeredgewidth=0.7)
        axes.annotate(f"{mean:.1f}", (mean, y), (7, 0), textcoords="offset points", va="center", fontsize=7.5)
        if mean - worst > 4:
            axes.annotate(f"{worst:.1f}", (worst, y), (-7, 0), textcoords="offset points", va="center", ha="right",
                          fontsize=7.5)
    axes.set_yticks(range(len(rows)), [verbatim(row.title) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-10, 106)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="y", visible=False)
