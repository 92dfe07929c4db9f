"""The terms of an objective for a given model: one value per image, computed from the outputs of layers.

`units` are indices of images within a term, int64 (B,), on the device of the outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Outputs = Mapping[str, torch.Tensor]
"""Layer outputs (B, ...) by name; "class" holds the model's output before its softmax."""


@dataclass(frozen=True)
class Term:
    """Base class of terms."""

    layer: str
    names: list[str]  # one per image

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return one value per image, (B,); `leak` is the negative slope of the ReLU."""
        raise NotImplementedError

    def all_values(self, outputs: Outputs) -> torch.Tensor:
        """Return the value of each unit for each image, (B, U), or (B, 1) for a term with a single unit."""
        output = outputs[self.layer]
        rows = torch.arange(len(self.names), device=output.device)
        return torch.cat([self.values(outputs, row.expand(len(output)))[:, None] for row in rows], 1)


@dataclass(frozen=True)
class UnitTerm(Term):
    """Activations of units."""

    indices: torch.Tensor  # int64, of the units in the layer
    units_last: bool
    position: tuple[int, int] | None = None
    after_relu: bool = False

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        output = outputs[self.layer]
        output = F.leaky_relu(output, leak) if self.after_relu else output
        return unit_activation(output, self.indices.to(units.device)[units], self.units_last, self.position)

    def all_values(self, outputs: Outputs) -> torch.Tensor:
        maps = unit_maps(outputs[self.layer], self.units_last)
        maps = maps.relu() if self.after_relu else maps
        means = maps.flatten(2).mean(2) if self.position is None else maps[:, :, *self.position]
        return means[:, self.indices.to(means.device)]


@dataclass(frozen=True)
class MeanSquareTerm(Term):
    """Mean square of a layer's output (Mordvintsev, Olah & Tyka, "Inceptionism", 2015)."""

    after_relu: bool = False

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        output = outputs[self.layer]
        output = F.leaky_relu(output, leak) if self.after_relu else output
        return output.flatten(1).square().mean(1)


@dataclass(frozen=True)
class DirectionTerm(Term):
    """Projection onto a vector of length 1, (units,) or of the shape of the layer's output."""

    vector: torch.Tensor
    units_last: bool

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        output = outputs[self.layer]
        vector = self.vector.to(output)
        if vector.ndim == 1 and output.ndim > 2:
            output = unit_maps(output, self.units_last).flatten(2).mean(2)
        return output.flatten(1) @ vector.flatten()


@dataclass(frozen=True)
class MatchTerm(Term):
    """Minus the squared distance to the outputs for given images, relative to their squared norm."""

    reference: torch.Tensor  # (N, ...), the layer's outputs for the images

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        output = outputs[self.layer]
        reference = self.reference.to(output)[units].flatten(1)
        distance = (output.flatten(1) - reference).square().sum(1)
        return -distance / reference.square().sum(1).clamp_min(torch.finfo(output.dtype).tiny)


@dataclass(frozen=True)
class DiversityTerm(Term):
    """Diversity of the images of one unit; a batch holds whole groups of `copies` images."""

    copies: int

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        return gram_diversity(outputs[self.layer], self.copies)


def unit_maps(output: torch.Tensor, units_last: bool) -> torch.Tensor:
    """Return a layer's output (B, units, ...), or (B, ..., units) if `units_last`, as (B, units, positions, ...)."""
    output = output.movedim(-1, 1) if units_last else output
    return output if output.ndim > 2 else output[:, :, None]


def unit_activation(output: torch.Tensor, units: torch.Tensor, units_last: bool = False,
                    position: tuple[int, int] | None = None) -> torch.Tensor:
    """Return the activation (B,) of one unit per row: at a (row, column), or the mean over all positions."""
    maps = _select(output, units, units_last)
    return maps.flatten(1).mean(1) if position is None else maps[:, *position]


def max_activation(output: torch.Tensor, units: torch.Tensor, units_last: bool = False) -> torch.Tensor:
    """Return the maximum (B,) over all positions of one unit per row."""
    return _select(output, units, units_last).flatten(1).amax(1)


def _select(output: torch.Tensor, units: torch.Tensor, units_last: bool) -> torch.Tensor:
    maps = unit_maps(output, units_last)
    return maps[torch.arange(len(units), device=maps.device), units.to(maps.device)]


def class_score(logits: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return the score (B,) of one class per row: z_k - (mean of all z + logsumexp of the other z) / 2.

    z_k - mean gives the most recognizable images, but another class may have a higher logit; the log-odds
    z_k - logsumexp alone are maximized by suppressing the other classes. Their average avoids both. It is invariant to
    a constant added to all logits, so log-probabilities give the same score.
    """
    own = unit_activation(logits, units)
    if logits.ndim != 2 or logits.shape[1] < 2:
        return own
    others = logits.scatter(1, units[:, None].to(logits.device), -torch.inf)
    return own - (logits.mean(1) + others.logsumexp(1)) / 2


def gram_diversity(output: torch.Tensor, copies: int) -> torch.Tensor:
    """Return minus the mean cosine similarity between each row's Gram matrix and those of its group, (B,), -1 to 1.

    The Gram matrix G = F F^T of features F (units, positions) holds the co-activations of units at any position.
    Each group consists of `copies` consecutive rows of (B, units, ...).
    """
    features = unit_maps(output, False).flatten(2)
    gram = (features @ features.transpose(1, 2)).flatten(1)  # (B, units^2)
    length = gram.norm(dim=1, keepdim=True).clamp_min(torch.finfo(gram.dtype).eps)
    groups = (gram / length).unflatten(0, (-1, copies))
    cosines = groups @ groups.transpose(1, 2)  # (groups, copies, copies)
    others = cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)
    return -(others / (copies - 1)).flatten()
