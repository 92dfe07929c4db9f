"""What a picture is to excite: parts that are weighted and summed, by strings or put together in Python."""

from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Units:
    """Some units of a layer, or the layer as a whole."""

    layer: str
    units: str
    """"all", numbers and ranges as in "0-9,12", the name of a class, or "*": the whole layer, its mean square."""
    place: tuple[int, int] | None = None
    """(row, column) of the layer's output; the mean over all places unless given."""
    after: bool = False
    """Whether what a ReLU would leave of the layer's output counts, instead of what its module gives."""

    def __str__(self) -> str:
        place = "" if self.place is None else f"@{self.place[0]},{self.place[1]}"
        return f"{self.layer}{'+relu' if self.after else ''}:{self.units}{place}"


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in a layer's space, see `direction`."""

    layer: str
    vector: torch.Tensor

    def __str__(self) -> str:
        return f"direction({self.layer})"


@dataclass(frozen=True, eq=False)
class Match:
    """What images give in a layer, see `match`."""

    layer: str
    images: Any

    def __str__(self) -> str:
        return f"match({self.layer})"


@dataclass(frozen=True)
class Diversity:
    """How little the pictures of one unit resemble each other, see `diversity`."""

    layer: str

    def __str__(self) -> str:
        return f"diversity({self.layer})"


Part = Units | Direction | Match | Diversity


@dataclass(frozen=True)
class Objective:
    """A weighted sum of parts. Objectives add, subtract, and scale with a number.

    Where a part means many units, there is one picture for each: `class:all` has one a class. Parts of one unit go
    with each unit of the others.

    Example:
        >>> from shiftscope.visualization import objective
        >>> str(objective("class:Bag") - 0.5 * objective("class:all"))
        'class:Bag - 0.5 class:all'
    """

    parts: tuple[tuple[float, Part], ...]

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.parts + other.parts)

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple((factor * scale, part) for scale, part in self.parts))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return -1.0 * self

    def __str__(self) -> str:
        return describe_sum([(scale, str(part)) for scale, part in self.parts])


def direction(layer: str, vector: Any) -> Objective:
    """Return the objective of going far along a vector in a layer's space, as for concepts or mixtures of neurons.

    Climbed is the projection on the vector, which is scaled to length 1.

    Args:
        layer: name of a submodule, or "class".
        vector: one number a unit (a channel counts by its mean over all places), or of the layer's whole output.

    Example:
        >>> str(2 * direction("fc1", [0.0, 1.0, -1.0]))
        '2 direction(fc1)'
    """
    return Objective(((1.0, Direction(layer, torch.as_tensor(vector).detach())),))


def match(layer: str, images: Any) -> Objective:
    """Return the objective of giving in a layer what given images give: one picture an image.

    Climbed is minus the squared distance, as a share of the squared length of what the image gives: 0 is a perfect
    match, -1 what silence would reach. Shows what a layer keeps of an image.

    Args:
        layer: name of a submodule, or "class".
        images: (C, H, W) or (N, C, H, W) of the model's size; uint8, or floats in [0, 1].

    References:
        Mahendran & Vedaldi, "Understanding deep image representations by inverting them", arXiv 1412.0035.
    """
    return Objective(((1.0, Match(layer, images)),))


def diversity(layer: str) -> Objective:
    """Return the objective that the pictures of one unit differ: `objective("conv2:7") + diversity("conv2")`.

    Climbed is minus the mean cosine between a picture's Gram matrix in the layer and those of the unit's other
    pictures; `visualize(..., copies=4)` says how many there are. What it gives lies between -1 and 1, so it wants a
    weight of the size of the unit's activations.

    References:
        Olah, Mordvintsev & Schubert, "Feature visualization", Distill, 2017.
    """
    return Objective(((1.0, Diversity(layer)),))


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
