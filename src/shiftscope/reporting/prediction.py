"""One's own pictures on their canvases, with what a model says of them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shiftscope.reporting.sheet import Layout, Sheet, to_pictures
from shiftscope.reporting.style import INK, MUTED, describe, styled, verbatim
from shiftscope.reporting.verdict import NO_ANSWER
from shiftscope.reporting.wording import percent, shorten

_CHOICES = 3


@styled
def prediction_figure(predictions: Sequence[Mapping[str, Any]], canvases: np.ndarray) -> Figure:
    """Draw pictures as a model saw them, under the file's name, over the three likeliest classes.

    Args:
        answers: one a picture, with the keys "file", "offset" (dy, dx), "class" and "scores" (class name -> share);
            without a prediction the last two are None.
        canvases: uint8 (N, C, H, W), the pictures as the model saw them, in the same order.

    Raises:
        UsageError: no pictures.
    """
    layout = Layout(count=len(predictions), columns=min(4, len(predictions)), size=canvases.shape[2:], side=2.0,
                    above=0.24, below=0.62, gap=0.2)
    sheet = Sheet(layout, title="What the model says", subtitle="The pictures as the model saw them.",
                  footer=("Percentages: how sure the model is. It knows no other classes, and must choose one.",))
    told = []
    for cell, (answer, picture) in enumerate(zip(predictions, to_pictures(canvases), strict=True)):
        sheet.show(cell, picture)
        name = PurePath(answer["file"]).name
        choices = _choices(answer)
        _write(sheet, cell, f"{shorten(name, 19)}, at {tuple(answer['offset'])}", choices)
        told.append(f"{name} is taken for {choices[0][0]} ({percent(choices[0][1])})")
    return describe(sheet.figure, f"What the model says: {'; '.join(told)}.")


def _choices(answer: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """Return the predicted class and the likeliest others, with their shares."""
    if answer["scores"] is None:
        return [(NO_ANSWER, None)]
    return sorted(answer["scores"].items(), key=lambda entry: (entry[0] != answer.get("class"), -entry[1]))[:_CHOICES]


def _write(sheet: Sheet, cell: int, name: str, choices: Sequence[tuple[str, float | None]]) -> None:
    """Write the name over the picture, the classes under it."""
    down, x = sheet.layout.corner(cell)
    sheet.axes.text(x, down - 0.05, verbatim(name), fontsize=8, color=MUTED, va="bottom")
    y = down + sheet.layout.picture[0] + 0.06
    for rank, (choice, share) in enumerate(choices):
        size, weight, color = (10, "bold", INK) if rank == 0 else (8.5, "normal", MUTED)
        sheet.axes.text(x, y + rank * 0.18, verbatim(f"{shorten(choice, 22)} {percent(share)}"), va="top",
                        fontsize=size, weight=weight, color=color)
