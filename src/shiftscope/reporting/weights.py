"""Figures of weights: first layers, convolution filters, and the weights from neurons to classes."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from shiftscope.errors import UsageError
from shiftscope.reporting.figure_style import INK, MUTED, PAPER, SIGNED, describe, inches, page, styled, verbatim
from shiftscope.reporting.formatting import listing, shorten
from shiftscope.reporting.image_grid import GridLayout, ImageGrid

_READING = "Orange weights are positive, blue ones negative, white ones zero."
_SIGNS = " A minus sign marks every negative weight."
_WEIGHTS = SIGNED.with_extremes(bad="#8b949e")
_ROWS = 15  # of filters
_CELLS = 14  # of `filter_grid` side by side
_NEURONS = 100  # columns of `class_neurons`
_FIELD = 10  # neurons between two lines of `class_neurons`
_LARGEST = 4  # neurons named per class


@styled
def weight_grid(weights: np.ndarray, *, title: str, columns: int | None = None, limit: int = 100,
                credit: str = "") -> Figure:
    """Draw weights as images on one color scale that is symmetric about zero (white).

    The scale ends at the 99.7th percentile of the magnitudes, so that single outliers do not hide the others. Small
    filters have a minus sign in every negative pixel.

    Args:
        weights: float (N, C, h, w) or (N, h, w), one image per neuron or filter; channels are averaged.
        title, credit: lines at the top and at the bottom.
        columns: images per row; chosen automatically by default.
        limit: largest number of images.
    """
    if weights.ndim not in (3, 4) or weights.size == 0:
        raise UsageError(f"weights must be of shape (N, C, h, w) or (N, h, w), N at least 1, got {weights.shape}")
    channels = weights.shape[1] if weights.ndim == 4 else 1
    images = (weights.mean(axis=1) if weights.ndim == 4 else weights)[:limit].astype(float)
    end, (height, width) = scale_end(images), images.shape[1:]
    signs = max(height, width) <= 9
    layout = GridLayout(count=len(images), columns=columns or min(len(images), 10), size=(height, width), above=0.15,
                        gap=0.05, right=0.95)
    outliers = bool(np.nanmax(np.abs(images), initial=0.0) > end)
    which = f"The first {len(images)} of {len(weights)}" if len(images) < len(weights) else f"All {len(images)}"
    mean = f", mean over {channels} channels" if channels > 1 else ""
    reading = (f"{_READING}{_SIGNS if signs else ''}{' A few weights exceed the color scale.' if outliers else ''}"
               f"{_nonfinite(images)}")
    grid = ImageGrid(layout, title=title, footer=(reading, credit),
                     subtitle=f"{which}, each {height} x {width} weights{mean}, numbered from 0, on one scale.")
    drawn = [_draw_weights(grid, cell, image, end, signs=signs) for cell, image in enumerate(images)]
    for cell in range(len(images)):
        grid.text_above(cell, str(cell), size=6.5, color=MUTED, gap=0.02)
    grid.figure.colorbar(drawn[0], cax=grid.colorbar_axes(), label="weight", extend="both" if outliers else "neither")
    return describe(grid.figure, f"{title}. {len(images)} images of {height} x {width} weights. {_READING} {credit}")


def _nonfinite(weights: np.ndarray) -> str:
    """A sentence on weights that are not finite, which are gray."""
    count = int((~np.isfinite(weights)).sum())
    return f" Gray: not defined ({count:,} weights are not finite)." if count else ""


def scale_end(weights: np.ndarray) -> float:
    """Return the weight at the ends of the color scale; 1 if all weights are zero or non-finite."""
    sizes = np.abs(weights[np.isfinite(weights)])
    end = float(np.percentile(sizes, 99.7)) if sizes.size else 0.0
    return end or float(sizes.max(initial=0.0)) or 1.0


def _draw_weights(grid: ImageGrid, cell: int, weights: np.ndarray, end: float, *, signs: bool) -> AxesImage:
    """Draw weights (h, w) into a cell on the scale from -end to end."""
    image = grid.draw(cell, weights, cmap=_WEIGHTS, vmin=-end, vmax=end)
    grid.frame(cell, MUTED, 0.5)
    if signs:
        down, right = grid.layout.corner(cell)
        rows, columns = np.nonzero(weights < 0)
        tall, wide = (length / pixels for length, pixels in zip(grid.layout.image, weights.shape, strict=True))
        inks = np.where(weights[rows, columns] < -0.45 * end, PAPER, INK)
        grid.axes.scatter(right + (columns + 0.5) * wide, down + (rows + 0.5) * tall, marker="_", color=inks,
                          s=min(16.0, (50 * wide) ** 2), linewidths=1.0)  # at most 0.7 of a pixel wide
    return image


@styled
def filter_grid(weights: np.ndarray, *, title: str, groups: int = 1, limit: int = 30, channels: int = 12,
                unit: str = "filter", credit: str = "") -> Figure:
    """Draw the weights of each unit for each input channel on one color scale that is symmetric about zero.

    Args:
        weights: float (N, C, h, w), from C input channels to N units; for a grouped convolution, C channels per group.
        title, credit: lines at the top and at the bottom.
        groups: of the convolution; unit n has the input channels from n // (N / groups) * C.
        limit: largest number of units; 15 if they are too wide to be side by side.
        channels: largest number of input channels per unit.
        unit: name of a row.
    """
    if weights.ndim != 4 or weights.size == 0 or groups < 1 or len(weights) % groups:
        raise UsageError(f"weights must be of shape (N, C, h, w), N a multiple of the {groups} groups, got "
                         f"{weights.shape}")
    units, inputs, height, width = weights.shape
    across = min(inputs, channels)
    beside = max(1, min(-(-min(units, limit) // _ROWS), _CELLS // (across + 1)))  # with a cell for the name
    shown = min(units, limit, beside * _ROWS)
    values = weights[:shown, :across].astype(float)
    layout = GridLayout(count=-(-shown // beside) * beside * (across + 1), columns=beside * (across + 1),
                        size=(height, width), side=0.62, gap=0.06, right=0.95, top=0.2 if groups == 1 else 0.0,
                        above=0.0 if groups == 1 else 0.14, min_width=6.4)
    rows = f"the first {shown} of {units}" if shown < units else f"all {units}"
    columns = f"the first {across} of {inputs}" if across < inputs else f"all {inputs}"
    signs = max(height, width) <= 7
    reading = f"{_READING}{_SIGNS if signs else ''}{_nonfinite(values)}"
    grid = ImageGrid(layout, title=title, footer=(reading, credit), subtitle=(
        f"Each strip is a {unit} ({rows}), each image in it an input channel ({columns}), {height} x {width} weights, "
        "numbered from 0, on one scale."))
    end = scale_end(values)
    drawn = [_draw_weights(grid, row * (across + 1) + 1 + step, values[row, step], end, signs=signs)
             for row in range(shown) for step in range(across)]
    for row in range(shown):
        first = None if groups == 1 and row >= beside else row // (units // groups) * inputs
        _label_strip(grid, row * (across + 1), f"{unit} {row}", first, across)
    grid.figure.colorbar(drawn[0], cax=grid.colorbar_axes(), label="weight", extend="both")
    strips = f"{shown} strips of {across} images of {height} x {width} weights."
    return describe(grid.figure, f"{title}. {strips} {_READING} {credit}")


def _label_strip(grid: ImageGrid, cell: int, name: str, first: int | None, across: int) -> None:
    """Write the name of a unit, and the numbers of its input channels from `first`, if given."""
    down, right = grid.layout.corner(cell)
    tall, wide = grid.layout.image
    grid.axes.text(right + wide, down + tall / 2, name, fontsize=7, color=INK, ha="right", va="center")
    for step in range(across if first is not None else 0):
        grid.text_above(cell + 1 + step, f"ch. {(first or 0) + step}", size=6, color=MUTED, gap=0.02)


@styled
def class_neurons(weights: np.ndarray, bias: np.ndarray, class_names: Sequence[str], *, title: str,
                  layer: str = "fc1", credit: str = "") -> Figure:
    """Draw a last layer's weights as a class x neuron matrix, and name the neurons with the largest weights.

    Args:
        weights: float (K, N), from N neurons to K classes.
        bias: float (K,).
        class_names: K names.
        title, credit: lines at the top and at the bottom.
        layer: layer of the neurons.
    """
    classes, neurons = weights.shape if weights.ndim == 2 else (0, 0)
    if not classes or not neurons or bias.shape != (classes,) or len(class_names) != classes:
        raise UsageError(f"weights must be (K, N), bias (K,) and class_names K names, got {weights.shape}, "
                         f"{bias.shape} and {len(class_names)} names")
    shown = weights[:, :_NEURONS]
    which = f"the first {_NEURONS} of {neurons}" if neurons > _NEURONS else f"the {neurons}"
    subtitle = (f"Rows: classes; columns: {which} neurons of {layer}, in the order of their gallery. Orange: an active "
                "neuron raises the class score; blue: it lowers it.")
    tall = max(0.34 * classes, 1.4)
    note = f"The bias has the same scale.{_nonfinite(np.append(shown, bias))}"
    figure, bottom = page(11.3, tall, title, subtitle, (note, credit), above=0.25, below=0.45)
    axes, beside, scale = (inches(figure, left, bottom, wide, tall)
                           for left, wide in ((1.15, 6.3), (7.55, 0.25), (10.4, 0.13)))
    sizes = np.abs(np.append(shown, bias))
    end = float(sizes[np.isfinite(sizes)].max(initial=0.0)) or 1.0
    for part, values in ((axes, shown), (beside, bias[:, None])):
        image = part.imshow(values, cmap=_WEIGHTS, vmin=-end, vmax=end, aspect="auto", interpolation="none")
        part.grid(False)
    figure.colorbar(image, cax=scale, label="weight")
    _label_matrix(axes, beside, class_names, shown.shape[1], layer)
    summary = _name_largest(beside, shown, class_names)
    return describe(figure, f"{title}. Neurons with the largest positive weights: {summary}. {credit}".strip())


def _label_matrix(axes: Axes, beside: Axes, class_names: Sequence[str], neurons: int, layer: str) -> None:
    axes.set_yticks(range(len(class_names)), [verbatim(shorten(name, 15)) for name in class_names], fontsize=8.5)
    axes.set_xticks(range(0, neurons, _FIELD))
    axes.set_xlabel(f"neuron of {layer}")
    axes.tick_params(length=2)
    for border in range(_FIELD, neurons, _FIELD):
        axes.axvline(border - 0.5, color=MUTED, linewidth=0.6)
    for border in range(1, len(class_names)):
        axes.axhline(border - 0.5, color="#ffffff", linewidth=1.2)
    beside.set_xticks([0], ["bias"], fontsize=8)
    beside.set_yticks([])
    beside.tick_params(length=0)


def _name_largest(axes: Axes, weights: np.ndarray, class_names: Sequence[str]) -> str:
    """Write the neurons with the largest positive and negative weights next to each row; return a description."""
    for x, heading in ((1.0, "largest positive"), (6.2, "largest negative")):
        axes.text(x, -0.75, heading, fontsize=8, weight="bold", color=INK, va="center", clip_on=False)
    summary = []
    for row, (values, name) in enumerate(zip(weights, class_names, strict=True)):
        order = np.argsort(-values, kind="stable")
        positive = [str(neuron) for neuron in order[:_LARGEST] if values[neuron] > 0]
        negative = [str(neuron) for neuron in order[::-1][:_LARGEST] if values[neuron] < 0]
        for x, neurons in ((1.0, positive), (6.2, negative)):
            axes.text(x, row, "  ".join(neurons) or "none", fontsize=8, va="center", clip_on=False)
        summary.append(f"{name}: {listing(positive) or 'none'}")
    return "; ".join(summary)
