"""Outputs for all circular shifts of the input in one pass, for averages over placements and over phases."""

import itertools
from typing import Any

import torch
from torch import nn

from shiftscope.dense.engine import DenseEngine, build_dense
from shiftscope.dense.unsupported import NotDense
from shiftscope.layers import PhaseAverage, PlacementAverage
from shiftscope.layers.averaging import AverageOf, MeanOfViews, phases
from shiftscope.models.forward import device_and_dtype, placed_pixels
from shiftscope.models.repair import Repaired
from shiftscope.outputs import OutputType
from shiftscope.placement import Placement


class DenseShifts:
    """Function from pixels (B, C, H, W) to the model's outputs for all circular shifts (B, H*W, K), without gradients.

    The shifts are in the order of rolls by (0, 0), (0, 1), .. (H-1, W-1). The engine holds a copy of the weights. Each
    call compares it with the model's weights and builds a new engine if they have changed (training, loading, another
    device or dtype). Copies and pickles build their own engine.

    Args:
        model: takes pixels (B, C, H, W), returns (B, K); it runs in eval mode.
        shape: (C, H, W) of the canvases.
        shared: see `build_dense`.

    Raises:
        NotDense: if the model is not supported; the message names layer and reason.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).eval()
        >>> all_shifts, x = DenseShifts(net, (1, 5, 6)), torch.rand(2, 1, 5, 6)
        >>> torch.allclose(all_shifts(x)[:, 8], net(x.roll((1, 2), (2, 3))), atol=1e-6)
        True
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int, int], *, shared: int | None = None):
        self.model, self.shape, self._shared = model, shape, shared
        self._engine: DenseEngine | None = None
        self._weights: list[torch.Tensor] = []
        self.engine()

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.engine().logits(pixels)

    def engine(self) -> DenseEngine:
        """Return the engine for the current weights."""
        weights = [value.detach() for value in (*self.model.parameters(), *self.model.buffers())]
        if self._engine is None or not _equal(self._weights, weights):
            place = Placement(image=self.shape[1:], canvas=self.shape[1:], mode="circular")
            self._engine = build_dense(self.model, place, self.shape, shared=self._shared)
            self._weights = [value.clone() for value in weights]
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_engine": None, "_weights": []}


def _equal(before: list[torch.Tensor], now: list[torch.Tensor]) -> bool:
    return len(before) == len(now) and all(
        (a.dtype, a.device) == (b.dtype, b.device) and torch.equal(a, b) for a, b in zip(before, now, strict=True))


def placement_average(model: nn.Module, shape: tuple[int, int, int], *, of: AverageOf = "probabilities",
                      output_type: OutputType | None = None) -> PlacementAverage:
    """Return a model's average over all placements, computed by the dense engine if it supports the model.

    Otherwise the model runs H*W times and `average.all_shifts` is None.

    Args:
        model: takes pixels (B, C, H, W), returns logits, probabilities or log-probabilities (B, K).
        shape: (C, H, W).
        of, output_type: see `PlacementAverage`.
    """
    try:
        everywhere = DenseShifts(model, shape)
    except NotDense:
        everywhere = None
    return PlacementAverage(model, all_shifts=everywhere, of=of, output_type=output_type)


class PhaseAverageEngine:
    """Computes the outputs of a `PhaseAverage` at all placements from those of its network for all circular shifts.

    Args:
        average: the model.
        placement: its placements must be rolls of one canvas: mode canvas or circular, and no texture in mode canvas.
        shape: (C, h, w) of the images.
        shared: see `build_dense`; of the network.

    Attributes:
        shared: number of operations of the network that placements share.

    Raises:
        NotDense: if the placements are not rolls, or the network is not supported.
    """

    name = "dense"

    def __init__(self, average: PhaseAverage, placement: Placement, shape: tuple[int, int, int], *,
                 shared: int | None = None):
        is_fixed = placement.mode == "canvas" and not isinstance(placement.background, int)
        if is_fixed or not placement.geometry.keeps_pixels:
            raise NotDense("PhaseAverage", "the placements are not rolls of one canvas")
        self.average, self.placement = average, placement
        self._shifts = DenseShifts(average.model, (shape[0], *placement.canvas), shared=shared)
        engine = self._shifts.engine()
        self.images_per_call, self.shared = engine.images_per_call, engine.shared

    @torch.no_grad()
    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B, P, K) for images uint8 (B, C, h, w) on the model's device."""
        place, device = self.placement, images.device
        pixels = placed_pixels(images, place.centered(len(images), device), place, device_and_dtype(self.average)[1])
        outputs = self._shifts(pixels)  # (B, H*W, K)
        height, width = place.canvas
        rolls = place.offsets().to(device) - torch.tensor(place.middle, device=device)  # (P, 2)
        mean = MeanOfViews(self.average.of, self.average.output_type)
        for dy, dx in itertools.product(*map(phases, self.average.stride)):
            index = (rolls[:, 0] + dy) % height * width + (rolls[:, 1] + dx) % width
            mean.add(outputs[None, :, index])
        return mean.result()


def build_engine(model: nn.Module, placement: Placement, shape: tuple[int, int, int], *,
                 shared: int | None = None) -> DenseEngine | PhaseAverageEngine:
    """Return the dense engine of a model: a `PhaseAverageEngine` for averages over phases, else `build_dense`.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1], returns (B, K); it runs in eval mode.
        placement: its canvas is the model's input.
        shape: (C, h, w) of the images.
        shared: see `build_dense`.

    Raises:
        NotDense: if the model or the placements are not supported.
    """
    inner = model.net if isinstance(model, Repaired) else model
    if isinstance(inner, PhaseAverage):
        return PhaseAverageEngine(inner, placement, shape, shared=shared)
    return build_dense(model, placement, shape, shared=shared)
