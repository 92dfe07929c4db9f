"""Galleries of syntheses: what classes and neurons like to see."""

import numpy as np
from matplotlib.figure import Figure

from shiftscope.reporting.sheet import Layout, Sheet, to_pictures
from shiftscope.reporting.style import INK, MUTED, RIGHT, WRONG, describe, styled, verbatim
from shiftscope.reporting.wording import model_title, percent, shorten
from shiftscope.results import Synthesis

_STARTS = {"zero": "mid-gray: where it stayed so, pixels do not matter", "black": "a black canvas",
           "random": "noise", "mean": "the mean of the images", "image": "a given picture"}
_GROUNDS = {"zero": 0.5, "black": 0.0}


@styled
def class_gallery(synthesis: Synthesis, *, credit: str = "", limit: int = 40) -> Figure:
    """Draw the picture that each class likes best, with what the model takes it for.

    Args:
        synthesis: of classes.
        credit: line at the foot, see `image_credit`.
        limit: pictures drawn at most, the first ones.
    """
    shown = min(limit, len(synthesis.units))
    right = sum(map(_as_asked, [synthesis] * shown, range(shown)))
    layout = Layout(count=shown, columns=min(5, shown), size=synthesis.images.shape[2:], side=1.7, above=0.22,
                    below=0.2, gap=0.14)
    title = f"What the {model_title(synthesis.model)} sees in each class"
    sheet = Sheet(layout, title=title, subtitle=f"Pictures made by gradient ascent on their pixels, without any "
                  f"photograph: {right} of {shown} are taken for their class.",
                  footer=(_how(synthesis), credit))
    for cell, picture in enumerate(shown_pictures(synthesis, shown)):
        sheet.show(cell, picture)
        sheet.frame(cell, MUTED, 0.5)
        _name(sheet, cell, _short(synthesis.units[cell], 20), 9.5)
        _taken(sheet, cell, synthesis)
    return describe(sheet.figure, f"{title}: {right} of {shown} pictures are taken for their class. {credit}".strip())


@styled
def neuron_gallery(synthesis: Synthesis, *, credit: str = "", columns: int = 10, limit: int = 100) -> Figure:
    """Draw the picture that each unit likes best, ten in a row, numbered.

    Args:
        synthesis: of units of one layer.
        credit: line at the foot, see `image_credit`.
        columns: pictures in a row.
        limit: pictures drawn at most, the first ones.
    """
    total = len(synthesis.units)
    shown = min(limit, total)
    layout = Layout(count=shown, columns=min(columns, shown), size=synthesis.images.shape[2:], side=1.0, above=0.16,
                    gap=0.05)
    layer = synthesis.units[0].rpartition(":")[0]
    title = f"What excites the units of {layer} in the {model_title(synthesis.model)}"
    which = f"The first {shown} of {total} units" if shown < total else f"{total} units, numbered"
    subtitle = f"{which}: the picture that each likes best, made by gradient ascent on its pixels."
    sheet = Sheet(layout, title=title, subtitle=subtitle,
                  footer=(_how(synthesis), *synthesis.notes, credit))
    for cell, picture in enumerate(shown_pictures(synthesis, shown)):
        sheet.show(cell, picture)
        _name(sheet, cell, _short(synthesis.units[cell], 18), 6.5)
    return describe(sheet.figure, f"{title}. {which} have one picture each. {credit}".strip())


def full_contrast(images: np.ndarray, ground: float) -> np.ndarray:
    """Return pictures as uint8, each stretched away from `ground` until 1 % of its pixels reach black or white.

    Args:
        images: float (U, C, H, W), pixels in [0, 1].
        ground: pixel value that stays as it is.

    Example:
        >>> full_contrast(np.array([[[[0.5, 0.6], [0.4, 0.5]]]]), 0.5)[0, 0].tolist()
        [[128, 255], [0, 128]]
    """
    moved = images - ground
    room = max(ground, 1 - ground)
    reach = np.quantile(np.abs(moved), 0.99, axis=(1, 2, 3), keepdims=True).clip(1e-3)
    return np.round(255 * np.clip(ground + room * moved / reach, 0, 1)).astype(np.uint8)


def shown_pictures(synthesis: Synthesis, shown: int) -> np.ndarray:
    """Return the first pictures as RGB bytes, with full contrast."""
    images = synthesis.images[:shown]
    ground = _GROUNDS.get(synthesis.start)
    return to_pictures(np.round(255 * images).astype(np.uint8) if ground is None else full_contrast(images, ground))


def _short(unit: str, width: int) -> str:
    """A unit's name without its layer, which the title names."""
    return shorten(unit.rpartition(":")[2] if unit.count(":") == 1 else unit, width)


def _name(sheet: Sheet, cell: int, text: str, size: float) -> None:
    down, right = sheet.layout.corner(cell)
    bold = "bold" if size > 8 else "normal"
    sheet.axes.text(right, down - 0.03, verbatim(text), fontsize=size, color=INK if size > 8 else MUTED, weight=bold,
                    va="bottom")


def _as_asked(synthesis: Synthesis, cell: int) -> bool:
    """Whether the model takes a picture for the class that it was made for."""
    return _class_name(synthesis, int(synthesis.predictions[cell])) == synthesis.units[cell].rpartition(":")[2]


def _class_name(synthesis: Synthesis, label: int) -> str:
    return synthesis.class_names[label] if 0 <= label < len(synthesis.class_names) else str(label)


def _taken(sheet: Sheet, cell: int, synthesis: Synthesis) -> None:
    """Write under a picture what the model takes it for."""
    down, right = sheet.layout.corner(cell)
    ok = _as_asked(synthesis, cell)
    sure = percent(float(synthesis.confidence[cell]), 0)
    text = f"✓ taken for it, {sure}" if ok else f"✗ {_class_name(synthesis, int(synthesis.predictions[cell]))}, {sure}"
    sheet.axes.text(right, down + sheet.layout.picture[0] + 0.05, verbatim(shorten(text, 28)), fontsize=8, va="top",
                    color=RIGHT if ok else WRONG)


def _how(synthesis: Synthesis) -> str:
    begun = _STARTS.get(synthesis.start, synthesis.start)
    return f"Made in {synthesis.settings['steps']} steps from {begun}. Each picture is shown with full contrast."
