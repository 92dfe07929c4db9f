"""What units of a model give for pictures: one number a picture and unit, several objectives in one pass."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError
from shiftscope.hooks import SoftmaxInput, capture
from shiftscope.models.forward import device_and_dtype, placed_outputs
from shiftscope.placement import Placement
from shiftscope.visualization.anatomy import CLASSES, Anatomy, examine
from shiftscope.visualization.binding import Target, bind
from shiftscope.visualization.language import objective
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.probe import Probe
from shiftscope.visualization.terms import Term, UnitTerm

Outputs = dict[str, torch.Tensor]
"""What layers gave, (B, ...) by name; under "class" the model's output before its softmax."""


def read(goal: str | Objective, model: nn.Module, anatomy: Anatomy) -> Target:
    """Return the units of an objective in a model, one picture each.

    Raises:
        UsageError: an unknown layer or class, a unit out of range.
    """
    parsed = objective(goal, anatomy.class_names) if isinstance(goal, str) else goal
    return bind(parsed, anatomy, ask=Probe(model, device_and_dtype(model)[1]).ask_layer)


def lone_units(target: Target) -> UnitTerm | None:
    """Return the units where each of a target's numbers is the activation of one; None for sums and the like."""
    (weight, term), *others = target.terms
    return term if not others and weight > 0 and isinstance(term, UnitTerm) else None


class Readout:
    """A model and the units that are read off it; the model is meant to be `frozen` meanwhile.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1].
        goals: objectives, by strings or put together.
        shape: (C, H, W) of the model's pictures.
        class_names: of the model's classes, where they are known.

    Raises:
        UsageError: an unknown layer or class, a unit out of range; another number of names than classes.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> readout = Readout(TwoFullNet(canvas=(6, 5)), ["class:2", "fc1:0-6"], (1, 6, 5))
        >>> readout.values(readout.ask(torch.zeros(3, 1, 6, 5))).shape
        torch.Size([3, 8])
    """

    def __init__(self, model: nn.Module, goals: Sequence[str | Objective], shape: tuple[int, int, int],
                 class_names: Sequence[str] = ()):
        self.model, self.shape, self.probe = model, shape, Probe(model, device_and_dtype(model)[1])
        self.anatomy = examine(model, shape, class_names)
        self.targets = [read(goal, model, self.anatomy) for goal in goals]
        self.layers = sorted({layer for target in self.targets for layer in target.layers})

    def ask(self, pixels: torch.Tensor) -> Outputs:
        """Return what the layers give for pixels (B, C, H, W)."""
        return self.probe.ask(pixels, self.layers)

    def ask_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> Outputs:
        """Return what the layers give for uint8 images (B, C, h, w) at offsets (B, 2).

        A model's own short cut around the empty canvas counts where it visits all the layers in their full size.
        """
        with capture(self.model, self.layers) as outputs, SoftmaxInput() as watch:
            outputs[CLASSES] = watch.logits(placed_outputs(self.model, images, offsets, placement))
        if all(self._complete(name, outputs.get(name)) for name in self.layers):
            return outputs
        return self.ask(placement.place(images, offsets).to(device_and_dtype(self.model)[1]) / 255)

    def _complete(self, layer: str, output: torch.Tensor | None) -> bool:
        return output is not None and tuple(output.shape[1:]) == self.anatomy.layers[layer].shape

    def values(self, outputs: Outputs) -> torch.Tensor:
        """Return the activations of all units for all pictures, (B, U): the units of the first objective come first.

        Raises:
            ShiftscopeError: one of them is not finite.
        """
        found = torch.cat([all_values(target, outputs) for target in self.targets], 1)
        if not bool(found.isfinite().all()):
            raise ShiftscopeError(f"{self.anatomy.model} gives NaN or infinity for some pictures: look for it in the "
                                  "model's weights")
        return found

    def peaks(self, outputs: Outputs) -> dict[str, torch.Tensor]:
        """Return by layer the most that each of its units gives at any place for any of the pictures, (units,)."""
        return {name: by_unit(outputs[name], self.anatomy.layers[name].linear).flatten(2).amax((0, 2))
                for name in self.layers}


def by_unit(output: torch.Tensor, last: bool) -> torch.Tensor:
    """Return a layer's output as (B, units, ...), at least 3 axes; `last` where it is (B, ..., units)."""
    output = output.movedim(-1, 1) if last else output
    return output if output.ndim > 2 else output[:, :, None]


def all_values(target: Target, outputs: Outputs) -> torch.Tensor:
    """Return what each of a target's units gives for each of the pictures, (B, U)."""
    terms = [weight * term_values(term, outputs) for weight, term in target.terms]
    return torch.stack([term.expand(-1, len(target.names)) for term in terms]).sum(0).float()


def term_values(term: Term, outputs: Outputs) -> torch.Tensor:
    """Return what each unit of a term gives for each picture, (B, U), or (B, 1) for one that goes with every unit."""
    output = outputs[term.layer]
    if isinstance(term, UnitTerm):  # all units at once
        maps = by_unit(output, term.last)
        maps = maps.relu() if term.after else maps
        means = maps.flatten(2).mean(2) if term.place is None else maps[:, :, *term.place]
        return means[:, term.numbers.to(output.device)]
    rows = torch.arange(len(term.names), device=output.device)
    return torch.stack([term.values(outputs, row.expand(len(output))) for row in rows], 1)
