"""The two figures of `evaluate_model`: curves that grow, and test images with what the model says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shiftscope.course.history import History
from shiftscope.course.images import rescale, to_colors
from shiftscope.outputs import classify
from shiftscope.progress import duration
from shiftscope.reporting.figure_style import SERIES, describe, foot, foot_height, head, head_height, styled
from shiftscope.reporting.formatting import percent
from shiftscope.reporting.image_grid import NONFINITE_NAME, GridLayout, ImageGrid

_TRAIN, _TEST = ("train", *SERIES[0], "--", "training, while it learns"), ("test", *SERIES[1], "-", "test, after it")
_NOTE = ("Training: the mean over an epoch while the weights change, with dropout where the model has it. It may be "
         "worse than the test.")


@styled
def curves(model: str, history: History, epochs: int) -> Figure:
    """Draw loss and accuracy against epoch, training and test.

    Args:
        model: its name.
        history: at least one epoch.
        epochs: how many there will be: the axis is as long from the start.
    """
    width = 9.0
    best, last = max(line["test_accuracy"] for line in history), history[-1]["test_accuracy"]
    title = f"{model}: {percent(last)} of the test images right after epoch {len(history)} of {epochs}"
    subtitle = (f"{duration(sum(line['seconds'] for line in history))} of training, "
                f"{history[-1]['seconds']:.1f} s the last epoch.")
    top, low = head_height(width, title, subtitle), foot_height(width, _NOTE)
    height = top + low + 3.1
    figure = Figure(figsize=(width, height))
    head(figure, title, subtitle)
    foot(figure, _NOTE)
    for left, key, name, scale in ((0.075, "loss", "Loss (mean cross entropy, nats)", 1.0),
                                   (0.575, "accuracy", "Accuracy (images classified right, %)", 100.0)):
        axes = figure.add_axes((left, (low + 0.5) / height, 0.4, 2.2 / height))
        _lines(axes, history, key, scale)
        axes.set_title(name)
        axes.set_xlabel("epoch (one pass over the training images)")
        axes.set_xlim(0.5, epochs + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        axes.legend(loc="lower left" if key == "loss" else "lower right", fontsize=8)  # where no curve runs
    return describe(figure, f"{title}. The best epoch had {percent(best)}. {subtitle}")


def _lines(axes: Axes, history: History, key: str, scale: float) -> None:
    epochs = [line["epoch"] for line in history]
    for part, color, marker, dash, label in (_TRAIN, _TEST):
        values = [scale * float(line[f"{part}_{key}"]) for line in history]  # pyright: ignore[reportGeneralTypeIssues]
        filled = color if dash == "-" else "white"
        axes.plot(epochs, values, color=color, linestyle=dash, marker=marker, markersize=4.5, markerfacecolor=filled,
                  markevery=max(1, len(epochs) // 12), linewidth=1.6, label=label)
    if key == "loss":
        axes.set_ylim(bottom=0)


@dataclass(frozen=True)
class Answered:
    """Some test images, in the loader's units, and what a model says of them."""

    images: torch.Tensor
    """(N, C, H, W)."""
    labels: torch.Tensor
    """int64 (N,)."""
    outputs: torch.Tensor
    """(N, K), logits, probabilities or log-probabilities."""


@styled
def answer_gallery(model: str, answered: Answered, class_names: Sequence[str]) -> Figure:
    """Draw images with their true and predicted class; errors carry a dashed frame, a cross and the word "wrong".

    Every picture is stretched by its own minimum and maximum.
    """
    classes, confidence = (found.cpu() for found in classify(answered.outputs))
    labels = answered.labels.cpu()
    count, right = len(labels), int((classes == labels).sum())
    height, width = answered.images.shape[2:]
    layout = GridLayout(count=count, columns=min(8, count), size=(int(height), int(width)), below=0.45, gap=0.14)
    title = f"What {model} says: {right} of {count} right"
    note = "Percentages: how sure the model is. Each picture is stretched from its darkest to its brightest pixel."
    grid = ImageGrid(layout, title=title, subtitle="The first images of the test loader, not picked.", footer=(note,))
    for cell, image in enumerate(answered.images.cpu()):
        grid.draw(cell, to_colors(rescale(image.float())))
        true, said = int(labels[cell]), int(classes[cell])
        grid.mark_prediction(cell, correct=true == said, true=_names(class_names, true),
                             predicted=_names(class_names, said), confidence=float(confidence[cell]))
    return describe(grid.figure, f"{title}. Incorrect predictions have a dashed frame and a cross.")


def _names(class_names: Sequence[str], index: int) -> str:
    return str(class_names[index]) if index >= 0 else NONFINITE_NAME
