"""A model in tables: which neurons speak for which class, all tensors, and what the units of each layer do."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from shiftscope.errors import UsageError
from shiftscope.reporting.style import (
    INK,
    MUTED,
    SIGNED,
    describe,
    foot,
    foot_height,
    head,
    head_height,
    styled,
    verbatim,
)
from shiftscope.reporting.wording import MISSING, count, listing, percent, shorten
from shiftscope.results import ParameterRow, UnitRow

_ROW = 10  # neurons in a row of the neuron gallery
_MOST = 100
_LOUDEST = 4


@styled
def class_neurons(weights: np.ndarray, bias: np.ndarray, class_names: Sequence[str], *, title: str,
                  layer: str = "fc1", credit: str = "") -> Figure:
    """Draw a last layer's weights as class x neuron, in the order of the neuron gallery, and name the loudest.

    Args:
        weights: float (K, N), from N neurons to K classes.
        bias: float (K,).
        class_names: K names.
        title: line at the top.
        layer: where the neurons are.
        credit: line at the foot, see `image_credit`.

    Raises:
        UsageError: sizes that do not fit together.
    """
    classes, neurons = weights.shape if weights.ndim == 2 else (0, 0)
    if not classes or not neurons or bias.shape != (classes,) or len(class_names) != classes:
        raise UsageError(f"weights must be (K, N), bias (K,) and class_names K names, got {weights.shape}, "
                         f"{bias.shape} and {len(class_names)} names")
    shown = weights[:, :_MOST]
    which = f"the first {_MOST} of {neurons}" if neurons > _MOST else f"the {neurons}"
    subtitle = (f"Each row is a class, each column one of {which} neurons of {layer}, numbered as in their gallery, "
                "ten to a field. Orange speaks for the class when the neuron fires, blue against it.")
    footer = ("Bias: what the class starts with, whatever the picture; on the same scale.", credit)
    figure, axes, beside, scale = _page(classes, title, subtitle, footer)
    end = float(np.abs(np.concatenate([shown.ravel(), bias])).max()) or 1.0
    image = axes.imshow(shown, cmap=SIGNED, vmin=-end, vmax=end, aspect="auto", interpolation="none")
    beside.imshow(bias[:, None], cmap=SIGNED, vmin=-end, vmax=end, aspect="auto", interpolation="none")
    figure.colorbar(image, cax=scale, label="weight")
    _label(axes, class_names, shown.shape[1], layer)
    _label_bias(beside)
    told = _loudest(beside, shown, class_names)
    return describe(figure, f"{title}. {' '.join(told)} {credit}".strip())


def _page(classes: int, title: str, subtitle: str, footer: tuple[str, ...]) -> tuple[Figure, Axes, Axes, Axes]:
    """Axes of the matrix, of the bias and of the color scale, laid out in inches."""
    width, tall = 11.3, max(0.34 * classes, 1.4)
    top, bottom = head_height(width, title, subtitle) + 0.25, foot_height(width, *footer) + 0.45
    height = top + tall + bottom
    figure = Figure(figsize=(width, height))
    head(figure, title, subtitle)
    foot(figure, *footer)

    def axes(left: float, wide: float) -> Axes:
        return figure.add_axes((left / width, bottom / height, wide / width, tall / height))

    return figure, axes(1.15, 6.3), axes(7.55, 0.25), axes(10.4, 0.13)


def _label(axes: Axes, class_names: Sequence[str], neurons: int, layer: str) -> None:
    axes.set_yticks(range(len(class_names)), [verbatim(shorten(name, 15)) for name in class_names], fontsize=8.5)
    axes.set_xticks(range(0, neurons, _ROW))
    axes.set_xlabel(f"neuron of {layer}")
    axes.grid(False)
    axes.tick_params(length=2)
    for border in range(_ROW, neurons, _ROW):
        axes.axvline(border - 0.5, color=MUTED, linewidth=0.6)
    for border in range(1, len(class_names)):
        axes.axhline(border - 0.5, color="#ffffff", linewidth=1.2)


def _label_bias(axes: Axes) -> None:
    axes.set_xticks([0], ["bias"], fontsize=8)
    axes.set_yticks([])
    axes.grid(False)
    axes.tick_params(length=0)


def _loudest(axes: Axes, weights: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """Write beside each row which neurons have the largest weights for and against; return it in words."""
    told = []
    axes.text(1.0, -0.75, "loudest for it", fontsize=8, weight="bold", color=INK, va="center", clip_on=False)
    axes.text(6.2, -0.75, "loudest against it", fontsize=8, weight="bold", color=INK, va="center", clip_on=False)
    for row, (values, name) in enumerate(zip(weights, class_names, strict=True)):
        order = np.argsort(-values, kind="stable")
        speak = [str(neuron) for neuron in order[:_LOUDEST] if values[neuron] > 0]
        oppose = [str(neuron) for neuron in order[::-1][:_LOUDEST] if values[neuron] < 0]
        axes.text(1.0, row, "  ".join(speak) or "none", fontsize=8, va="center", clip_on=False)
        axes.text(6.2, row, "  ".join(oppose) or "none", fontsize=8, va="center", clip_on=False)
        told.append(f"For {name} speak neurons {listing(speak) or 'none'}.")
    return told


def parameter_cells(rows: Sequence[ParameterRow]) -> list[tuple[str, str, str, str, str, str]]:
    """Return the table of parameters as text: name, shape, count, mean, std, norm.

    >>> parameter_cells([ParameterRow("fc2.bias", (10,), 10, 0.01234, 0.5, 1.6)])
    [('fc2.bias', '10', '10', '0.0123', '0.5', '1.6')]
    """
    return [(row.name, " x ".join(map(str, row.shape)) or "1", count(row.count), f"{row.mean:.3g}",
             f"{row.std:.3g}", f"{row.norm:.3g}") for row in rows]


UNIT_COLUMNS = ("layer", "measured", "units", "dead", "double another", "mean activation", "silent")
"""Heads of the table whose rows `unit_cells` gives; "silent": share of activations that the ReLU sets to zero."""


def unit_cells(rows: Sequence[UnitRow]) -> list[tuple[str, str, str, str, str, str, str]]:
    """Return the table of units as text, see `UNIT_COLUMNS`.

    >>> unit_cells([UnitRow("fc1", True, 100, (13, 68), ((2, 5),), 0.8611, 0.7)])
    [('fc1', 'after ReLU', '100', '2 (13, 68)', '1 (5 as 2)', '0.861', '70.0 %')]
    """
    return [(row.layer, "after ReLU" if row.after_relu else "as it is", count(row.units),
             _counted(len(row.dead), [str(unit) for unit in row.dead]),
             _counted(row.repeated, [f"{second} as {first}" for first, second in row.duplicates]),
             f"{row.mean:.3g}", MISSING if row.sparsity is None else percent(row.sparsity)) for row in rows]


def _counted(total: int, named: Sequence[str]) -> str:
    """A number with the first few that it counts."""
    shown = ", ".join(named[:_LOUDEST]) + (", …" if len(named) > _LOUDEST else "")
    return f"{total} ({shown})" if named else str(total)
