"""Galleries of images on their canvases: samples, predictions, and disagreements between two models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.reporting.figure_style import CORRECT, INCORRECT, INK, MUTED, describe, styled, verbatim
from shiftscope.reporting.formatting import image_credit, listing, percent, series_title, shorten
from shiftscope.reporting.image_grid import NONFINITE_NAME, GridLayout, ImageGrid, to_rgb
from shiftscope.results import Evaluation

_MAX_CLASSES = 24
_CHOICES = 3  # classes shown per image of `prediction_figure`

COLUMNS, ROWS = 4, 5
"""Largest number of columns and rows for each of the two models of `disagreements_figure`."""


@styled
def sample_gallery(canvases: np.ndarray, labels: np.ndarray, class_names: Sequence[str], *, caption: str,
                   per_class: int = 4, title: str = "Sample images at random positions on their canvas") -> Figure:
    """Draw some images of each class on their canvases.

    Args:
        canvases: uint8 (N, C, H, W), the images as the models see them.
        labels: int (N,), their classes.
        class_names: K names; classes without images are left out.
        caption: line at the bottom, for instance `image_credit(...)`.
        per_class: largest number of images per class.
        title: line at the top.
    """
    images = to_rgb(canvases)
    by_class = {label: np.flatnonzero(labels == label)[:per_class] for label in range(len(class_names))}
    present = [label for label, indices in by_class.items() if len(indices)]
    shown = present[:_MAX_CLASSES]
    across = 1 if len(shown) < 4 else 2
    down = -(-len(shown) // across)
    height, width = canvases.shape[2:]
    layout = GridLayout(count=down * across * per_class, columns=across * per_class, size=(height, width), above=0.24,
                        gap=0.06, group=per_class)
    cut = f"{len(shown)} of {len(present)} classes are shown." if len(shown) < len(present) else ""
    grid = ImageGrid(layout, title=title, subtitle=f"Canvas {height} x {width} pixels", footer=(cut, caption))
    for position, label in enumerate(shown):
        first = (position % down * across + position // down) * per_class  # classes run down, then to the next column
        grid.text_above(first, shorten(class_names[label], 44), size=9, weight="bold", gap=0.05)
        for step, index in enumerate(by_class[label]):
            grid.draw(first + step, images[index])
    names = listing([shorten(class_names[label], 30) for label in shown])
    return describe(grid.figure, f"Sample images of {len(shown)} classes on their canvases: {names}. {caption}")


@styled
def classified_gallery(evaluation: Evaluation, *, limit: int = 40) -> Figure:
    """Draw the first images of an evaluation with true class, predicted class and confidence.

    Errors have a thick dashed frame, a cross and the word "incorrect" in addition to their color.
    """
    chosen, canvases = evaluation.gallery_index[:limit], evaluation.gallery_canvases[:limit]
    correct = evaluation.predictions[chosen] == evaluation.labels[chosen]
    height, width = canvases.shape[2:]
    layout = GridLayout(count=len(chosen), columns=min(8, len(chosen)), size=(height, width), below=0.45, gap=0.14)
    credit = image_credit(evaluation.dataset, synthetic=evaluation.synthetic, preparation=evaluation.preparation)
    title = (f"Predictions of the {series_title(evaluation.model, evaluation.trained)}: {correct.sum()} of "
             f"{len(chosen)} correct")
    subtitle = (f"The first {evaluation.split} images, each at a random position. Accuracy on all "
                f"{evaluation.images:,}: {percent(evaluation.accuracy['random'])}.")
    grid = ImageGrid(layout, title=title, subtitle=subtitle, footer=("Percentages: confidence.", credit))
    names = evaluation.class_names
    for cell, (index, image) in enumerate(zip(chosen.tolist(), to_rgb(canvases), strict=True)):
        predicted = int(evaluation.predictions[index])
        grid.draw(cell, image)
        grid.mark_prediction(cell, correct=bool(correct[cell]), true=names[int(evaluation.labels[index])],
                             predicted=names[predicted] if predicted >= 0 else NONFINITE_NAME,
                             confidence=float(evaluation.confidence[index]))
    return describe(grid.figure, f"{title}. {subtitle} Incorrect predictions have a dashed frame and a cross. {credit}")


@styled
def prediction_figure(predictions: Sequence[Mapping[str, Any]], canvases: np.ndarray) -> Figure:
    """Draw images from files (uint8 canvases (N, C, H, W)) with the three most probable classes of each.

    Args:
        predictions: one per image, with keys "file", "offset" (dy, dx), "class" and "scores" (class name ->
            probability); the last two are None if the outputs are not finite.
        canvases: the images as the model sees them.
    """
    layout = GridLayout(count=len(predictions), columns=min(4, len(predictions)), size=canvases.shape[2:], side=2.0,
                        above=0.24, below=0.62, gap=0.2)
    grid = ImageGrid(layout, title="Predictions", subtitle="The images as the model sees them.",
                     footer=("Percentages: confidence. The model always predicts one of its classes.",))
    summary = []
    for cell, (prediction, image) in enumerate(zip(predictions, to_rgb(canvases), strict=True)):
        grid.draw(cell, image)
        name, choices = PurePath(prediction["file"]).name, _choices(prediction)
        grid.text_above(cell, f"{shorten(name, 19)}, at {tuple(prediction['offset'])}", size=8, color=MUTED, gap=0.05)
        _write_choices(grid, cell, choices)
        summary.append(f"{name}: {choices[0][0]} ({percent(choices[0][1])})")
    return describe(grid.figure, f"Predictions: {'; '.join(summary)}.")


def _choices(prediction: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """(class, confidence) of the predicted class and of the next most probable ones."""
    if prediction["scores"] is None:
        return [(NONFINITE_NAME, None)]
    scores, predicted = prediction["scores"], prediction.get("class")
    return sorted(scores.items(), key=lambda entry: (entry[0] != predicted, -entry[1]))[:_CHOICES]


def _write_choices(grid: ImageGrid, cell: int, choices: Sequence[tuple[str, float | None]]) -> None:
    down, x = grid.layout.corner(cell)
    for rank, (choice, confidence) in enumerate(choices):
        size, weight, color = (10, "bold", INK) if rank == 0 else (8.5, "normal", MUTED)
        grid.axes.text(x, down + grid.layout.image[0] + 0.06 + rank * 0.18, color=color, fontsize=size, weight=weight,
                       s=verbatim(f"{shorten(choice, 22)} {percent(confidence)}"), va="top")


@dataclass(frozen=True, kw_only=True)
class Disagreements:
    """M images that exactly one of two models, A and B, classifies correctly."""

    models: tuple[str, str]  # display names of A and B
    class_names: Sequence[str]
    totals: tuple[int, int]  # predictions that only A, and only B, gets correct, with or without a stored image
    population: str  # predictions that were compared, for instance "300 test images, each at one random position"
    labels: np.ndarray  # int64 (M,)
    predictions: np.ndarray  # int64 (M, 2), of A and B; an invalid class index if the outputs were not finite
    canvases: np.ndarray  # uint8 (M, C, H, W), as the models saw them
    credit: str  # source of the images


@styled
def disagreements_figure(disagreements: Disagreements) -> Figure:
    """Draw images that only A classifies correctly at the left, those that only B does at the right.

    Raises:
        UsageError: if there are no images.
    """
    correct_a = disagreements.predictions[:, 0] == disagreements.labels
    sides = [np.flatnonzero(side)[:COLUMNS * ROWS] for side in (correct_a, ~correct_a)]
    if not any(len(side) for side in sides):
        raise UsageError("no images of disagreements: the models agree on all stored images, or their results were "
                         "written by a release that stored none; evaluate both models again")
    rows = -(-max(map(len, sides)) // COLUMNS)
    layout = GridLayout(count=rows * 2 * COLUMNS, columns=2 * COLUMNS, size=disagreements.canvases.shape[2:],
                        group=COLUMNS, below=0.45, gap=0.14, top=0.34)
    a, b = (shorten(model, 40) for model in disagreements.models)
    title = f"Disagreements between {a} and {b}"
    only_a, only_b = disagreements.totals
    subtitle = (f"A: {a}; B: {b}. Of {disagreements.population}, {only_a:,} are correct for A only and {only_b:,} for "
                "B only.")
    grid = ImageGrid(layout, title=title, subtitle=subtitle,
                     footer=("The first stored images. ✓ correct, ✗ incorrect.", disagreements.credit))
    for block, side in enumerate(sides):
        _draw_side(grid, disagreements, block, side)
    shown = f"Shown: {len(sides[0])} images for A only and {len(sides[1])} for B only."
    return describe(grid.figure, f"{title}. {subtitle} {shown} {disagreements.credit}")


def _draw_side(grid: ImageGrid, disagreements: Disagreements, block: int, side: np.ndarray) -> None:
    """Draw the images that only one model classifies correctly."""
    _, x = grid.layout.corner(block * COLUMNS)
    heading = f"Only {'AB'[block]} ({shorten(disagreements.models[block], 30)}) is correct"
    grid.axes.text(x, 0.2, verbatim(heading), fontsize=9, weight="bold", va="bottom")
    if not len(side):
        grid.axes.text(x, 0.5, "no images", fontsize=8, color=MUTED, va="top")
    names = dict(enumerate(disagreements.class_names))
    for position, (row, image) in enumerate(zip(side.tolist(), to_rgb(disagreements.canvases[side]), strict=True)):
        cell = position // COLUMNS * 2 * COLUMNS + block * COLUMNS + position % COLUMNS
        label = int(disagreements.labels[row])
        grid.draw(cell, image)
        grid.frame(cell, MUTED, 0.5)
        lines = [(f"{'✓' if predicted == label else '✗'} {model}: {names.get(predicted, NONFINITE_NAME)}",
                  CORRECT if predicted == label else INCORRECT, "normal")
                 for model, predicted in zip("AB", disagreements.predictions[row].tolist(), strict=True)]
        grid.text_below(cell, (f"true: {names[label]}", INK, "bold"), *lines)
