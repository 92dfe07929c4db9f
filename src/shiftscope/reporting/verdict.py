"""The answer of a model under a picture: right or wrong by color, frame, sign and word."""

import math

from shiftscope.reporting.sheet import Sheet
from shiftscope.reporting.style import INK, RIGHT, WRONG, verbatim
from shiftscope.reporting.wording import percent, shorten

NO_ANSWER = "nothing (NaN)"
"""What a model said whose scores are not finite."""

_WIDTH = 19  # characters under a picture of an inch: a longer line would run into its neighbor


def mark_answer(sheet: Sheet, cell: int, *, right: bool, true: str, said: str, confidence: float) -> None:
    """Write and frame the answer for the picture in a cell.

    Args:
        right: whether `said` is `true`; names alone may be the same for two classes.
        confidence: share; left out where it is not finite.
    """
    color = RIGHT if right else WRONG
    sheet.frame(cell, color, 1.2 if right else 2.6, "solid" if right else (0, (2.2, 1.1)))
    verdict = "✓ right" if right else "✗ wrong"
    if math.isfinite(confidence):
        verdict += f", {percent(confidence, 0)}"
    write_lines(sheet, cell, (verdict, color, "bold"), (f"is {true}", INK, "normal"),
                (f"said {said}", INK if right else WRONG, "normal"))


def write_lines(sheet: Sheet, cell: int, *lines: tuple[str, str, str]) -> None:
    """Write small lines (text, color, weight) under the picture in a cell."""
    down, x = sheet.layout.corner(cell)
    y = down + sheet.layout.picture[0]
    for row, (line, ink, weight) in enumerate(lines):
        sheet.axes.text(x, y + 0.06 + row * 0.125, verbatim(shorten(line, _WIDTH)), fontsize=7, color=ink,
                        weight=weight, va="top")
