"""Galleries: what the images look like on their canvases, and what a model made of them."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from shiftscope.reporting.sheet import Layout, Sheet, to_pictures
from shiftscope.reporting.style import describe, styled, verbatim
from shiftscope.reporting.verdict import NO_ANSWER, mark_answer
from shiftscope.reporting.wording import image_credit, listing, percent, series_title, shorten
from shiftscope.results import Evaluation

_MOST_CLASSES = 24  # more rows than this no longer fit on a screen or a page


@styled
def sample_gallery(
    canvases: np.ndarray, labels: np.ndarray, class_names: Sequence[str], *, caption: str, per_class: int = 4,
    title: str = "What the models see: each image lies at a random place on its canvas",
) -> Figure:
    """Draw some images of each class on their canvases, under the name of the class.

    Args:
        canvases: uint8 (N, C, H, W), the images as the models see them.
        labels: int (N,), their classes.
        class_names: K names; a class without an image is left out.
        caption: line at the foot, for instance `image_credit(...)`.
        per_class: images shown of each class, the first ones.
        title: line at the top.
    """
    pictures = to_pictures(canvases)
    found = [np.flatnonzero(labels == label)[:per_class] for label in range(len(class_names))]
    present = [label for label, images in enumerate(found) if len(images)]
    shown = present[:_MOST_CLASSES]
    across = 1 if len(shown) < 4 else 2
    down = -(-len(shown) // across)
    height, width = canvases.shape[2:]
    layout = Layout(count=down * across * per_class, columns=across * per_class, size=(height, width), above=0.24,
                    side=1.0, gap=0.06, group=per_class)
    cut = f"{len(shown)} of {len(present)} classes are shown." if len(shown) < len(present) else ""
    sheet = Sheet(layout, title=title, subtitle=f"Canvas {height} x {width} pixels", footer=(cut, caption))
    for place, label in enumerate(shown):
        first = (place % down * across + place // down) * per_class  # classes run down, then to the next column
        y, x = layout.corner(first)
        sheet.axes.text(x, y - 0.05, verbatim(shorten(class_names[label], 44)), fontsize=9, weight="bold", va="bottom")
        for step, index in enumerate(found[label]):
            sheet.show(first + step, pictures[index])
    names = listing([shorten(class_names[label], 30) for label in shown])
    return describe(sheet.figure, f"Sample images of {len(shown)} classes on their canvases: {names}. {caption}")


@styled
def classified_gallery(evaluation: Evaluation, *, limit: int = 40) -> Figure:
    """Draw the gallery images of an evaluation with their true and predicted class and the model's confidence.

    Errors carry a thick dashed frame, a cross and the word "wrong", besides their color.

    Args:
        evaluation: of one model; its gallery holds the first images of the set, not picked ones.
        limit: images shown at most.
    """
    chosen = evaluation.gallery_index[:limit]
    canvases = evaluation.gallery_canvases[:limit]
    right = evaluation.predictions[chosen] == evaluation.labels[chosen]
    height, width = canvases.shape[2:]
    layout = Layout(count=len(chosen), columns=min(8, len(chosen)), size=(height, width), side=1.0, below=0.45,
                    gap=0.14)
    model = series_title(evaluation.model, evaluation.trained)
    title = f"What the {model} says: {right.sum()} of {len(chosen)} right"
    subtitle = (f"The first {evaluation.split} images, not picked, each at a random place. All "
                f"{evaluation.images:,}: {percent(evaluation.accuracy['random'])} right.")
    sheet = Sheet(layout, title=title, subtitle=subtitle,
                  footer=("Percentages: how sure the model is of its answer.",
                          image_credit(evaluation.dataset, synthetic=evaluation.synthetic)))
    for cell, (index, picture) in enumerate(zip(chosen, to_pictures(canvases), strict=True)):
        sheet.show(cell, picture)
        _mark(sheet, cell, evaluation, int(index), bool(right[cell]))
    return describe(sheet.figure, f"{title}. {subtitle} Wrong answers have a dashed frame, a cross and the word wrong. "
                                  f"{image_credit(evaluation.dataset, synthetic=evaluation.synthetic)}")


def _mark(sheet: Sheet, cell: int, evaluation: Evaluation, index: int, right: bool) -> None:
    """Write and frame the answer for one image."""
    predicted, names = int(evaluation.predictions[index]), evaluation.class_names
    mark_answer(sheet, cell, right=right, true=names[int(evaluation.labels[index])],
                said=names[predicted] if predicted >= 0 else NO_ANSWER, confidence=float(evaluation.confidence[index]))
