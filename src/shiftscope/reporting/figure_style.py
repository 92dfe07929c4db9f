"""The style of all figures, their header and footer, and how they are written to files.

No global setting changes: a figure is built and drawn inside `context()`.
"""

import functools
import io
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from shiftscope import files
from shiftscope.reporting.formatting import wrap
from shiftscope.reporting.theme_layers import BOXES_KEY, image_boxes
from shiftscope.text import printable

INK, MUTED, RULE, PAPER = "#1b1f24", "#57606a", "#d0d7de", "#ffffff"

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
"""Okabe & Ito, "Color Universal Design", 2008."""

CORRECT, INCORRECT = BLUE, VERMILLION
"""Predictions; a frame, a sign and a word always carry the same information as the color."""

SERIES = ((VERMILLION, "o"), (BLUE, "s"), (ORANGE, "^"), (GREEN, "D"), (PURPLE, "v"), (SKY, "P"))
"""(color, marker) of the curves of a figure."""

FRACTIONS = LinearSegmentedColormap.from_list("fractions", ["#ffffff", "#c6dcee", "#6aa5d2", "#1f6aa8", "#08306b"])
"""0 to 1, light to dark: readable in grayscale."""

SIGNED = LinearSegmentedColormap.from_list("signed", ["#06245a", "#2f74b5", "#ffffff", "#f4a259", "#c8500a"])
"""-1 to 1 with white at zero. Blue and orange suit color-blind readers; in grayscale the negative end is darker."""

DPI = 112.0
"""Of PNG files: a canvas of 56 pixels then fills one inch with exactly two dots per pixel."""

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
    """Return the context in which figures are built and drawn, independent of the caller's style."""
    return matplotlib.style.context(["default", _RC])


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Make a function build its figure inside `context()`."""

    @functools.wraps(draw)
    def draw_in_context(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with context():
            return draw(*args, **kwargs)

    return draw_in_context


def verbatim(text: str) -> str:
    r"""Escape `text` so that matplotlib shows it unchanged: no formulas, no control characters.

    >>> verbatim("$x$")
    '\\$x\\$'
    """
    return printable(text).replace("$", r"\$")


def readable_on(color: tuple[float, ...]) -> str:
    """Return the text color with the higher contrast on an RGB color from 0 to 1 (relative luminance of WCAG 2).

    >>> readable_on((0, 0, 0)) == PAPER, readable_on((1, 1, 0.8)) == INK
    (True, True)
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if luminance > 0.208 else PAPER  # both have the same contrast at 0.208


def _head_lines(width: float, title: str, subtitle: str) -> list[tuple[str, float, str, str]]:
    """(text, size in points, color, weight) of each line of a header."""
    styles = ((title, 11.5, INK, "bold"), (subtitle, 8.5, MUTED, "normal"))
    return [(line, size, color, weight) for text, size, color, weight in styles
            for line in wrap(text, int(width * 110 / size))]


def head_height(width: float, title: str, subtitle: str = "") -> float:
    """Return the height of `head` on a figure of the given width, both in inches."""
    return _EDGE + sum(size / 72 * 1.35 for _, size, _, _ in _head_lines(width, title, subtitle)) + 0.08


def head(figure: Figure, title: str, subtitle: str = "") -> None:
    """Write a bold title and a muted subtitle at the top left."""
    width, height = figure.get_size_inches()
    down = _EDGE
    for line, size, color, weight in _head_lines(width, title, subtitle):
        figure.text(_EDGE / width, 1 - down / height, verbatim(line), fontsize=size, color=color, weight=weight,
                    va="top")
        down += size / 72 * 1.35


def _foot_lines(width: float, lines: tuple[str, ...]) -> list[str]:
    return [part for line in lines if line for part in wrap(line, int(width * 16))]


def foot_height(width: float, *lines: str) -> float:
    """Return the height of `foot` on a figure of the given width, both in inches."""
    return _EDGE + len(_foot_lines(width, lines)) * 7.5 / 72 * 1.4


def foot(figure: Figure, *lines: str) -> None:
    """Write small muted lines at the bottom left."""
    width, height = figure.get_size_inches()
    text = verbatim("\n".join(_foot_lines(width, lines)))
    figure.text(_EDGE / width, 0.08 / height, text, fontsize=7.5, color=MUTED, va="bottom", linespacing=1.3)


def page(width: float, height: float, title: str, subtitle: str, footer: tuple[str, ...], *, above: float = 0.0,
         below: float = 0.0) -> tuple[Figure, float]:
    """Return a figure with header and footer around a free area, and the bottom of that area; all sizes in inches.

    The free area has the given height, and margins `above` and `below`.
    """
    bottom = foot_height(width, *footer) + below
    figure = Figure(figsize=(width, head_height(width, title, subtitle) + above + height + bottom))
    head(figure, title, subtitle)
    foot(figure, *footer)
    return figure, bottom


def inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes measured in inches from the lower left corner of the figure."""
    wide, tall = figure.get_size_inches()
    return figure.add_axes((left / wide, bottom / tall, width / wide, height / tall))


def describe(figure: Figure, alt: str) -> Figure:
    """Set the alternative text of a figure and return the figure."""
    figure.set_label(printable(alt))
    return figure


def alt_text(figure: Figure) -> str:
    """Return the alternative text of a figure."""
    return str(figure.get_label())


def render_figure(figure: Figure, kind: str) -> bytes:
    """Return the figure as a "png" or "svg" file with its alternative text as description.

    A PNG file also holds the boxes of its images, see `theme_layers`. Files hold neither dates nor random names: the
    same figure gives the same bytes.
    """
    metadata: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {
        "Software": None, BOXES_KEY: json.dumps(image_boxes(figure))}
    if alt_text(figure):
        metadata["Description"] = alt_text(figure)
    buffer = io.BytesIO()
    with context():
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def reduce_colors(png: bytes) -> bytes:
    """Return a PNG file with at most 256 colors and no description: about a third of the size."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        reduced = image.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    reduced.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def save_figure(figure: Figure, folder: Path | str, name: str) -> list[Path]:
    """Write `name`.png and `name`.svg into `folder`, each completely or not at all; return the two paths.

    Raises:
        OutputError: if the folder cannot be written or the disk is full.
    """
    paths = [Path(folder) / f"{name}.{kind}" for kind in ("png", "svg")]
    for path in paths:
        files.write_bytes(path, render_figure(figure, path.suffix[1:]))
    return paths
