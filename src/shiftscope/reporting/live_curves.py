"""Training curves in the output of a notebook cell, drawn again after each epoch."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shiftscope.progress import Slot, displays, duration, execution_count
from shiftscope.reporting.figure_style import (
    SERIES,
    alt_text,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    render_figure,
    styled,
)
from shiftscope.reporting.formatting import model_title, percent

FREE_SECONDS, FRACTION = 5.0, 0.1
"""Curves are drawn after an epoch if drawing has taken at most `FREE_SECONDS` plus this fraction of the time so far."""

_NOTE = ("Training values are means over an epoch while the weights change, with dropout if the model has it. They can "
         "be worse than {} values, which are measured after the epoch.")


def draw_in_cell(make: Callable[[], Figure], slot: Slot | None = None) -> None:
    """Show the figure that `make` returns, with its alternative text, in the current cell of a notebook.

    Args:
        make: not called if nothing is displayed: under Agg and outside a notebook.
        slot: the part of the output to replace (default: a new one).
    """
    if displays():
        figure = make()
        (slot or Slot()).show({"image/png": render_figure(figure, "png"), "text/plain": alt_text(figure)})


_last_cell: tuple[int, list[Any]] | None = None
"""Execution count and history of the last curves that were drawn."""


def drawn_in_this_cell(history: Sequence[Mapping[str, Any]]) -> bool:
    """Return True if the current cell of the notebook has drawn the curves of this history."""
    return displays() and _last_cell == (execution_count(), list(history))


class LiveCurves:
    """Loss and accuracy of a training, in one part of the current cell's output.

    Args:
        model: its name.
        epochs: planned number of epochs, which sets the length of the axis.
        tested: "test" or "validation", the images on which the model is evaluated after each epoch.
    """

    def __init__(self, model: str, epochs: int, tested: str):
        self.model, self.epochs, self.tested, self.slot = model, epochs, tested, Slot()
        self.begun, self.drawing = time.monotonic(), 0.0
        self._pending: tuple[list[Any], float] | None = None

    def update(self, history: Sequence[Mapping[str, Any]], seconds: float) -> None:
        """Draw the curves unless drawing takes too much of the time; `close` then draws them.

        Args:
            history: one mapping per completed epoch, with the keys epoch, train_loss and train_accuracy, and test_loss,
                test_accuracy, val_loss or val_accuracy where measured.
            seconds: time of the training so far.
        """
        self._pending = list(history), seconds
        if self.drawing <= FREE_SECONDS + FRACTION * (time.monotonic() - self.begun):
            self.close()

    def close(self) -> None:
        """Draw the last epoch if it was not drawn."""
        global _last_cell
        if self._pending is None:
            return
        (lines, seconds), begun = self._pending, time.monotonic()
        draw_in_cell(lambda: curves(self.model, lines, self.epochs, self.tested, seconds), self.slot)
        _last_cell, self._pending = (execution_count(), lines), None
        self.drawing += time.monotonic() - begun


@styled
def curves(model: str, history: Sequence[Mapping[str, Any]], epochs: int, tested: str, seconds: float) -> Figure:
    """Draw loss and accuracy by epoch, of the training and of the images in `tested`; see `LiveCurves`."""
    width, key = 9.0, _KEYS[tested]
    measured = [value for line in history if (value := line.get(f"{key}_accuracy")) is not None]
    last, name = (measured[-1], tested) if measured else (history[-1]["train_accuracy"], "training")
    title = f"{model_title(model)}: {name} accuracy {percent(last)} after epoch {history[-1]['epoch']} of {epochs}"
    subtitle = f"{duration(seconds)} of training, {seconds / len(history):.1f} s per epoch."
    note = _NOTE.format(tested)
    top, low = head_height(width, title, subtitle), foot_height(width, note)
    height = top + low + 3.1
    figure = Figure(figsize=(width, height))
    head(figure, title, subtitle)
    foot(figure, note)
    for left, value, label in ((0.075, "loss", "Loss (mean cross entropy, nats)"),
                               (0.575, "accuracy", "Accuracy (correctly classified images, %)")):
        axes = figure.add_axes((left, (low + 0.5) / height, 0.4, 2.2 / height))
        _lines(axes, history, value, ("train", *SERIES[0], "--", "training, during the epoch"))
        _lines(axes, history, value, (key, *SERIES[1], "-", f"{tested}, after the epoch"))
        _label(axes, label, epochs)
    best = f" The best epoch had {percent(max(measured))}." if measured else ""
    return describe(figure, f"{title}.{best} {subtitle}")


_KEYS = {"test": "test", "validation": "val"}
"""Beginning of the keys of the history, by the images evaluated after each epoch."""


def _lines(axes: Axes, history: Sequence[Mapping[str, Any]], key: str, style: tuple[str, str, str, str, str]) -> None:
    part, color, marker, dash, label = style
    scale = 1.0 if key == "loss" else 100.0
    points = [(line["epoch"], scale * value) for line in history if (value := line.get(f"{part}_{key}")) is not None]
    if points:
        axes.plot(*zip(*points, strict=True), color=color, linestyle=dash, marker=marker, markersize=4.5, label=label,
                  markerfacecolor=color if dash == "-" else "white", markevery=max(1, len(points) // 12), linewidth=1.6)


def _label(axes: Axes, title: str, epochs: int) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch (one pass over the training images)")
    axes.set_xlim(0.5, epochs + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    if title.startswith("Loss"):
        axes.set_ylim(bottom=0)
    axes.legend(loc="lower left" if title.startswith("Loss") else "lower right", fontsize=8)
