"""The confusion matrix as a figure, and as data for the interactive matrix of a page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.reporting.figure_style import (
    FRACTIONS,
    INK,
    MUTED,
    describe,
    inches,
    page,
    readable_on,
    styled,
    verbatim,
)
from shiftscope.reporting.formatting import image_credit, image_title, listing, percent, series_title, shorten
from shiftscope.reporting.selection import first_seeds
from shiftscope.reporting.web_page import geometry_payload, pack
from shiftscope.results import Evaluation

MAX_BYTES = 600_000
"""Largest size of the pixels of all matrices of a page, before compression: fewer images per cell are included."""

MAX_CLASSES, CLASSES = 100, 50
"""With more classes than the first number, only those that occur are shown; of more than that, the `CLASSES` with the
most errors."""

_MAX_NUMBERS = 25  # with more classes the numbers would be too small to read
_MAX_NAMES = 50


def row_fractions(confusion: np.ndarray) -> np.ndarray:
    """Divide each row of counts (K, K) by its sum; NaN for a class without images.

    >>> row_fractions(np.array([[3, 1], [0, 0]]))
    array([[0.75, 0.25],
           [ nan,  nan]])
    """
    sums = confusion.sum(axis=1, keepdims=True).astype(float)
    return np.divide(confusion, sums, out=np.full(confusion.shape, np.nan), where=sums > 0)


def top_confusions(confusion: np.ndarray, class_names: Sequence[str], most: int = 3) -> list[str]:
    """Return the most frequent errors, as fractions of the true class.

    >>> top_confusions(np.array([[3, 1], [0, 4]]), ["Shirt", "Coat"])
    ['Shirt predicted as Coat (25 %)']
    """
    errors = np.nan_to_num(row_fractions(confusion))
    np.fill_diagonal(errors, 0.0)
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [divmod(int(index), len(errors)) for index in order]
    return [f"{shorten(class_names[row], 30)} predicted as {shorten(class_names[column], 30)} "
            f"({percent(float(errors[row, column]), 0)})" for row, column in pairs if errors[row, column] > 0]


def shown_classes(confusion: np.ndarray) -> np.ndarray:
    """Return the indices of the classes that a matrix (K, K) shows, ascending, int64.

    >>> shown_classes(np.diag([0, 2, 1])), shown_classes(np.diag([0] * 100 + [2, 1]))
    (array([0, 1, 2]), array([100, 101]))
    """
    if len(confusion) <= MAX_CLASSES:
        return np.arange(len(confusion))
    occurring = np.flatnonzero(confusion.sum(0) + confusion.sum(1))
    if len(occurring) <= MAX_CLASSES:
        return occurring
    errors = (confusion.sum(0) + confusion.sum(1) - 2 * np.diagonal(confusion))[occurring]
    return np.sort(occurring[np.argsort(-errors, kind="stable")[:CLASSES]])


@styled
def confusion_matrix(evaluation: Evaluation, *, centered: bool = False) -> Figure:
    """Draw the confusion matrix of an evaluation: true classes in rows, predicted classes in columns, in percent.

    With `centered`, the predictions for centered images are used instead of those for random placements.
    """
    counts = evaluation.confusion_centered if centered else evaluation.confusion
    shown = shown_classes(counts)
    fractions = row_fractions(counts)[np.ix_(shown, shown)]
    names = [shorten(evaluation.class_names[cls], 20) for cls in shown]
    title = f"Confusion matrix: {series_title(evaluation.model, evaluation.trained)}"
    accuracy = percent(evaluation.accuracy["centered" if centered else "random"])
    subtitle = (f"{evaluation.images:,} {evaluation.split} images, {'centered' if centered else 'random placements'}, "
                f"accuracy {accuracy}. Most frequent errors: "
                f"{listing(top_confusions(counts, evaluation.class_names)) or 'none'}.")
    credit = image_credit(evaluation.dataset, synthetic=evaluation.synthetic, preparation=evaluation.preparation)
    numbers = " Numbers: percent of the row; dots: none." if len(names) <= _MAX_NUMBERS else ""
    numbers += f" {len(shown)} of {len(counts):,} classes are shown." if len(shown) < len(counts) else ""
    empty, left = int((counts[shown].sum(axis=1) == 0).sum()), evaluation.images - int(counts.sum())
    numbers += f" Gray rows: {empty} classes without images." if empty else ""
    numbers += f" Not included: {left:,} predictions that are not finite." if left else ""
    figure, axes, scale = _layout(len(names), max(len(name) for name in names), title, subtitle,
                                  (f"Rows: true class; columns: predicted class.{numbers}", credit))
    image = axes.imshow(100 * fractions, cmap=FRACTIONS.with_extremes(bad="#eceff2"), vmin=0, vmax=100)
    figure.colorbar(image, cax=scale, label="fraction of the true class (%)")
    _label_axes(axes, names)
    if len(names) <= _MAX_NUMBERS:
        _write_numbers(axes, fractions)
    return describe(figure, f"{title}. {subtitle} {credit}")


def _layout(classes: int, longest: int, title: str, subtitle: str,
            footer: tuple[str, ...]) -> tuple[Figure, Axes, Axes]:
    """Return a figure with axes for the matrix and for the color bar."""
    side = min(max(0.44 * classes, 2.6), 8.8)
    left = 0.4 + 0.075 * longest  # space for the longest class name
    width = left + side + 0.95
    figure, bottom = page(width, side, title, subtitle, footer, below=0.45 + 0.055 * longest)  # names at 45 degrees
    return (figure, inches(figure, left, bottom, side, side),
            inches(figure, left + side + 0.15, bottom, 0.14, side))


def _label_axes(axes: Axes, names: list[str]) -> None:
    at = np.arange(0, len(names), 1 if len(names) <= _MAX_NAMES else 5)
    shown = [verbatim(names[index]) for index in at]
    size = 8.5 if len(names) <= _MAX_NUMBERS else 6
    axes.set_xticks(at, shown, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(at, shown, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.tick_params(length=2)


def _write_numbers(axes: Axes, fractions: np.ndarray) -> None:
    """Frame the diagonal and write percentages."""
    for index in range(len(fractions)):
        axes.add_patch(Rectangle((index - 0.5, index - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=0.9))
    for (row, column), fraction in np.ndenumerate(fractions):
        large = fraction >= 0.01
        color = readable_on(FRACTIONS(fraction)) if large else MUTED
        text = ("–" if not np.isfinite(fraction) else "·" if fraction == 0 else "<1" if fraction < 0.01
                else f"{100 * fraction:.0f}")
        axes.text(column, row, text, ha="center", va="center", fontsize=8 if large else 6.5,
                  weight="bold" if row == column else "normal", color=color)


def confusion_payload(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Return the data of `mountConfusion` in `app.js` as plain JSON, for evaluations on test images.

    Only the first seed of each model and training placement is used; evaluations without classes are left out.

    Returns:
        {"matrices": [{title, classes (names of the K classes of `shown_classes`), counts (K, K; rows true, columns
        predicted), images}]}. `images` is None if the evaluation has no stored images, else {numbers, names, true,
        predicted, offsets [dy, dx], confidences (None if not finite), pixels (M, C, h, w; packed), mode, canvas [H, W],
        background}.

    Example:
        >>> confusion_payload([])
        {'matrices': []}
    """
    first = first_seeds([one for one in evaluations if one.split == "test" and one.confusion.size])
    return {"matrices": [_matrix(one, MAX_BYTES // len(first)) for one in first]}


def _matrix(evaluation: Evaluation, budget: int) -> dict[str, Any]:
    shown = shown_classes(evaluation.confusion)
    return {"title": series_title(evaluation.model, evaluation.trained),
            "classes": [evaluation.class_names[cls] for cls in shown],
            "counts": evaluation.confusion[np.ix_(shown, shown)].tolist(),
            "images": _cell_images(evaluation, budget, shown)}


def _cell_images(evaluation: Evaluation, budget: int, shown: np.ndarray) -> dict[str, Any] | None:
    position = np.full(len(evaluation.class_names), -1)
    position[shown] = np.arange(len(shown))
    within = ((position[evaluation.labels[evaluation.cell_index]] >= 0)
              & (position[evaluation.predictions[evaluation.cell_index]] >= 0))
    pixels, numbers = evaluation.cell_images[within], evaluation.cell_index[within]
    if not len(pixels):
        return None
    cells = evaluation.labels[numbers] * len(evaluation.class_names) + evaluation.predictions[numbers]
    kept = _thin(cells, budget // max(1, pixels[0].size))
    numbers = numbers[kept]
    confidences = [float(value) if np.isfinite(value) else None for value in evaluation.confidence[numbers]]
    names = [image_title(evaluation.image_names, number, width=80) for number in numbers.tolist()]
    return {"numbers": numbers.tolist(), "names": names, "true": position[evaluation.labels[numbers]].tolist(),
            "predicted": position[evaluation.predictions[numbers]].tolist(),
            "offsets": evaluation.offsets[numbers].tolist(),
            "confidences": confidences, "pixels": pack(pixels[kept]), **geometry_payload(evaluation.geometry)}


def _thin(cells: np.ndarray, limit: int) -> np.ndarray:
    """Return the sorted indices of at most `limit` images: the first of each cell, then the second ones, ..."""
    order = np.argsort(cells, kind="stable")
    rank = np.empty(len(cells), np.int64)
    starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(cells)))
    rank[order] = np.arange(len(cells)) - np.repeat(starts, lengths)
    return np.sort(np.argsort(rank, kind="stable")[:limit])
