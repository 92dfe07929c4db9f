"""What a picture is to excite: classes and units of layers, by strings or put together."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from shiftscope.errors import UsageError, nearest
from shiftscope.hooks import match_layer
from shiftscope.visualization.anatomy import CLASSES, Anatomy

FORMS = "layer:units, as in class:2, class:Bag, class:all, fc1:0-99 or conv2:7"


@dataclass(frozen=True)
class Units:
    """Some units of a layer, as text: "all", a number, a range "0-99", or the name of a class."""

    layer: str
    units: str

    def __str__(self) -> str:
        return f"{self.layer}:{self.units}"


@dataclass(frozen=True)
class Objective:
    """A weighted sum of units' activations. Objectives add, subtract, and scale with a number.

    Where a part means many units, there is one picture for each: `class:all` has one a class. Parts of one unit go
    with each unit of the others.

    Example:
        >>> str(objective("class:Bag") - 0.5 * objective("class:all"))
        'class:Bag - 0.5 class:all'
    """

    parts: tuple[tuple[float, Units], ...]

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.parts + other.parts)

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple((factor * scale, units) for scale, units in self.parts))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return -1.0 * self

    def __str__(self) -> str:
        return describe_sum([(scale, str(units)) for scale, units in self.parts])


def objective(text: str) -> Objective:
    """Return the objective that a string describes; whether there are such units shows when a model is given.

    Raises:
        UsageError: another form.

    Example:
        >>> objective("fc1:0-99").parts
        ((1.0, Units(layer='fc1', units='0-99')),)
    """
    layer, colon, units = (part.strip() for part in text.partition(":"))
    if not (layer and colon and units):
        raise UsageError(f"the objective {text!r} must have the form {FORMS}")
    return Objective(((1.0, Units(layer, units)),))


def describe_sum(parts: list[tuple[float, str]]) -> str:
    """Return a weighted sum in words.

    >>> describe_sum([(1.0, "fc1:3"), (-2.0, "fc1:4")])
    'fc1:3 - 2 fc1:4'
    """
    words = []
    for scale, name in parts:
        sign = "-" if scale < 0 else "+"
        size = "" if abs(scale) == 1 else f"{abs(scale):g} "
        words.append(f"{sign} {size}{name}")
    text = " ".join(words)
    return text.removeprefix("+ ") if text.startswith("+") else "-" + text.removeprefix("- ")


@dataclass(frozen=True)
class Target:
    """An objective bound to a model: U scores, one for each picture."""

    names: list[str]
    """U names, for instance "fc1:17"."""
    parts: tuple[tuple[float, str, bool, torch.Tensor], ...]
    """(weight, layer, whether units lie on the last axis, int64 (U,) units) of every part."""

    @property
    def layers(self) -> list[str]:
        """Layers whose output is needed, besides the model's own."""
        return sorted({layer for _, layer, _, _ in self.parts if layer != CLASSES})

    def activations(self, outputs: Mapping[str, torch.Tensor], rows: slice) -> torch.Tensor:
        """Return what the units give for their pictures; classes before the softmax.

        Args:
            outputs: by layer, (B, ...); a batch of the pictures of the units in `rows`.
            rows: which of the U units, B of them.

        Returns:
            (B,).
        """
        return sum_of([weight * activation(outputs[layer], units[rows], last)
                       for weight, layer, last, units in self.parts])

    def scores(self, outputs: Mapping[str, torch.Tensor], rows: slice) -> torch.Tensor:
        """Return what the ascent climbs: `activations`, but classes by `class_score`, (B,)."""
        return sum_of([weight * (class_score(outputs[layer], units[rows]) if layer == CLASSES
                                 else activation(outputs[layer], units[rows], last))
                       for weight, layer, last, units in self.parts])


def sum_of(terms: list[torch.Tensor]) -> torch.Tensor:
    """Return the sum of tensors of one shape."""
    return torch.stack(terms).sum(0)


def class_score(logits: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return how far each row's class stands out: z_k - (mean of all z + logsumexp of the other z) / 2.

    The mean alone gives the best garments, but a rival may score higher still; the log-odds z_k - logsumexp alone
    always win, but by silencing rivals. Half of each is recognisable and wins. A constant added to all logits changes
    nothing, so log-probabilities give the same as logits.

    Args:
        logits: (B, K), or any output with units on axis 1.
        units: int64 (B,), classes.

    Returns:
        (B,).

    Example:
        >>> z = torch.tensor([[2.0, 0.0]])
        >>> class_score(z, torch.tensor([0])), class_score(z.log_softmax(1), torch.tensor([0]))
        (tensor([1.5000]), tensor([1.5000]))
    """
    own = activation(logits, units)
    if logits.ndim != 2 or logits.shape[1] < 2:
        return own
    rivals = logits.scatter(1, units[:, None].to(logits.device), -torch.inf)
    return own - (logits.mean(1) + rivals.logsumexp(1)) / 2


def activation(output: torch.Tensor, units: torch.Tensor, last: bool = False) -> torch.Tensor:
    """Return each row's activation of its own unit, the mean over all further axes.

    Args:
        output: (B, units, ...), or (B, ..., units) where `last`.
        units: int64 (B,).

    Returns:
        (B,).

    Example:
        >>> activation(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([2., 3.])
    """
    if last:
        output = output.movedim(-1, 1)
    chosen = output[torch.arange(len(units), device=output.device), units.to(output.device)]  # (B, ...)
    return chosen.flatten(1).mean(1) if chosen.ndim > 1 else chosen


def bind(goal: Objective, anatomy: Anatomy) -> Target:
    """Return the objective's units in a model.

    Raises:
        UsageError: an unknown layer or class (the nearest is named), a unit out of range (the range is named), or
            parts with different numbers of units.
    """
    parts, columns = [], []
    for scale, units in goal.parts:
        layer = match_layer(units.layer, anatomy.layers, anatomy.model)
        chosen = choose(units, layer, anatomy)
        parts.append((scale, layer, anatomy.layers[layer].linear, torch.tensor(chosen)))
        columns.append([f"{units.layer}:{_unit_name(layer, unit, anatomy)}" for unit in chosen])
    most = max(len(column) for column in columns)
    for (_, units), column in zip(goal.parts, columns, strict=True):
        if len(column) not in (1, most):
            raise UsageError(f"{goal}: {units} means {len(column)} units, another part {most}: give parts of one unit, "
                             "or of equally many")
    names = [describe_sum([(scale, column[row % len(column)])
                           for (scale, _), column in zip(goal.parts, columns, strict=True)]) for row in range(most)]
    return Target(names, tuple((scale, layer, last, units.expand(most)) for scale, layer, last, units in parts))


def _unit_name(layer: str, unit: int, anatomy: Anatomy) -> str:
    return anatomy.class_names[unit] if layer == CLASSES and anatomy.class_names else str(unit)


def choose(units: Units, layer: str, anatomy: Anatomy) -> list[int]:
    """Return the numbers of the units that `units` means in `layer`, whose full name it is.

    Raises:
        UsageError: see `bind`.
    """
    total = anatomy.units(layer)
    if units.units == "all":
        return list(range(total))
    if layer == CLASSES and units.units in anatomy.class_names and not units.units.isdigit():
        return [anatomy.class_names.index(units.units)]
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", units.units)
    if match is None:
        raise UsageError(_no_such_units(units, layer, anatomy))
    first, last = int(match[1]), int(match[2] or match[1])
    if not first <= last < total:
        raise UsageError(f"{units}: the units of {layer!r} are numbered from 0 to {total - 1}")
    return list(range(first, last + 1))


def _no_such_units(units: Units, layer: str, anatomy: Anatomy) -> str:
    if layer == CLASSES and anatomy.class_names:
        return f"unknown class {units.units!r}: {nearest(units.units, anatomy.class_names)}"
    if layer == CLASSES:
        return f"{units}: the names of the classes are not known: give a number, or pass class_names="
    return f"{units}: units must be all, a number, or a range as in 0-{anatomy.units(layer) - 1}"
