"""Objectives resolved for a model, with checked names, ranges and shapes, and the activations of their units."""

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError, nearest, require
from shiftscope.hooks import SoftmaxInput, capture, match_layer
from shiftscope.models.forward import device_and_dtype, placed_outputs
from shiftscope.placement import Placement
from shiftscope.visualization import objective_terms as term_types
from shiftscope.visualization.feature_extractor import FeatureExtractor
from shiftscope.visualization.initial_images import to_images
from shiftscope.visualization.model_info import CLASSES, ModelInfo, inspect_model
from shiftscope.visualization.objective_terms import Outputs, Term, UnitTerm, unit_maps
from shiftscope.visualization.objectives import (
    Direction,
    Diversity,
    Match,
    Objective,
    Part,
    Units,
    format_sum,
    objective,
)


@dataclass(frozen=True)
class Target:
    """An objective resolved for a model, with one score per image.

    The first `copies` images belong to the first unit, the next ones to the second, and so on.
    """

    names: list[str]  # of the images, for instance "fc1:17"
    terms: tuple[tuple[float, Term], ...]
    copies: int = 1

    @property
    def layers(self) -> list[str]:
        """Submodules whose output the terms use."""
        return sorted({term.layer for _, term in self.terms if term.layer != CLASSES})

    @property
    def only_classes(self) -> bool:
        """True if all terms are units of "class"."""
        return all(term.layer == CLASSES and isinstance(term, UnitTerm) for _, term in self.terms)

    @property
    def has_position(self) -> bool:
        """True if a term uses one position of a layer's output."""
        return any(isinstance(term, UnitTerm) and term.position is not None for _, term in self.terms)

    @property
    def unit_term(self) -> UnitTerm | None:
        """The term, if the objective is the activation of single units; None for sums, directions and the like."""
        (weight, term), *others = self.terms
        return term if not others and weight > 0 and isinstance(term, UnitTerm) else None

    def activations(self, outputs: Outputs, rows: torch.Tensor) -> torch.Tensor:
        """Return the value of the objective without diversity, (B,), for the images `rows`, int64 (B,)."""
        terms = tuple((weight, term) for weight, term in self.terms if not isinstance(term, term_types.DiversityTerm))
        return self._sum(terms or self.terms, outputs, rows, 0.0)

    def all_activations(self, outputs: Outputs) -> torch.Tensor:
        """Return the activation of each unit for each image, (B, U)."""
        values = [(weight * term.all_values(outputs)).expand(-1, len(self.names)) for weight, term in self.terms]
        return functools.reduce(torch.add, values).float()

    def is_dead(self, outputs: Outputs, rows: torch.Tensor) -> torch.Tensor:
        """Return which images leave the activation of their unit at or below zero at all positions, bool (B,).

        Always false for classes and sums, whose sign has no such meaning.
        """
        term = self.unit_term
        if term is None or term.layer == CLASSES:
            return torch.zeros_like(rows, dtype=torch.bool)
        if term.position is not None:
            return self.activations(outputs, rows) <= 0
        return term_types.max_activation(outputs[term.layer], self._units_of(term, rows), term.units_last) <= 0

    def scores(self, outputs: Outputs, rows: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return the maximized scores (B,): `term_types.class_score` for single classes, else the weighted sum."""
        weight, term = self.terms[0]
        if len(self.terms) == 1 and self.only_classes and isinstance(term, UnitTerm) and not term.after_relu:
            return weight * term_types.class_score(outputs[CLASSES], self._units_of(term, rows))
        return self._sum(self.terms, outputs, rows, leak)

    def _sum(self, terms: Sequence[tuple[float, Term]], outputs: Outputs, rows: torch.Tensor,
             leak: float) -> torch.Tensor:
        return torch.stack([weight * term.values(outputs, self._numbers(term, rows), leak)
                            for weight, term in terms]).sum(0)

    def _numbers(self, term: Term, rows: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(rows) if len(term.names) == 1 else rows // self.copies

    def _units_of(self, term: UnitTerm, rows: torch.Tensor) -> torch.Tensor:
        return term.indices.to(rows.device)[self._numbers(term, rows)]


def resolve_objective(goal: Objective, info: ModelInfo, *, copies: int = 1,
                      extractor: FeatureExtractor | None = None) -> Target:
    """Return the objective resolved for a model, with `copies` images per unit.

    `extractor` is required by objectives that match images.

    Raises:
        UsageError: if a layer or class is unknown, a unit or position is out of range, a vector or image has the
            wrong size, or the parts have different numbers of units.
    """
    require(isinstance(copies, int) and copies >= 1, "copies", copies, "an integer of at least 1")
    terms = [(weight, _term(part, info, copies, extractor)) for weight, part in goal.parts]
    count = max(len(term.names) for _, term in terms)
    for (_, part), (_, term) in zip(goal.parts, terms, strict=True):
        if len(term.names) not in (1, count):
            raise UsageError(f"{goal}: {part} has {len(term.names)} units and another part has {count}: use parts with "
                             "one unit or with the same number of units")
    names = [format_sum([(weight, term.names[row % len(term.names)]) for weight, term in terms])
             for row in range(count)]
    if copies > 1:
        names = [f"{name} #{copy + 1}" for name in names for copy in range(copies)]
    return Target(names, tuple(terms), copies)


def _term(part: Part, info: ModelInfo, copies: int, extractor: FeatureExtractor | None) -> Term:
    layer = match_layer(part.layer, info.layers, info.model)
    count = info.unit_count(layer)  # raises if the layer's output is not a tensor
    units_last = info.layers[layer].linear
    if isinstance(part, Units):
        return _unit_term(part, layer, info)
    if isinstance(part, Direction):
        return term_types.DirectionTerm(layer, [str(part)], _unit_vector(part, layer, count, info), units_last)
    if isinstance(part, Diversity):
        require(copies >= 2, "copies", copies, f"at least 2 for {part}, which compares the images of one unit")
        return term_types.DiversityTerm(layer, [str(part)], copies)
    return _match_term(part, layer, info, extractor)


def _unit_term(part: Units, layer: str, info: ModelInfo) -> Term:
    if part.units == "*":
        return term_types.MeanSquareTerm(layer, [str(part)], part.after_relu)
    indices = _unit_indices(part, layer, info)
    shape, units_last = info.layers[layer].shape or (), info.layers[layer].linear
    if part.position is not None:
        if len(shape) != 3 or units_last:
            raise UsageError(f"{part}: the output of layer {layer!r} has shape {shape}, without rows and columns: "
                             "leave out the position")
        if not (part.position[0] < shape[1] and part.position[1] < shape[2]):
            raise UsageError(f"{part}: positions of {layer!r} range from 0,0 to {shape[1] - 1},{shape[2] - 1} (row, "
                             "column)")
    head, _, tail = str(part).partition(f":{part.units}")
    labels = info.class_names if layer == CLASSES and info.class_names else range(info.unit_count(layer))
    names = [f"{head}:{labels[index]}{tail}" for index in indices]
    return UnitTerm(layer, names, torch.tensor(indices), units_last, part.position, part.after_relu)


def _unit_vector(part: Direction, layer: str, count: int, info: ModelInfo) -> torch.Tensor:
    shape, vector = info.layers[layer].shape or (), part.vector.to(torch.float64)
    if tuple(vector.shape) not in ((count,), shape):
        raise UsageError(f"{part}: the vector has shape {tuple(vector.shape)}, expected ({count},), one value per "
                         f"unit, or {shape}, the shape of the layer's output")
    length = float(vector.norm())
    require(0 < length < float("inf"), f"the length of the vector of {part}", length, "a number above 0")
    return vector / length


def _match_term(part: Match, layer: str, info: ModelInfo, extractor: FeatureExtractor | None) -> term_types.MatchTerm:
    images = to_images(part.images, info.shape, f"the image of {part}")
    if extractor is None:
        raise ValueError(f"{part} needs the layer's output for its image: pass extractor=")
    names = [str(part)] if len(images) == 1 else [f"match({part.layer}):{n}" for n in range(len(images))]
    return term_types.MatchTerm(layer, names, extractor.layer_output(images, layer).detach())


def _unit_indices(part: Units, layer: str, info: ModelInfo) -> list[int]:
    """Return the indices of the units of `part` in `layer`, its full name."""
    count = info.unit_count(layer)
    if part.units == "all":
        return list(range(count))
    if layer == CLASSES and part.units in info.class_names and not part.units.isdigit():
        return [info.class_names.index(part.units)]
    indices = []
    for piece in part.units.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+))?\s*", piece)
        if match is None:
            raise UsageError(_invalid_units(part, layer, info))
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < count:
            raise UsageError(f"{part}: the units of {layer!r} range from 0 to {count - 1}")
        indices.extend(range(first, last + 1))
    return indices


def _invalid_units(part: Units, layer: str, info: ModelInfo) -> str:
    if layer == CLASSES and info.class_names:
        return f"unknown class {part.units!r}: {nearest(part.units, info.class_names)}"
    if layer == CLASSES:
        return f"{part}: the class names are unknown: use an index, or pass class_names="
    return (f"{part}: units must be all, *, an index, a range as in 0-{info.unit_count(layer) - 1}, or a list of them "
            "as in 0,2")


def find_units(goal: str | Objective, model: nn.Module, info: ModelInfo) -> Target:
    """Return an objective, parsed if it is a string, resolved for a model with one image per unit."""
    parsed = objective(goal, info.class_names) if isinstance(goal, str) else goal
    return resolve_objective(parsed, info, extractor=FeatureExtractor(model, device_and_dtype(model)[1]))


class UnitActivations:
    """Computes the activations of the units of objectives; put the model into `frozen` meanwhile."""

    def __init__(self, model: nn.Module, goals: Sequence[str | Objective], shape: tuple[int, int, int],
                 class_names: Sequence[str] = ()):
        self.model, self.shape = model, shape
        self.extractor = FeatureExtractor(model, device_and_dtype(model)[1])
        self.info = inspect_model(model, shape, class_names)
        self.targets = [find_units(goal, model, self.info) for goal in goals]
        self.layers = sorted({layer for target in self.targets for layer in target.layers})

    def outputs(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the layer outputs for pixels (B, C, H, W)."""
        return self.extractor(pixels, self.layers)

    def outputs_at(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> dict[str, torch.Tensor]:
        """Return the layer outputs for uint8 images (B, C, h, w) at offsets (B, 2).

        A model's faster computation for placed images is used if it computes the full output of all layers.
        """
        with capture(self.model, self.layers) as outputs, SoftmaxInput() as watch:
            outputs[CLASSES] = watch.logits(placed_outputs(self.model, images, offsets, placement))
        if all(name in outputs and tuple(outputs[name].shape[1:]) == self.info.layers[name].shape
               for name in self.layers):
            return outputs
        return self.outputs(placement.place(images, offsets).to(device_and_dtype(self.model)[1]) / 255)

    def values(self, outputs: Outputs) -> torch.Tensor:
        """Return the activations of all units, (B, U), in the order of the objectives."""
        return self.finite(torch.cat([target.all_activations(outputs) for target in self.targets], 1))

    def finite(self, values: torch.Tensor) -> torch.Tensor:
        """Return activations that are all finite; raise a `ShiftscopeError` for others."""
        if not bool(values.isfinite().all()):
            raise ShiftscopeError(f"{self.info.model} returns NaN or infinity for some images: check the model's "
                                  "weights")
        return values

    def layer_maxima(self, outputs: Outputs) -> dict[str, torch.Tensor]:
        """Return the maximum (units,) of each unit over all images and positions, by layer."""
        return {name: unit_maps(outputs[name], self.info.layers[name].linear).flatten(2).amax((0, 2))
                for name in self.layers}
