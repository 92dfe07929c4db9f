"""From an objective to the units of a model: names, ranges and shapes are checked here."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from shiftscope.errors import UsageError, nearest, require
from shiftscope.hooks import match_layer
from shiftscope.visualization.anatomy import CLASSES, Anatomy
from shiftscope.visualization.objectives import Direction, Diversity, Match, Objective, Part, Units, describe_sum
from shiftscope.visualization.scores import class_score, loudest
from shiftscope.visualization.starts import pictures_of
from shiftscope.visualization.terms import (
    DirectionTerm,
    DiversityTerm,
    EnergyTerm,
    MatchTerm,
    Outputs,
    Term,
    UnitTerm,
)

Ask = Callable[[torch.Tensor, str], torch.Tensor]
"""(pixels (N, C, H, W), layer) -> what the layer gives for them."""


@dataclass(frozen=True)
class Target:
    """An objective bound to a model: one score a picture.

    Pictures are numbered from 0: the `copies` of the first unit, then those of the second, and so on.
    """

    names: list[str]
    """Of the pictures, for instance "fc1:17"."""
    terms: tuple[tuple[float, Term], ...]
    copies: int = 1

    @property
    def layers(self) -> list[str]:
        """Layers whose output is needed, besides the model's own."""
        return sorted({term.layer for _, term in self.terms if term.layer != CLASSES})

    @property
    def of_classes(self) -> bool:
        """Whether it is about the model's classes alone."""
        return all(term.layer == CLASSES and isinstance(term, UnitTerm) for _, term in self.terms)

    @property
    def placed(self) -> bool:
        """Whether it asks for one place of a layer's output."""
        return any(isinstance(term, UnitTerm) and term.place is not None for _, term in self.terms)

    def activations(self, outputs: Outputs, rows: torch.Tensor) -> torch.Tensor:
        """Return what the units give for their pictures, classes before the softmax; diversity does not count.

        Args:
            outputs: by layer, (B, ...).
            rows: int64 (B,), numbers of the pictures.

        Returns:
            (B,).
        """
        counted = [(weight, term) for weight, term in self.terms if not isinstance(term, DiversityTerm)]
        return self._sum(counted or self.terms, outputs, rows, 0.0)

    def silent(self, outputs: Outputs, rows: torch.Tensor) -> torch.Tensor:
        """Return which pictures leave their unit at or below zero, everywhere that it is asked about, bool (B,).

        Always false for classes and for mixtures, of which a number below zero says nothing.
        """
        weight, term = self.terms[0]
        if len(self.terms) > 1 or weight <= 0 or not isinstance(term, UnitTerm) or term.layer == CLASSES:
            return torch.zeros_like(rows, dtype=torch.bool)
        if term.place is not None:
            return self.activations(outputs, rows) <= 0
        numbers = term.numbers.to(rows.device)[self._units(term, rows)]
        return loudest(outputs[term.layer], numbers, term.last) <= 0

    def scores(self, outputs: Outputs, rows: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return what the ascent climbs: the weighted sum, but a class alone by `class_score`, (B,)."""
        weight, term = self.terms[0]
        if len(self.terms) == 1 and self.of_classes and isinstance(term, UnitTerm) and not term.after:
            numbers = term.numbers.to(rows.device)[self._units(term, rows)]
            return weight * class_score(outputs[CLASSES], numbers)
        return self._sum(self.terms, outputs, rows, leak)

    def _sum(self, terms: "tuple[tuple[float, Term], ...] | list[tuple[float, Term]]", outputs: Outputs,
             rows: torch.Tensor, leak: float) -> torch.Tensor:
        return torch.stack([weight * term.values(outputs, self._units(term, rows), leak)
                            for weight, term in terms]).sum(0)

    def _units(self, term: Term, rows: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(rows) if len(term.names) == 1 else rows // self.copies


def bind(goal: Objective, anatomy: Anatomy, *, copies: int = 1, ask: Ask | None = None) -> Target:
    """Return the objective's units in a model.

    Args:
        copies: pictures of each unit.
        ask: shows pixels to the model; needed by objectives that match images.

    Raises:
        UsageError: an unknown layer or class (the nearest is named), a unit or place out of range (the range is
            named), a vector or image of another size, or parts with different numbers of units.
    """
    require(isinstance(copies, int) and copies >= 1, "copies", copies, "a whole number of at least 1")
    terms = [(scale, _term(part, anatomy, copies, ask)) for scale, part in goal.parts]
    most = max(len(term.names) for _, term in terms)
    for (_, part), (_, term) in zip(goal.parts, terms, strict=True):
        if len(term.names) not in (1, most):
            raise UsageError(f"{goal}: {part} means {len(term.names)} units, another part {most}: give parts of one "
                             "unit, or of equally many")
    names = [describe_sum([(scale, term.names[row % len(term.names)]) for scale, term in terms])
             for row in range(most)]
    if copies > 1:
        names = [f"{name} #{copy + 1}" for name in names for copy in range(copies)]
    return Target(names, tuple(terms), copies)


def _term(part: Part, anatomy: Anatomy, copies: int, ask: Ask | None) -> Term:
    layer = match_layer(part.layer, anatomy.layers, anatomy.model)
    units = anatomy.units(layer)  # fails where the layer gives no tensor
    last = anatomy.layers[layer].linear
    if isinstance(part, Units):
        return _units(part, layer, anatomy)
    if isinstance(part, Direction):
        return DirectionTerm(layer, [str(part)], _unit_vector(part, layer, units, anatomy), last)
    if isinstance(part, Diversity):
        require(copies >= 2, "copies", copies, f"at least 2 for {part}: the pictures of one unit are to differ")
        return DiversityTerm(layer, [str(part)], copies)
    return _match(part, layer, anatomy, ask)


def _units(part: Units, layer: str, anatomy: Anatomy) -> Term:
    if part.units == "*":
        return EnergyTerm(layer, [str(part)], part.after)
    numbers = choose(part, layer, anatomy)
    _check_place(part, layer, anatomy)
    head, _, tail = str(part).partition(f":{part.units}")
    names = [f"{head}:{_unit_name(layer, number, anatomy)}{tail}" for number in numbers]
    return UnitTerm(layer, names, torch.tensor(numbers), anatomy.layers[layer].linear, part.place, part.after)


def _check_place(part: Units, layer: str, anatomy: Anatomy) -> None:
    if part.place is None:
        return
    shape = anatomy.layers[layer].shape or ()
    if len(shape) != 3 or anatomy.layers[layer].linear:
        raise UsageError(f"{part}: the layer {layer!r} gives {shape} a picture, which has no rows and columns: leave "
                         "out the place")
    if not (part.place[0] < shape[1] and part.place[1] < shape[2]):
        raise UsageError(f"{part}: the places of {layer!r} run from 0,0 to {shape[1] - 1},{shape[2] - 1} (row, column)")


def _unit_vector(part: Direction, layer: str, units: int, anatomy: Anatomy) -> torch.Tensor:
    shape, vector = anatomy.layers[layer].shape or (), part.vector.to(torch.float64)
    if tuple(vector.shape) not in ((units,), shape):
        raise UsageError(f"{part}: the vector has shape {tuple(vector.shape)}, expected ({units},), one number a unit, "
                         f"or {shape}, the layer's output")
    length = float(vector.norm())
    require(0 < length < float("inf"), f"the length of the vector of {part}", length, "a number above 0")
    return vector / length


def _match(part: Match, layer: str, anatomy: Anatomy, ask: Ask | None) -> MatchTerm:
    pictures = pictures_of(part.images, anatomy.shape, f"the image of {part}")
    if ask is None:
        raise UsageError(f"{part} needs a model to show its image to: pass ask=")
    names = [str(part)] if len(pictures) == 1 else [f"match({part.layer}):{n}" for n in range(len(pictures))]
    return MatchTerm(layer, names, ask(pictures, layer).detach())


def _unit_name(layer: str, unit: int, anatomy: Anatomy) -> str:
    return anatomy.class_names[unit] if layer == CLASSES and anatomy.class_names else str(unit)


def choose(part: Units, layer: str, anatomy: Anatomy) -> list[int]:
    """Return the numbers of the units that `part` means in `layer`, whose full name it is.

    Raises:
        UsageError: see `bind`.
    """
    total = anatomy.units(layer)
    if part.units == "all":
        return list(range(total))
    if layer == CLASSES and part.units in anatomy.class_names and not part.units.isdigit():
        return [anatomy.class_names.index(part.units)]
    numbers = []
    for piece in part.units.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+))?\s*", piece)
        if match is None:
            raise UsageError(_no_such_units(part, layer, anatomy))
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < total:
            raise UsageError(f"{part}: the units of {layer!r} are numbered from 0 to {total - 1}")
        numbers.extend(range(first, last + 1))
    return numbers


def _no_such_units(part: Units, layer: str, anatomy: Anatomy) -> str:
    if layer == CLASSES and anatomy.class_names:
        return f"unknown class {part.units!r}: {nearest(part.units, anatomy.class_names)}"
    if layer == CLASSES:
        return f"{part}: the names of the classes are not known: give a number, or pass class_names="
    return (f"{part}: units must be all, *, a number, a range as in 0-{anatomy.units(layer) - 1}, or a list of them as "
            "in 0,2")
