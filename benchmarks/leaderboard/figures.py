"""The leaderboard as a table in Markdown and as a picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase
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
from shiftscope.reporting.formatting import MISSING, count, image_credit

COLUMNS = {"mean": "mean_accuracy", "worst case": "worst_case_accuracy", "consistency": "consistency",
           "unanimity": "unanimity", "centered": "middle_accuracy"}
"""Headings, and the figures that stand below them."""

WITH_INTERVAL = ("mean_accuracy", "worst_case_accuracy")
"""Figures whose intervals are written out."""

WIDTH, NAMES, ROW = 8.2, 2.65, 0.27


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share from 0 to 1 and how sure it is."""

    mean: float
    std: float | None = None
    """Over seeds."""
    interval: tuple[float, float] | None = None
    """95 %, over images; of several seeds the mean of theirs."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the leaderboard. What is computed instead of measured has neither seeds nor a machine."""

    entry: str
    title: str
    shares: Mapping[str, Share]
    """By the names of an audit's figures."""
    description: str = ""
    seeds: int = 0
    parameters: int | None = None
    epochs: int | None = None
    train_seconds: tuple[float, float | None] | None = None
    """Mean and std over seeds."""
    machine: str = ""
    level: str = ""
    """What is claimed in the leaderboard's mode: exact, approximate or none."""
    why: str = ""
    flips: int = 0
    """Answers that differ from the middle placement's, over all seeds."""
    ties: int = 0
    predictions: int = 0
    """Images times placements, over all seeds."""
    each: Sequence[tuple[float, float]] = ()
    """(mean, worst case) of each seed."""
    below: Mapping[str, float | None] = field(default_factory=dict)
    """p-values of the tests against the next measured row below, by the name of the figure."""
    bold: tuple[str, ...] = ()
    """Figures that are surely the best."""


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


def share_in_words(share: float, digits: int = 1) -> str:
    """Return a share in percent; only what is all or nothing is called 100 % or 0 %.

    >>> share_in_words(0.94321), share_in_words(1.0), share_in_words(0.999996), share_in_words(1e-5)
    ('94.3 %', '100 %', '99.9996 %', '0.001 %')
    """
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    while digits < 12 and float(f"{100 * share:.{digits}f}") in (0, 100):
        digits += 1
    return f"{100 * share:.{digits}f} %"


def probability_in_words(p_value: float | None) -> str:
    """Return a p-value for people.

    >>> probability_in_words(0.0312), probability_in_words(1e-9), probability_in_words(None)
    ('0.031', '< 0.001', '–')
    """
    if p_value is None:
        return MISSING
    return "< 0.001" if p_value < 0.001 else f"{p_value:.2g}"


def time_in_words(seconds: tuple[float, float | None] | None) -> str:
    """Return the time of training, mean and std.

    >>> time_in_words((24.04, 1.23)), time_in_words((754.0, None)), time_in_words(None)
    ('24 ± 1 s', '12.6 min', '–')
    """
    if seconds is None:
        return MISSING
    scale, unit, digits = (60, "min", 1) if seconds[0] >= 100 else (1, "s", 0)
    spread = "" if seconds[1] is None else f" ± {seconds[1] / scale:.{digits}f}"
    return f"{seconds[0] / scale:.{digits}f}{spread} {unit}"


def _cell(row: Row, name: str) -> str:
    share = row.shares[name]
    text = share_in_words(share.mean)
    if share.std:
        text += f" ± {100 * share.std:.1f}"
    if share.interval is not None and name in WITH_INTERVAL:
        text += " ({:.1f} to {:.1f})".format(*(100 * end for end in share.interval))
    return f"**{text}**" if name in row.bold else text


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def leaderboard_table(board: Board) -> str:
    """Return the leaderboard as Markdown: the figures, how they came about, and what the words mean.

    Raises:
        UsageError: no rows.
    """
    _check(board)
    machines = {name: letter for letter, name in zip(
        ascii_lowercase, dict.fromkeys(row.machine for row in board.rows if row.machine), strict=False)}
    figures = [[row.title, *(_cell(row, name) for name in COLUMNS.values()), row.level or MISSING]
               for row in board.rows]
    details = [_details(row, machines) for row in board.rows]
    return "\n".join([
        f"{_how(board)} Mean ± standard deviation over seeds; 95 % intervals over images in parentheses.", "",
        *_lines(["model", *COLUMNS, "claim"], figures), "",
        *_lines(["model", "parameters", "trained in", "epochs", "seeds", "machine", "p, worst case", "p, mean",
                 "predictions that differ from the centered one", "ties"], details), "",
        *(f"- Machine {letter}: {name}." for name, letter in machines.items()), *_notes(board)])


def _details(row: Row, machines: Mapping[str, str]) -> list[str]:
    numbers = [count(row.parameters), time_in_words(row.train_seconds), count(row.epochs),
               str(row.seeds) if row.seeds else MISSING, machines.get(row.machine, MISSING)]
    tests = [probability_in_words(row.below.get(name)) for name in ("worst_case_accuracy", "mean_accuracy")]
    flips = [f"{row.flips:,} of {row.predictions:,}", f"{row.ties:,}"] if row.predictions else [MISSING, MISSING]
    return [row.title, *numbers, *tests, *flips]


def _check(board: Board) -> None:
    if not board.rows:
        raise UsageError("there are no records to show: make some with run_leaderboard.py, or name their folder "
                         "with --results")


def _how(board: Board) -> str:
    sizes = format_sizes(Geometry.from_dict(board.placement)).replace("\N{NO-BREAK SPACE}", " ")
    return (f"{board.images:,} test images of {board.dataset} at all {board.placements:,} placements, mode "
            f"{board.mode}, {sizes}.")


def _notes(board: Board) -> list[str]:
    return [
        "- Claim: invariance that follows from the architecture, before any training (`shiftscope models list` gives "
        "the reasons).",
        "- p: p-value of the comparison with the next measured row below. The two models of a seed are compared on the "
        "same images: worst-case accuracy with McNemar's test, mean accuracy with a paired z-test. The table shows the "
        "largest value over the common seeds, and 1 if the seeds disagree about which model is better.",
        "- Bold: the best value, if it is better than the second best with p < 0.05.",
        "- Ties: predictions whose two largest outputs are equal, or so close that rounding may decide.",
        "- Chance is computed from the numbers of classes K and placements P. One class for all: accuracy 1/K, the "
        "same prediction everywhere. A random guess at each placement: worst case K^-P, unanimity K^(1-P), "
        "consistency 1/P + (1 - 1/P)/K."]


@styled
def leaderboard_figure(board: Board) -> Figure:
    """Draw each row as a line from its worst case to its mean, seeds as small marks.

    Raises:
        UsageError: no rows.
    """
    _check(board)
    title, subtitle = "Mean and worst-case accuracy", (
        "Squares: mean accuracy over all placements. Circles: worst-case accuracy, the fraction of images that are "
        "correct at every placement. The shorter the line, the less the position matters.")
    footer = (_how(board), "Small marks: seeds.", image_credit(board.dataset, synthetic=board.synthetic))
    top, bottom = head_height(WIDTH, title, subtitle) + 0.15, foot_height(WIDTH, *footer) + 0.45
    tall = ROW * len(board.rows)
    figure = Figure(figsize=(WIDTH, top + tall + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    _dumbbells(inches(figure, NAMES, bottom, WIDTH - NAMES - 0.45, tall), board.rows)
    words = (f"{row.title}: mean {share_in_words(row.shares['mean_accuracy'].mean)}, worst case "
             f"{share_in_words(row.shares['worst_case_accuracy'].mean)}." for row in board.rows)
    return describe(figure, " ".join([title, *words, *footer]))


def _dumbbells(axes: Axes, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        mean, worst = (100 * row.shares[name].mean for name in ("mean_accuracy", "worst_case_accuracy"))
        axes.hlines(place, worst, mean, color=MUTED, linewidth=2.2, zorder=1)
        for value, seeds, color, marker, size in (
                (mean, [each[0] for each in row.each], BLUE, "s", 7.5),
                (worst, [each[1] for each in row.each], VERMILLION, "o", 5.0)):
            axes.plot([value], [place], marker, color=color, markersize=size, markeredgecolor=INK, markeredgewidth=0.5,
                      zorder=2)
            axes.plot([100 * seed for seed in seeds], [place] * len(seeds), "|", color=INK, markersize=5, zorder=3,
                      markeredgewidth=0.7)
        axes.annotate(f"{mean:.1f}", (mean, place), (7, 0), textcoords="offset points", va="center", fontsize=7.5)
        if mean - worst > 4:
            axes.annotate(f"{worst:.1f}", (worst, place), (-7, 0), textcoords="offset points", va="center", ha="right",
                          fontsize=7.5)
    axes.set_yticks(range(len(rows)), [verbatim(row.title) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-10, 106)
    axes.set_xlabel("accuracy, %")
    axes.grid(axis="y", visible=False)
