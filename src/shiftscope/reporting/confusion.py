"""Confusion matrix: of each class, which share was taken for which."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from shiftscope.reporting.style import (
    INK,
    MUTED,
    SHARES,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    ink_on,
    styled,
    verbatim,
)
from shiftscope.reporting.wording import image_credit, listing, percent, series_title, shorten
from shiftscope.results import Evaluation

_MOST_NUMBERS = 25  # with more classes the numbers would be too small to read
_MOST_NAMES = 50


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Return each row of counts (K, K) as shares of its sum; NaN for a class without images.

    >>> row_shares(np.array([[3, 1], [0, 0]]))
    array([[0.75, 0.25],
           [ nan,  nan]])
    """
    sums = confusion.sum(axis=1, keepdims=True).astype(float)
    return np.divide(confusion, sums, out=np.full(confusion.shape, np.nan), where=sums > 0)


def mix_ups(confusion: np.ndarray, class_names: list[str], most: int = 3) -> list[str]:
    """Return the most frequent errors in words, by their share of the true class.

    >>> mix_ups(np.array([[3, 1], [0, 4]]), ["Shirt", "Coat"])
    ['Shirt taken for Coat (25 %)']
    """
    errors = np.nan_to_num(row_shares(confusion))
    np.fill_diagonal(errors, 0.0)
    order = np.argsort(-errors, axis=None, kind="stable")[:most]
    pairs = [(index // len(errors), index % len(errors)) for index in order.tolist()]
    return [f"{shorten(class_names[true], 30)} taken for {shorten(class_names[said], 30)} "
            f"({percent(float(errors[true, said]), 0)})" for true, said in pairs if errors[true, said] > 0]


@styled
def confusion_matrix(evaluation: Evaluation, *, centered: bool = False) -> Figure:
    """Draw the confusion matrix of an evaluation: rows true, columns predicted, numbers in percent of the row.

    Args:
        evaluation: of one model.
        centered: draw the answers to the centered images, not those at random places.
    """
    counts = evaluation.confusion_centered if centered else evaluation.confusion
    shares = row_shares(counts)
    names = [shorten(name, 20) for name in evaluation.class_names]
    where = "in the middle" if centered else "at random places"
    accuracy = percent(evaluation.accuracy["centered" if centered else "random"])
    title = f"What the {series_title(evaluation.model, evaluation.trained)} takes for what"
    worst = mix_ups(counts, evaluation.class_names)
    subtitle = (f"{evaluation.images:,} {evaluation.split} images {where}, {accuracy} right. Most often mixed up: "
                f"{listing(worst) if worst else 'nothing'}.")
    footer = (_how_to_read(len(names)), image_credit(evaluation.dataset, synthetic=evaluation.synthetic))
    figure, axes, scale = _page(len(names), max(len(name) for name in names), title, subtitle, footer)
    image = axes.imshow(100 * shares, cmap=SHARES.with_extremes(bad="#eceff2"), vmin=0, vmax=100)
    figure.colorbar(image, cax=scale, label="share of the true class (%)")
    _names(axes, names)
    if len(names) <= _MOST_NUMBERS:
        _diagonal(axes, len(names))
        _numbers(axes, shares)
    return describe(figure, f"Confusion matrix. {title}: {subtitle} "
                            f"{image_credit(evaluation.dataset, synthetic=evaluation.synthetic)}")


def _how_to_read(classes: int) -> str:
    if classes > _MOST_NUMBERS:
        return "A row is a true class, a column an answer; the diagonal is right."
    return ("A row is a true class, a column an answer; the framed diagonal is right. Numbers: percent of the row; a "
            "dot is none.")


def _page(classes: int, longest: int, title: str, subtitle: str,
          footer: tuple[str, ...]) -> tuple[Figure, Axes, Axes]:
    """Return a figure, the axes of the matrix and those of the color scale, laid out in inches."""
    side = min(max(0.44 * classes, 2.6), 8.8)
    names = 0.4 + 0.075 * longest  # room for the longest class name
    width = names + side + 0.95
    bottom = foot_height(width, *footer) + 0.45 + 0.055 * longest  # the names stand at 45 degrees
    height = bottom + side + head_height(width, title, subtitle)
    figure = Figure(figsize=(width, height))
    head(figure, title, subtitle)
    foot(figure, *footer)
    axes = figure.add_axes((names / width, bottom / height, side / width, side / height))
    scale = figure.add_axes(((names + side + 0.15) / width, bottom / height, 0.14 / width, side / height))
    return figure, axes, scale


def _names(axes: Axes, names: list[str]) -> None:
    every = 1 if len(names) <= _MOST_NAMES else 5
    places = np.arange(0, len(names), every)
    shown = [verbatim(names[place]) for place in places]
    size = 8.5 if len(names) <= _MOST_NUMBERS else 6
    axes.set_xticks(places, shown, rotation=45, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(places, shown, fontsize=size)
    axes.set_xlabel("answer of the model")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.tick_params(length=2)


def _diagonal(axes: Axes, classes: int) -> None:
    for place in range(classes):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=INK, linewidth=0.9))


def _numbers(axes: Axes, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if not np.isfinite(share):
            axes.text(column, row, "–", ha="center", va="center", fontsize=8, color=MUTED)
            continue
        text = "·" if share == 0 else "<1" if share < 0.01 else f"{100 * share:.0f}"
        axes.text(column, row, text, ha="center", va="center", fontsize=8 if share >= 0.01 else 6.5,
                  weight="bold" if row == column else "normal", color=ink_on(share) if share >= 0.01 else MUTED)
