"""The one score a picture that is to be explained: a class before its softmax, or a unit of any layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from shiftscope.errors import require, unknown
from shiftscope.hooks import SoftmaxInput, capture, match_layer
from shiftscope.visualization.anatomy import CLASSES, Anatomy
from shiftscope.visualization.rectified import after_relu

Target = int | str | Sequence[int] | torch.Tensor | np.ndarray | None


@dataclass(frozen=True)
class Aim:
    """The units whose scores are explained."""

    layer: str
    """Name of a layer, or "class"."""
    linear: bool
    """Whether the units lie on the last axis of what the layer gives."""
    units: torch.Tensor | None
    """int64 (B,); None: the unit that gives most, for classes the one that the model chooses."""


def aim_at(target: Target, anatomy: Anatomy, count: int) -> Aim:
    """Find the units that a target names.

    Args:
        target: None, a class, one for each of `count` pictures, or "layer:unit".

    Raises:
        UsageError: an unknown layer or class, a unit out of range, another number of classes than pictures.
    """
    layer, unit = _named(target, anatomy) if isinstance(target, str) else (CLASSES, target)
    most, linear = anatomy.units(layer), anatomy.layers[layer].linear
    if unit is None:
        return Aim(layer, linear, None)
    units = torch.as_tensor(unit)
    require(units.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8), "target", target, "whole numbers")
    require(units.ndim == 0 or tuple(units.shape) == (count,), "target", tuple(units.shape),
            f"one class, or one for each of the {count} pictures")
    for wrong in units[(units < 0) | (units >= most)].flatten().tolist():
        require(False, "target", wrong, f"a unit of {layer}, from 0 to {most - 1}")
    return Aim(layer, linear, units.to(torch.int64).expand(count).clone())


def _named(target: str, anatomy: Anatomy) -> tuple[str, int]:
    """Return layer and unit of "class:Bag" or "fc1:17"."""
    head, colon, tail = target.rpartition(":")
    require(bool(colon), "target", target, "layer:unit, as in class:2, class:Bag, fc1:17 or conv2:3")
    if head == CLASSES and tail in anatomy.class_names:
        return head, anatomy.class_names.index(tail)
    if head == CLASSES and not tail.isdecimal():
        raise unknown("class", tail, anatomy.class_names)
    layer = CLASSES if head == CLASSES else match_layer(head, anatomy.layers, anatomy.model)
    require(tail.isdecimal(), "target", target, "one unit of a layer, as in fc1:17")
    return layer, int(tail)


class Score:
    """A model as captum wants it: pixels (B, C, H, W) to what each unit of a layer gives, (B, units).

    A unit of a layer that gives a map is its mean over the places. Scores have the dtype of the pixels, whatever the
    model computes in: what is summed over them keeps its digits.

    Args:
        layer: whose map is looked at, for Grad-CAM; empty for none.
    """

    def __init__(self, model: nn.Module, aim: Aim, dtype: torch.dtype, layer: str = ""):
        self.model, self.aim, self.dtype, self.layer = model, aim, dtype, layer
        self.rectified = nn.Identity()
        """What the ReLU after `layer` gives passes through here, where captum can look at it."""
        self.calls = 0

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.ask(pixels)[0]

    def ask(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what each unit gives, classes before a final softmax, and the model's output."""
        inner = [] if self.aim.layer == CLASSES else [self.aim.layer]
        through = [self.layer] if self.layer else []
        with capture(self.model, inner) as outputs, after_relu(self.model, through, self._pass), SoftmaxInput() as watch:
            given = self.model(pixels.to(self.dtype, copy=True))  # it may work in place
            outputs[CLASSES] = watch.logits(given)
        found = outputs[self.aim.layer].movedim(-1 if self.aim.linear else 1, 1)
        scores = found.flatten(2).mean(2) if found.ndim > 2 else found
        return scores.to(pixels.dtype), given

    def _pass(self, layer: str, values: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.rectified(values)
