"""The engine for averages over phases: each of their answers is a mean over some of all circular shifts."""

import itertools

import torch
from torch import nn

from shiftscope.dense.engine import DenseEngine, build_dense
from shiftscope.dense.refusal import NotDense
from shiftscope.dense.shifts import DenseShifts
from shiftscope.layers import PhaseAverage
from shiftscope.layers.averaging import MeanOfViews, phases
from shiftscope.models.forward import device_and_dtype, placed_pixels
from shiftscope.models.repair import Repaired
from shiftscope.placement import Placement


class PhasesEngine:
    """The outputs of a `PhaseAverage` at all placements, from those of its net for all circular shifts, in one pass.

    Args:
        average: the model.
        placement: its placements must be rolls of one canvas: not in mode crop, nor on a texture that stands still.
        shape: (C, h, w) of the images.

    Raises:
        NotDense: the placements are no rolls, or the net has no exact twin.
    """

    name = "dense"

    def __init__(self, average: PhaseAverage, placement: Placement, shape: tuple[int, int, int]):
        if placement.mode == "crop" or (placement.mode == "canvas" and not isinstance(placement.background, int)):
            raise NotDense("PhaseAverage", "the placements are no rolls of one canvas")
        self.average, self.placement = average, placement
        self._shifts = DenseShifts(average.model, (shape[0], *placement.canvas))
        self.images_at_once = self._shifts.engine().images_at_once

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B, P, K), placements in the order of `placement.offsets()`.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
        """
        place, device = self.placement, images.device
        pixels = placed_pixels(images, place.centered(len(images), device), place, device_and_dtype(self.average)[1])
        everywhere = self._shifts(pixels)  # (B, H*W, K)
        height, width = place.canvas
        rolls = place.offsets().to(device) - torch.tensor(place.middle, device=device)  # (P, 2)
        mean = MeanOfViews(self.average.of, self.average.output_type)
        for dy, dx in itertools.product(*map(phases, self.average.stride)):
            index = (rolls[:, 0] + dy) % height * width + (rolls[:, 1] + dx) % width
            mean.add(everywhere[None, :, index])
        return mean.result()


def build_engine(model: nn.Module, placement: Placement, shape: tuple[int, int, int]) -> DenseEngine | PhasesEngine:
    """Return the engine that computes a model's logits at all placements at once: `build_dense`, or for averages over
    phases a `PhasesEngine`.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1], returns (B, K); used in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.

    Raises:
        NotDense: the model or the placements have no exact twin; layer and reason are named.
    """
    inner = model.net if isinstance(model, Repaired) else model
    return PhasesEngine(inner, placement, shape) if isinstance(inner, PhaseAverage) else build_dense(
        model, placement, shape)
