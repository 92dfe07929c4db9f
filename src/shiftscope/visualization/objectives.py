"""Objectives of activation maximization: weighted sums of parts, written as strings or combined in Python."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from shiftscope.errors import UsageError
from shiftscope.visualization.model_info import CLASSES


@dataclass(frozen=True)
class Units:
    """Units of a layer, or the whole layer."""

    layer: str
    units: str  # "all", indices and ranges as in "0-9,12", a class name, or "*" for the mean square of the layer
    position: tuple[int, int] | None = None  # (row, column); by default the mean over all positions
    after_relu: bool = False  # apply a ReLU to the layer's output

    def __str__(self) -> str:
        position = "" if self.position is None else f"@{self.position[0]},{self.position[1]}"
        return f"{self.layer}{'+relu' if self.after_relu else ''}:{self.units}{position}"


@dataclass(frozen=True, eq=False)
class LayerPart:
    """A part that uses the whole output of a layer."""

    layer: str

    def __str__(self) -> str:
        return f"{type(self).__name__.lower()}({self.layer})"


@dataclass(frozen=True, eq=False)
class Direction(LayerPart):
    """See `direction`."""

    vector: torch.Tensor


@dataclass(frozen=True, eq=False)
class Match(LayerPart):
    """See `match`."""

    images: Any


class Diversity(LayerPart):
    """See `diversity`."""


Part = Units | Direction | Match | Diversity


@dataclass(frozen=True)
class Objective:
    """A weighted sum of parts. Objectives can be added, subtracted and multiplied by a number.

    A part with several units gives one image per unit: `class:all` gives one image per class. Parts with a single unit
    are added to each unit of the other parts.
    """

    parts: tuple[tuple[float, Part], ...]

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.parts + other.parts)

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple((factor * weight, part) for weight, part in self.parts))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return -1.0 * self

    def __str__(self) -> str:
        return format_sum([(weight, str(part)) for weight, part in self.parts])


def direction(layer: str, vector: Any) -> Objective:
    """Return the objective that maximizes the projection of a layer's output onto a vector, scaled to length 1.

    Args:
        layer: name of a submodule, or "class".
        vector: one value per unit (a channel is averaged over its positions), or of the shape of the layer's output.
    """
    return Objective(((1.0, Direction(layer, torch.as_tensor(vector).detach())),))


def match(layer: str, images: Any) -> Objective:
    """Return the objective that reproduces a layer's output for given images (feature inversion).

    The value is minus the squared distance divided by the squared norm of the output for the image: 0 for a perfect
    match, -1 for an output of zeros. There is one synthesized image per given image.

    Args:
        layer: name of a submodule, or "class".
        images: (C, H, W) or (N, C, H, W) of the model's input size; uint8, or floats in [0, 1].

    Reference: Mahendran & Vedaldi, "Understanding deep image representations by inverting them", arXiv 1412.0035.
    """
    return Objective(((1.0, Match(layer, images)),))


def diversity(layer: str) -> Objective:
    """Return the objective that makes the images of one unit differ: `objective("conv2:7") + diversity("conv2")`.

    The value, from -1 to 1, is minus the mean cosine similarity between an image's Gram matrix in the layer and those
    of the unit's other images (`visualize(..., copies=4)`). Scale it to the size of the unit's activations.

    Reference: Olah, Mordvintsev & Schubert, "Feature visualization", Distill, 2017.
    """
    return Objective(((1.0, Diversity(layer)),))


def format_sum(parts: list[tuple[float, str]]) -> str:
    """Return a weighted sum as a string: 'fc1:3 - 2 fc1:4'."""
    text = " ".join(f"{'-' if weight < 0 else '+'} {'' if abs(weight) == 1 else f'{abs(weight):g} '}{name}"
                    for weight, name in parts)
    return text.removeprefix("+ ") if text.startswith("+") else "-" + text.removeprefix("- ")


# ------------------------------------------------------------------ parsing

FORMS = ("layer:units, as in class:2, class:Bag, class:all, fc1:0-99, fc1:3,7, conv2:7, conv2:7@3,4 or conv2:*, or a "
         "sum of such terms, as in class:Bag - 0.5 class:Shirt")

_WEIGHT = r"(?:(?P<weight>\d+(?:\.\d*)?|\.\d+)(?:\s*\*\s*|\s+))?"
_FIRST = re.compile(rf"\s*(?P<sign>[+-])?\s*{_WEIGHT}")
_NEXT = re.compile(rf"\s*(?P<sign>[+-])\s*{_WEIGHT}(?=[\w.]+(?:\+relu)?\s*:)")
_POSITION = re.compile(r"(?P<units>.+?)\s*@\s*(?P<row>\d+)\s*,\s*(?P<column>\d+)")


def objective(text: str, class_names: Sequence[str] = ()) -> Objective:
    """Parse an objective. Its layers and units are checked when it is used with a model.

    A term is `layer:units`; `+relu` after the layer's name applies a ReLU. Terms are joined by + and -, each with an
    optional factor.

    ====================  ======================================================
    units                 meaning
    ====================  ======================================================
    `7`, `0-99`, `3,7,9`  these units, one image each
    `all`                 every unit, one image each
    `7@3,4`               the unit at row 3, column 4 of the layer's output
    `*`                   mean square of the layer's output (DeepDream)
    `Bag`                 for `class`: the class of that name
    ====================  ======================================================

    Args:
        class_names: names of classes, which may contain spaces, hyphens and colons; without them a name ends where
            the next term begins.

    Raises:
        UsageError: if the text does not have this form.

    Example:
        >>> objective("fc1:0-99").parts
        ((1.0, Units(layer='fc1', units='0-99', position=None, after_relu=False)),)
        >>> str(objective("class:T-shirt/top-.5 class:Bag"))
        'class:T-shirt/top - 0.5 class:Bag'
    """
    parts, rest, pattern = [], text, _FIRST
    while start := pattern.match(rest):
        term = rest[start.end():]
        end = _term_end(term, class_names)
        weight = float(start["weight"] or 1) * (-1 if start["sign"] == "-" else 1)
        parts.append((weight, _parse_term(term[:end], text)))
        rest, pattern = term[end:], _NEXT
    return Objective(tuple(parts))


def _term_end(text: str, class_names: Sequence[str]) -> int:
    """Return where the term at the beginning of `text` ends."""
    prefix = re.match(rf"{CLASSES}\s*:\s*", text)
    for name in sorted(class_names, key=len, reverse=True) if prefix else ():
        end = prefix.end() + len(name) if prefix else 0
        if text[:end].endswith(name) and (not text[end:].strip() or _NEXT.match(text, end)):
            return end
    following = _NEXT.search(text, max(text.find(":"), 0))  # text before the colon is the layer's name: fc1+relu
    return following.start() if following else len(text)


def _parse_term(term: str, text: str) -> Units:
    layer, colon, units = (part.strip() for part in term.partition(":"))
    if not (layer and colon and units):
        raise UsageError(f"the objective {text!r} must have the form {FORMS}")
    after_relu, layer = layer.endswith("+relu"), layer.removesuffix("+relu").strip()
    found = _POSITION.fullmatch(units) if layer != CLASSES else None
    if found is None:
        return Units(layer, units, after_relu=after_relu)
    return Units(layer, found["units"], (int(found["row"]), int(found["column"])), after_relu)
