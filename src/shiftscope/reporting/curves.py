"""Loss and accuracy against epoch, all models in one figure."""

from collections.abc import Sequence
from itertools import cycle
from typing import cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shiftscope.errors import UsageError
from shiftscope.reporting.style import SERIES, describe, foot, foot_height, head, head_height, styled, verbatim
from shiftscope.reporting.wording import image_credit, percent, series_title, shorten
from shiftscope.results import TrainResult

_NOTE = ("Training accuracy is the mean over an epoch while the weights still change, with dropout active where a "
         "model has it: so it can lie below validation accuracy, which is measured after the epoch on images not "
         "trained on.")


@styled
def training_curves(results: Sequence[TrainResult]) -> Figure:
    """Draw loss, training accuracy and validation accuracy against epoch.

    Results of one model and one way of training are its seeds: the line is their mean, the band their range.

    Raises:
        UsageError: no results.
    """
    if not results:
        raise UsageError("results must hold at least one training, got none: train a model first")
    groups = _by_series(results)
    size = (9.4, 4.5 + 0.21 * len(groups))
    seeds = max(len(group) for group in groups.values())
    title = "How training went"
    subtitle = f"Lines: mean over {seeds} seeds; bands: from the lowest to the highest." if seeds > 1 else ""
    footer = (_NOTE, image_credit(results[0].dataset))
    figure = Figure(figsize=size)
    head(figure, title, subtitle)
    foot(figure, *footer)
    low = foot_height(size[0], *footer)
    bottom = low + 0.6 + 0.21 * len(groups)
    height = size[1] - bottom - head_height(size[0], title, subtitle) - 0.25
    loss, accuracy = (figure.add_axes((left, bottom / size[1], 0.415, height / size[1])) for left in (0.07, 0.57))
    _axes(loss, "Loss on the training images", "mean cross entropy (nats)")
    _axes(accuracy, "Accuracy", "images classified right (%)")
    for style, (series, group) in zip(cycle(SERIES), groups.items(), strict=False):
        _draw(loss, accuracy, series, group, style)
    loss.set_ylim(bottom=0)
    for axes in (loss, accuracy):
        axes.set_xlim(left=0.4)
    _legend(figure, accuracy, low / size[1])
    return describe(figure, _in_words(groups) + " " + image_credit(results[0].dataset))


def _by_series(results: Sequence[TrainResult]) -> dict[str, list[TrainResult]]:
    groups: dict[str, list[TrainResult]] = {}
    for result in results:
        groups.setdefault(series_title(result.model, result.trained), []).append(result)
    return groups


def _axes(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("epoch (one pass over the training images)")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))


def _values(group: Sequence[TrainResult], key: str) -> np.ndarray:
    """(seeds, epochs) float, NaN where there is no number; as many epochs as all seeds have."""
    epochs = min(len(result.history) for result in group)
    rows = [[cast("float | None", line[key]) for line in result.history[:epochs]] for result in group]
    return np.array(rows, dtype=float).reshape(len(group), epochs)


def _draw(loss: Axes, accuracy: Axes, series: str, group: Sequence[TrainResult], style: tuple[str, str]) -> None:
    name = verbatim(shorten(series, 30))
    _line(loss, group, "train_loss", 1.0, style, "--", None)
    _line(accuracy, group, "train_accuracy", 100.0, style, "--", f"{name}: training")
    if np.isfinite(_values(group, "val_accuracy")).any():
        _line(accuracy, group, "val_accuracy", 100.0, style, "-", f"{name}: validation, ends at {_last(group)}")


def _line(axes: Axes, group: Sequence[TrainResult], key: str, scale: float, style: tuple[str, str], dash: str,
          label: str | None) -> None:
    color, marker = style
    values = scale * _values(group, key)
    mean = values.mean(axis=0)
    epochs = np.array([line["epoch"] for line in group[0].history[:len(mean)]])
    filled = color if dash == "-" else "white"
    axes.plot(epochs, mean, color=color, linestyle=dash, marker=marker, markersize=4.5, markerfacecolor=filled,
              markevery=max(1, len(epochs) // 12), linewidth=1.6, label=label)
    if len(group) > 1:
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.18, linewidth=0)


def _legend(figure: Figure, accuracy: Axes, low: float) -> None:
    """Explain all lines under the axes: one model a row, training at the left, validation at the right."""
    handles, labels = accuracy.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda place: ": validation" in labels[place])
    figure.legend([handles[place] for place in order], [labels[place] for place in order], loc="lower left", ncols=2,
                  bbox_to_anchor=(0.06, low), fontsize=8.5, columnspacing=3.0, handlelength=3.2)


def _last(group: Sequence[TrainResult]) -> str:
    values = _values(group, "val_accuracy")
    return percent(float(values[:, -1].mean())) if values.size else percent(None)


def _in_words(groups: dict[str, list[TrainResult]]) -> str:
    ends = [f"{series} ends at {_last(group)} validation accuracy after {group[0].epochs} epochs"
            for series, group in groups.items()]
    return f"Curves of loss and accuracy against epoch: {'; '.join(ends)}."
