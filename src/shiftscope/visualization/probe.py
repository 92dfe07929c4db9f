"""A model under the eyes of an ascent: what its layers give for pixels, in chunks that its memory holds."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.evaluation.memory import MemoryChunks
from shiftscope.hooks import Watch, capture, channels_last
from shiftscope.visualization.anatomy import CLASSES, OUTPUT, Anatomy
from shiftscope.visualization.binding import Target

MEMORY = {"cpu": 64, "gpu": 4096}
"""MiB for the pictures that are made at once: on CPUs what stays near their caches is faster than more."""

T = TypeVar("T")


class Probe:
    """A model that is asked about pixels of any floating type."""

    def __init__(self, model: nn.Module, dtype: torch.dtype):
        self.model, self.dtype = model, dtype

    def ask(self, pixels: torch.Tensor, layers: Iterable[str], leak: float = 0.0) -> dict[str, torch.Tensor]:
        """Return what layers give, under `OUTPUT` the model's output, and under "class" that before a final softmax."""
        with capture(self.model, layers) as outputs, Watch(leak) as watch:
            outputs[OUTPUT] = self.model(pixels.to(self.dtype, copy=True))  # it may work in place
            outputs[CLASSES] = watch.logits(outputs[OUTPUT])
        return outputs

    def ask_layer(self, pixels: torch.Tensor, layer: str) -> torch.Tensor:
        """Return what one layer gives for pixels (N, C, H, W) of any device."""
        with torch.no_grad():
            device = next((tensor.device for tensor in (*self.model.parameters(), *self.model.buffers())), "cpu")
            return self.ask(pixels.to(device), [layer] if layer != CLASSES else [])[layer]

    def check(self, target: Target, pixels: torch.Tensor) -> None:
        """Raise a `UsageError` unless the scores of the first unit depend on its pictures."""
        rows = torch.arange(target.copies, device=pixels.device)
        leaf = pixels[:target.copies].clone().requires_grad_()
        scores = target.scores(self.ask(leaf, target.layers), rows)
        if not scores.requires_grad or torch.autograd.grad(scores.sum(), leaf, allow_unused=True)[0] is None:
            raise UsageError(f"{target.names[0]} does not depend on the picture: the model cuts the gradient "
                             "(no_grad, detach or whole numbers) on the way; choose an earlier layer")

    def takes_channels_last(self, target: Target, pixels: torch.Tensor) -> bool:
        """Return whether the model works with its filters in another memory layout: a `view` of its own may not."""
        try:
            with channels_last(self.model):
                self.check(target, pixels)
        except RuntimeError:  # an error that has other causes comes again in the usual layout
            return False
        return True


def chunk_length(anatomy: Anatomy, copies: int, dtype: torch.dtype, device: torch.device, memory: int | None) -> int:
    """Return how many pictures are made at once, whole groups of `copies`.

    Counted are the outputs of the innermost layers and their gradients, and a dozen tensors of the picture's size.

    Args:
        memory: MiB; what suits the device unless given.
    """
    room = (memory or MEMORY["cpu" if device.type == "cpu" else "gpu"]) * 2**20
    channels, height, width = anatomy.shape
    numbers = 2 * anatomy.numbers + 12 * channels * height * width
    groups = room // (numbers * dtype.itemsize * copies)
    return max(1, groups) * copies


def in_chunks(make: Callable[[torch.Tensor], T], rows: torch.Tensor, length: int, least: int = 1) -> list[T]:
    """Return what `make` gives for each chunk of rows; a chunk that does not fit into memory is halved.

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
