"""Layer outputs of a model, in batches that fit into memory."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn

from shiftscope.evaluation.memory import MemoryChunks
from shiftscope.hooks import SoftmaxInput, capture
from shiftscope.outputs import NONFINITE_CLASS, classify
from shiftscope.visualization.model_info import CLASSES, OUTPUT, ModelInfo

MEMORY = {"cpu": 64, "gpu": 4096}  # default in MiB for a batch; on CPUs a batch that fits the caches is faster

T = TypeVar("T")


class FeatureExtractor:
    """Computes layer outputs for pixels of any floating dtype."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        self.model, self.dtype = model, dtype

    def __call__(self, pixels: torch.Tensor, layers: Iterable[str], leak: float = 0.0) -> dict[str, torch.Tensor]:
        """Return the outputs of layers, the model's output (`OUTPUT`) and that before a final softmax ("class")."""
        with capture(self.model, layers) as outputs, SoftmaxInput(leak) as watch:
            outputs[OUTPUT] = self.model(pixels.to(self.dtype, copy=True))  # a model may change its input in place
            outputs[CLASSES] = watch.logits(outputs[OUTPUT])
        return outputs

    def layer_output(self, pixels: torch.Tensor, layer: str) -> torch.Tensor:
        """Return the output of one layer for pixels (N, C, H, W) on any device."""
        with torch.no_grad():
            device = next((tensor.device for tensor in (*self.model.parameters(), *self.model.buffers())), "cpu")
            return self(pixels.to(device), [layer] if layer != CLASSES else [])[layer]


def predictions_of(outputs: torch.Tensor, count: int) -> dict[str, torch.Tensor]:
    """Return class and confidence for `count` rows of a model's output; -1 and 0 if it holds no predictions."""
    if outputs.ndim != 2:
        return {"predictions": torch.full((count,), NONFINITE_CLASS), "confidence": torch.zeros(count)}
    classes, confidence = classify(outputs)
    return {"predictions": classes, "confidence": confidence.float()}


def batch_size_for(info: ModelInfo, copies: int, dtype: torch.dtype, device: torch.device, memory: int | None) -> int:
    """Return the number of images of a batch, a multiple of `copies`, for a memory in MiB (default: by device)."""
    available = (memory or MEMORY["cpu" if device.type == "cpu" else "gpu"]) * 2**20
    channels, height, width = info.shape
    # outputs of the innermost layers, their gradients, and a dozen tensors of the image's size
    values = 2 * info.activation_count + 12 * channels * height * width
    return max(1, available // (values * dtype.itemsize * copies)) * copies


def in_chunks(make: Callable[[torch.Tensor], T], rows: torch.Tensor, length: int, least: int = 1) -> list[T]:
    """Apply `make` to chunks of rows and return the results; a chunk that does not fit into memory is halved.

    Args:
        rows: int64 (B,).
        length: rows of a chunk.
        least: rows that stay together; a chunk of so many is not halved, its error comes through.

    Example:
        >>> def make(rows):
        ...     if len(rows) > 2:
        ...         raise MemoryError
        ...     return rows.tolist()
        >>> in_chunks(make, torch.arange(5), 4)
        [[0, 1], [2, 3], [4]]
    """
    made = []
    for chunk in MemoryChunks(len(rows), length, multiple=least):
        with chunk as part:
            made.append(make(rows[part]))
    return made
