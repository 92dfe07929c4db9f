"""A net's outputs for all circular shifts of its input in one pass: what placement averaging is made of."""

from typing import Any

import torch
from torch import nn

from shiftscope.dense.engine import DenseEngine, build_dense
from shiftscope.dense.refusal import NotDense
from shiftscope.layers import PlacementAverage
from shiftscope.layers.averaging import AverageOf
from shiftscope.outputs import OutputType
from shiftscope.placement import Placement


class DenseShifts:
    """Pixels (B, C, H, W) -> the model's outputs for every circular shift (B, H*W, K). Made by `dense_shifts`.

    The engine inside holds the weights as they were when it was built. Each call compares them with the model's own,
    value by value, and builds another engine where they have changed (trained further, loaded, moved to another
    device or dtype). Copies and pickles leave the engine behind and build their own.

    Args:
        model: used in eval mode.
        shape: (C, H, W) of the canvases.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, int, int]):
        self.model, self.shape = model, shape
        self._engine: DenseEngine | None = None
        self._weights: list[torch.Tensor] = []

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.engine().of_pixels(pixels)

    def engine(self) -> DenseEngine:
        """Return the engine for the weights as they are now.

        Raises:
            NotDense: the model has no exact twin.
        """
        weights = [value.detach() for value in (*self.model.parameters(), *self.model.buffers())]
        if self._engine is None or not _same(self._weights, weights):
            place = Placement(image=self.shape[1:], canvas=self.shape[1:], mode="circular")
            self._engine = build_dense(self.model, place, self.shape)
            self._weights = [value.clone() for value in weights]
        return self._engine

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_engine": None, "_weights": []}


def _same(before: list[torch.Tensor], now: list[torch.Tensor]) -> bool:
    return len(before) == len(now) and all(
        (a.dtype, a.device) == (b.dtype, b.device) and torch.equal(a, b) for a, b in zip(before, now, strict=True))


def dense_shifts(model: nn.Module, shape: tuple[int, int, int]) -> DenseShifts:
    """Return the function from pixels (B, C, H, W) to the model's outputs for all circular shifts (B, H*W, K).

    The shifts are in the order of rolls by (0, 0), (0, 1), .. (H-1, W-1). Outputs are what the model returns, its final
    (log-)softmax included, without gradients.

    Args:
        model: takes pixels (B, C, H, W), returns (B, K); used in eval mode.
        shape: (C, H, W).

    Raises:
        NotDense: the model has no exact twin; layer and reason are named.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 5)).eval()
        >>> everywhere, x = dense_shifts(net, (1, 5, 6)), torch.rand(2, 1, 5, 6)
        >>> torch.allclose(everywhere(x)[:, 8], net(x.roll((1, 2), (2, 3))), atol=1e-6)
        True
    """
    shifts = DenseShifts(model, shape)
    shifts.engine()
    return shifts


def placement_average(model: nn.Module, shape: tuple[int, int, int], *, of: AverageOf = "probabilities",
                      output_type: OutputType | None = None) -> PlacementAverage:
    """Return a model's average over all placements, in one pass through the dense engine where the model has a twin.

    Else the model is run H*W times; `average.all_shifts is None` tells.

    Args:
        model: takes pixels (B, C, H, W), returns logits, probabilities or log-probabilities (B, K).
        shape: (C, H, W).
        of, output_type: what is averaged, and what the model returns, see `PlacementAverage`.
    """
    try:
        everywhere = dense_shifts(model, shape)
    except NotDense:
        everywhere = None
    return PlacementAverage(model, all_shifts=everywhere, of=of, output_type=output_type)
