"""Images about which two models disagree: what one alone gets right, and what the other alone does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.reporting.sheet import Layout, Sheet, to_pictures
from shiftscope.reporting.style import INK, MUTED, RIGHT, WRONG, describe, styled, verbatim
from shiftscope.reporting.verdict import NO_ANSWER, write_lines
from shiftscope.reporting.wording import shorten

ABREAST, DOWN = 4, 5
"""Pictures of each side: columns, and rows at most."""

NAMES = ("A", "B")
"""What the two models are called under the pictures, where their names have no room."""


@dataclass(frozen=True, kw_only=True)
class Disagreements:
    """Pictures about which exactly one of two models is right. Shapes: M pictures."""

    models: tuple[str, str]
    """Names for people."""
    class_names: Sequence[str]
    totals: tuple[int, int]
    """How often the first, and how often the second alone is right, pictures or not."""
    of: str
    """What they were counted over, as in "300 test images, each at one random place"."""
    each: str
    """What one of them is, as in "image"."""
    labels: np.ndarray
    """int64 (M,), true classes."""
    said: np.ndarray
    """int64 (M, 2), what each model answered; what is no class is an answer that was not finite."""
    canvases: np.ndarray
    """uint8 (M, C, H, W), as the models saw them."""
    credit: str
    """Where the images come from."""

    @property
    def first_right(self) -> np.ndarray:
        """bool (M,): the first model is the one that is right."""
        return self.said[:, 0] == self.labels


@styled
def disagreements_figure(found: Disagreements) -> Figure:
    """Draw the pictures in two blocks: at the left what only the first model gets right, at the right the second.

    Under each picture stand the true class and both answers, with a tick or a cross.

    Raises:
        UsageError: no pictures.
    """
    sides = [np.flatnonzero(side)[:ABREAST * DOWN] for side in (found.first_right, ~found.first_right)]
    if not any(len(side) for side in sides):
        raise UsageError("there are no pictures of disagreements: the models never differ, or their results are from "
                         "a release that kept none; evaluate both again")
    rows = -(-max(map(len, sides)) // ABREAST)
    layout = Layout(count=rows * 2 * ABREAST, columns=2 * ABREAST, size=found.canvases.shape[2:], group=ABREAST,
                    below=0.45, gap=0.14, top=0.34)
    a, b = (shorten(model, 40) for model in found.models)
    title = f"Where {a} and {b} disagree"
    subtitle = (f"A is {a}, B is {b}. Of {found.of}, A alone is right about {found.totals[0]:,} and B alone about "
                f"{found.totals[1]:,}.")
    sheet = Sheet(layout, title=title, subtitle=subtitle,
                  footer=("The first of those whose pictures were kept. ✓ right, ✗ wrong.", found.credit))
    pictures = to_pictures(found.canvases)
    for block, side in enumerate(sides):
        _block(sheet, found, pictures, block, side)
    told = [f"{len(side)} {found.each}s that {name} alone gets right" for name, side in zip(NAMES, sides, strict=True)]
    return describe(sheet.figure, f"{title}. {subtitle} Shown are {' and '.join(told)}. {found.credit}")


def _block(sheet: Sheet, found: Disagreements, pictures: np.ndarray, block: int, side: np.ndarray) -> None:
    """Draw one model's block under its heading."""
    _, x = sheet.layout.corner(block * ABREAST)
    heading = f"Only {NAMES[block]}, {shorten(found.models[block], 30)}, is right"
    sheet.axes.text(x, 0.2, verbatim(heading), fontsize=9, weight="bold", va="bottom")
    if not len(side):
        sheet.axes.text(x, 0.5, "no picture", fontsize=8, color=MUTED, va="top")
    for place, row in enumerate(side.tolist()):
        cell = place // ABREAST * 2 * ABREAST + block * ABREAST + place % ABREAST
        sheet.show(cell, pictures[row])
        sheet.frame(cell, MUTED, 0.5)
        label = int(found.labels[row])
        predictions = [(f"{'✓' if said == label else '✗'} {name}: {_named(found, said)}",
                    RIGHT if said == label else WRONG, "normal")
                   for name, said in zip(NAMES, found.said[row].tolist(), strict=True)]
        write_lines(sheet, cell, (f"is {_named(found, label)}", INK, "bold"), *predictions)


def _named(found: Disagreements, answer: int) -> str:
    return found.class_names[answer] if 0 <= answer < len(found.class_names) else NO_ANSWER
