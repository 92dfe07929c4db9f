"""Training curves as a figure, and as data for the interactive curves of a page."""

from collections.abc import Sequence
from itertools import cycle
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from shiftscope.errors import UsageError
from shiftscope.reporting.figure_style import SERIES, describe, inches, page, styled, verbatim
from shiftscope.reporting.formatting import UNDEFINED, image_credit, percent, series_title, shorten
from shiftscope.results import TrainResult

KEYS = ("train_loss", "train_accuracy", "val_accuracy")
_NOTE = ("Training accuracy is the mean over an epoch while the weights change, with dropout if the model has it. It "
         "can be below validation accuracy, which is measured after the epoch on images not used for training.")


def _by_series(results: Sequence[TrainResult]) -> dict[str, list[TrainResult]]:
    groups: dict[str, list[TrainResult]] = {}
    for result in results:
        groups.setdefault(series_title(result.model, result.trained), []).append(result)
    return groups


@styled
def training_curves(results: Sequence[TrainResult]) -> Figure:
    """Draw loss, training accuracy and validation accuracy by epoch.

    Seeds of the same model and training placement are drawn as their mean with a band from minimum to maximum.

    Raises:
        UsageError: if there are no results.
    """
    if not results:
        raise UsageError("results must hold at least one training, got none: train a model first")
    groups = _by_series(results)
    seeds, width, credit = max(map(len, groups.values())), 9.4, image_credit(results[0].dataset)
    subtitle = f"Lines: mean over {seeds} seeds; bands: minimum to maximum." if seeds > 1 else ""
    legend = 0.21 * len(groups)
    figure, bottom = page(width, 2.75, "Training curves", subtitle, (_NOTE, credit), above=0.25, below=0.6 + legend)
    loss, accuracy = (inches(figure, left * width, bottom, 0.415 * width, 2.75) for left in (0.07, 0.57))
    for axes, title, unit in ((loss, "Training loss", "mean cross entropy (nats)"),
                              (accuracy, "Accuracy", "accuracy (%)")):
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    for style, (series, group) in zip(cycle(SERIES), groups.items(), strict=False):
        _draw(loss, accuracy, series, group, style)
    loss.set_ylim(bottom=0)
    for axes in (loss, accuracy):
        axes.set_xlim(left=0.4)
        if any(line.get_marker() == "x" for line in axes.lines):
            axes.set_xlabel(f"epoch (✕: {'training accuracy ' if axes is accuracy else ''}{UNDEFINED})")
    _legend(figure, accuracy, (bottom - 0.6 - legend) / figure.get_size_inches()[1])
    ends = [f"{series}: {_last(group)} validation accuracy after {group[0].epochs} epochs"
            for series, group in groups.items()]
    return describe(figure, f"Training curves: loss and accuracy by epoch. {'; '.join(ends)}. {credit}")


def _values(group: Sequence[TrainResult], key: str) -> np.ndarray:
    """(seeds, epochs) float, NaN for missing values; only the epochs that all seeds have."""
    epochs = min(len(result.history) for result in group)
    rows = [[cast("float | None", line[key]) for line in result.history[:epochs]] for result in group]
    return np.array(rows, dtype=float).reshape(len(group), epochs)


def _draw(loss: Axes, accuracy: Axes, series: str, group: Sequence[TrainResult], style: tuple[str, str]) -> None:
    name = verbatim(shorten(series, 30))
    _line(loss, group, "train_loss", 1.0, style, "--", None)
    _line(accuracy, group, "train_accuracy", 100.0, style, "--", f"{name}: training")
    if np.isfinite(_values(group, "val_accuracy")).any():
        _line(accuracy, group, "val_accuracy", 100.0, style, "-", f"{name}: validation, final {_last(group)}")


def _line(axes: Axes, group: Sequence[TrainResult], key: str, scale: float, style: tuple[str, str], dash: str,
          label: str | None) -> None:
    color, marker = style
    values = scale * _values(group, key)
    mean = values.mean(axis=0)
    epochs = np.array([line["epoch"] for line in group[0].history[:len(mean)]])
    axes.plot(epochs, mean, color=color, linestyle=dash, marker=marker, markersize=4.5, linewidth=1.6, label=label,
              markerfacecolor=color if dash == "-" else "white", markevery=max(1, len(epochs) // 12))
    undefined = epochs[~np.isfinite(mean)]
    if len(undefined) and key != "val_accuracy":
        axes.plot(undefined, np.full(len(undefined), 0.05), color=color, linestyle="", marker="x", markersize=6,
                  transform=axes.get_xaxis_transform())
    if len(group) > 1:
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=color, alpha=0.18, linewidth=0)


def _legend(figure: Figure, accuracy: Axes, low: float) -> None:
    """Draw a legend below the axes: training at the left, validation at the right."""
    entries = zip(*accuracy.get_legend_handles_labels(), strict=True)
    entries = sorted(entries, key=lambda entry: ": validation" in entry[1])
    figure.legend([handle for handle, _ in entries], [label for _, label in entries], loc="lower left", ncols=2,
                  bbox_to_anchor=(0.06, low), fontsize=8.5, columnspacing=3.0, handlelength=3.2)


def _last(group: Sequence[TrainResult]) -> str:
    values = _values(group, "val_accuracy")
    return percent(float(values[:, -1].mean()) if values.size else None)


def curves_payload(results: Sequence[TrainResult]) -> list[dict[str, Any]]:
    """Return the data of `mountCurves` in `app.js` as plain JSON: one line per model and training placement.

    Seeds are averaged over the epochs that all of them have.

    Returns:
        [{title, epochs: [{epoch, train_loss, train_accuracy, val_accuracy}]}], None for a missing value.

    Example:
        >>> curves_payload([])
        []
    """
    curves = []
    for title, seeds in _by_series(results).items():
        means = {key: _values(seeds, key).mean(axis=0) for key in KEYS}
        lines = zip(seeds[0].history, *means.values(), strict=False)
        epochs = [{"epoch": line["epoch"]} | {key: None if np.isnan(value) else float(value) for key, value in
                                              zip(KEYS, values, strict=True)} for line, *values in lines]
        curves.append({"title": title + (f", mean of {len(seeds)} seeds" if len(seeds) > 1 else ""), "epochs": epochs})
    return curves
