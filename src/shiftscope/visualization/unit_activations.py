"""Activations of the units of several objectives in one forward pass."""

from collections.abc import Sequence

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError
from shiftscope.hooks import Watch, capture
from shiftscope.models.forward import device_and_dtype, placed_outputs
from shiftscope.placement import Placement
from shiftscope.visualization.feature_extractor import FeatureExtractor
from shiftscope.visualization.model_info import CLASSES, ModelInfo, inspect_model
from shiftscope.visualization.objective_terms import unit_maps
from shiftscope.visualization.objectives import Objective, objective
from shiftscope.visualization.targets import Target, resolve_objective

Outputs = dict[str, torch.Tensor]
"""Layer outputs (B, ...) by name; "class" holds the model's output before its softmax."""


def find_units(goal: str | Objective, model: nn.Module, info: ModelInfo) -> Target:
    """Return an objective, parsed if it is a string, resolved for a model with one image per unit.

    Raises:
        UsageError: if a layer or class is unknown or a unit is out of range.
    """
    parsed = objective(goal, info.class_names) if isinstance(goal, str) else goal
    extractor = FeatureExtractor(model, device_and_dtype(model)[1])
    return resolve_objective(parsed, info, layer_output=extractor.layer_output)


class UnitActivations:
    """Computes the activations of the units of objectives; put the model into `frozen` meanwhile.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1].
        goals: objectives.
        shape: (C, H, W) of the model's input.
        class_names: if known.

    Raises:
        UsageError: if a layer or class is unknown, a unit is out of range, or the number of class names is wrong.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> units = UnitActivations(TwoFullNet(canvas=(6, 5)), ["class:2", "fc1:0-6"], (1, 6, 5))
        >>> units.values(units.outputs(torch.zeros(3, 1, 6, 5))).shape
        torch.Size([3, 8])
    """

    def __init__(self, model: nn.Module, goals: Sequence[str | Objective], shape: tuple[int, int, int],
                 class_names: Sequence[str] = ()):
        self.model, self.shape = model, shape
        self.extractor = FeatureExtractor(model, device_and_dtype(model)[1])
        self.info = inspect_model(model, shape, class_names)
        self.targets = [find_units(goal, model, self.info) for goal in goals]
        self.layers = sorted({layer for target in self.targets for layer in target.layers})

    def outputs(self, pixels: torch.Tensor) -> Outputs:
        """Return the layer outputs for pixels (B, C, H, W)."""
        return self.extractor(pixels, self.layers)

    def outputs_at(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> Outputs:
        """Return the layer outputs for uint8 images (B, C, h, w) at offsets (B, 2).

        A model's faster computation for placed images is used if it computes the full output of all layers.
        """
        with capture(self.model, self.layers) as outputs, Watch() as watch:
            outputs[CLASSES] = watch.logits(placed_outputs(self.model, images, offsets, placement))
        if all(name in outputs and tuple(outputs[name].shape[1:]) == self.info.layers[name].shape
               for name in self.layers):
            return outputs
        return self.outputs(placement.place(images, offsets).to(device_and_dtype(self.model)[1]) / 255)

    def values(self, outputs: Outputs) -> torch.Tensor:
        """Return the activations of all units, (B, U), in the order of the objectives.

        Raises:
            ShiftscopeError: if an activation is not finite.
        """
        values = torch.cat([target.all_activations(outputs) for target in self.targets], 1)
        if not bool(values.isfinite().all()):
            raise ShiftscopeError(f"{self.info.model} returns NaN or infinity for some images: check the model's "
                                  "weights")
        return values

    def layer_maxima(self, outputs: Outputs) -> dict[str, torch.Tensor]:
        """Return the maximum (units,) of each unit over all images and positions, by layer."""
        return {name: unit_maps(outputs[name], self.info.layers[name].linear).flatten(2).amax((0, 2))
                for name in self.layers}
