"""Parts of objectives, bound to a model: what each gives for a batch of pictures.

A term knows the name of each of its pictures and maps outputs of layers to one number a picture. `units` are numbers
of pictures within the term, int64 (B,), on the device of the outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

from shiftscope.visualization.scores import activation, unlikeness

Outputs = Mapping[str, torch.Tensor]
"""What layers gave for a batch of pictures, by name."""


class Term(Protocol):
    """A part of an objective that a model can answer."""

    @property
    def layer(self) -> str:
        """The layer whose output it reads."""
        ...

    @property
    def names(self) -> list[str]:
        """One name a picture."""
        ...

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return one number a picture, (B,)."""
        ...


@dataclass(frozen=True)
class UnitTerm:
    """Activations of units."""

    layer: str
    names: list[str]
    numbers: torch.Tensor
    """int64, of the units in the layer."""
    last: bool
    """Whether units lie on the last axis."""
    place: tuple[int, int] | None = None
    after: bool = False

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return the activation of each picture's unit; `leak` is the slope of the ReLU below zero."""
        output = outputs[self.layer]
        output = F.leaky_relu(output, leak) if self.after else output
        return activation(output, self.numbers.to(units.device)[units], self.last, self.place)


@dataclass(frozen=True)
class EnergyTerm:
    """Mean square of all that a layer gives (Mordvintsev, Olah & Tyka, "Inceptionism", 2015)."""

    layer: str
    names: list[str]
    after: bool = False

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return the mean square of each picture."""
        output = outputs[self.layer]
        output = F.leaky_relu(output, leak) if self.after else output
        return output.flatten(1).square().mean(1)


@dataclass(frozen=True)
class DirectionTerm:
    """Projection on a vector of length 1."""

    layer: str
    names: list[str]
    vector: torch.Tensor
    """(units,), or the shape of the layer's output."""
    last: bool

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return each picture's projection; with one number a unit, of the means over places."""
        output = outputs[self.layer]
        vector = self.vector.to(output)
        if vector.ndim == 1 and output.ndim > 2:
            output = (output.movedim(-1, 1) if self.last else output).flatten(2).mean(2)
        return output.flatten(1) @ vector.flatten()


@dataclass(frozen=True)
class MatchTerm:
    """Minus the squared distance to what images give, as a share of their squared length."""

    layer: str
    names: list[str]
    wanted: torch.Tensor
    """(N, ...), what the images give in the layer."""

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return 0 for a perfect match, below 0 for others."""
        output = outputs[self.layer]
        wanted = self.wanted.to(output)[units].flatten(1)
        distance = (output.flatten(1) - wanted).square().sum(1)
        return -distance / wanted.square().sum(1).clamp_min(torch.finfo(output.dtype).tiny)


@dataclass(frozen=True)
class DiversityTerm:
    """How little the pictures of one unit resemble each other; needs whole groups of them."""

    layer: str
    names: list[str]
    copies: int

    def values(self, outputs: Outputs, units: torch.Tensor, leak: float = 0.0) -> torch.Tensor:
        """Return minus the mean likeness of each picture to the others of its unit."""
        return unlikeness(outputs[self.layer], self.copies)
