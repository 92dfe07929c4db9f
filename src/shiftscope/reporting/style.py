"""How all figures look: colors that color-blind people tell apart, shapes that survive a gray print, one type.

Nothing global changes: a figure is built and drawn inside `context()`.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, ParamSpec

import matplotlib.style
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from shiftscope.reporting.wording import wrap
from shiftscope.text import printable

INK, MUTED, RULE, PAPER = "#1b1f24", "#57606a", "#d0d7de", "#ffffff"

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
"""Okabe & Ito, "Color Universal Design", 2008."""

RIGHT, WRONG = BLUE, VERMILLION
"""Answers; a frame, a sign and a word always say the same as the color."""

SERIES = ((VERMILLION, "o"), (BLUE, "s"), (ORANGE, "^"), (GREEN, "D"), (PURPLE, "v"), (SKY, "P"))
"""(color, marker) of the curves of a figure, in their order."""

SHARES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#c6dcee", "#6aa5d2", "#1f6aa8", "#08306b"])
"""0 to 1, lighter to darker: as readable in gray as in color."""

SIGNED = LinearSegmentedColormap.from_list("signed", ["#06245a", "#2f74b5", "#ffffff", "#f4a259", "#c8500a"])
"""-1 to 1 with white at zero. Blue against orange suits color-blind eyes; in gray the negative end is the darker."""

DPI = 112.0
"""Of PNG files: a canvas of 56 pixels then fills one inch with exactly two dots a pixel."""

_RC: dict[str, Any] = {
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9.0,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK,
    "axes.edgecolor": MUTED, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlesize": 10.0, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.grid": True,
    "axes.axisbelow": True, "grid.color": "#e6e9ed", "grid.linewidth": 0.7, "legend.frameon": False,
    "figure.facecolor": PAPER, "savefig.facecolor": PAPER, "figure.dpi": 100.0, "savefig.dpi": DPI,
    "svg.hashsalt": "shiftscope", "svg.fonttype": "path", "text.usetex": False, "text.parse_math": True,
}

_EDGE = 0.12  # inches between the text and the edge of the page

Parameters = ParamSpec("Parameters")


def context() -> AbstractContextManager[None]:
    """Return the context in which figures are built and drawn, whatever style the caller has set."""
    return matplotlib.style.context(["default", _RC])


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Make a function that builds a figure do so in `context()`."""

    @functools.wraps(draw)
    def draw_in_context(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with context():
            return draw(*args, **kwargs)

    return draw_in_context


def verbatim(text: str) -> str:
    r"""Return `text` so that matplotlib shows it letter by letter: a dollar sign begins no formula, and what is no
    letter is escaped.

    >>> verbatim("$x$")
    '\\$x\\$'
    """
    return printable(text).replace("$", r"\$")


def ink_on(share: float) -> str:
    """Return the text color that is readable on `SHARES(share)`."""
    return PAPER if share > 0.65 else INK  # where both have the same contrast


def _head_lines(width: float, title: str, subtitle: str) -> list[tuple[str, float, str, str]]:
    """The lines at the top of a figure `width` inches wide: (text, size in points, color, weight)."""
    styles = ((title, 11.5, INK, "bold"), (subtitle, 8.5, MUTED, "normal"))
    return [(line, size, color, weight) for text, size, color, weight in styles
            for line in wrap(text, int(width * 110 / size))]


def head_height(width: float, title: str, subtitle: str = "") -> float:
    """Return the height in inches that `head` takes on a figure `width` inches wide."""
    return _EDGE + sum(size / 72 * 1.35 for _, size, _, _ in _head_lines(width, title, subtitle)) + 0.08


def head(figure: Figure, title: str, subtitle: str = "") -> None:
    """Write a bold title and a muted line under it at the top left."""
    width, height = figure.get_size_inches()
    down = _EDGE
    for line, size, color, weight in _head_lines(width, title, subtitle):
        figure.text(_EDGE / width, 1 - down / height, verbatim(line), fontsize=size, color=color, weight=weight,
                    va="top")
        down += size / 72 * 1.35


def _foot_lines(width: float, lines: tuple[str, ...]) -> list[str]:
    return [part for line in lines if line for part in wrap(line, int(width * 16))]


def foot_height(width: float, *lines: str) -> float:
    """Return the height in inches that `foot` takes on a figure `width` inches wide."""
    return _EDGE + len(_foot_lines(width, lines)) * 7.5 / 72 * 1.4


def foot(figure: Figure, *lines: str) -> None:
    """Write small muted lines at the bottom left."""
    width, height = figure.get_size_inches()
    text = verbatim("\n".join(_foot_lines(width, lines)))
    figure.text(_EDGE / width, 0.08 / height, text, fontsize=7.5, color=MUTED, va="bottom", linespacing=1.3)


def describe(figure: Figure, alt: str) -> Figure:
    """Keep `alt`, what the figure shows in words, with the figure; return the figure."""
    figure.set_label(printable(alt))
    return figure


def alt_text(figure: Figure) -> str:
    """Return what the figure shows in words, for people who cannot see it."""
    return str(figure.get_label())
