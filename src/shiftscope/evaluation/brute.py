"""The plain model at every placement, one forward pass a chunk of placements: the reference for every other engine."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.evaluation.footprint import HELD, Footprint
from shiftscope.evaluation.pooling import QuickPooling
from shiftscope.hooks import Watch, channels_last
from shiftscope.models.forward import evaluating, home, placed_outputs, to_pixels
from shiftscope.placement import Placement

MEMORY = 256 * 2**20
"""Bytes that placements, activations and answers may take at once."""

CHUNK = {"cpu": 128, "gpu": 4096}
"""Placements a forward pass, at most. On a CPU larger chunks leave its caches; see `benchmarks/`."""

IMAGES = 16
"""Images a call, at most: a slow model still shows progress and stops soon when asked to."""


class BruteEngine:
    """Computes the logits of images at every placement with the model itself.

    Canvases are made on the model's device, in chunks that `memory` has room for. Convolutions run channels-last where
    the model takes it, and a model that has a `forward_placed` is asked through it. The model is in eval mode during
    a call and left as it was.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W).
        placement: where images may lie.
        shape: (C, h, w) of the images.
        offsets: int64 (P, 2); all of the placement's unless given.
        memory: bytes for placements, activations and answers. Should they not be there after all, chunks are halved.
        short_cuts: False: the whole canvas, in the plain memory layout.

    Attributes:
        images_at_once: images a call of `logits`, for the memory to be enough.
        chunk: placements a forward pass.

    Raises:
        UsageError: the model cannot take such pictures.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> engine = BruteEngine(TwoFullNet(), Placement(image=(28, 28), canvas=(56, 56), step=14), (1, 28, 28))
        >>> engine.logits(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
        torch.Size([2, 9, 10])
    """

    name = "brute"

    def __init__(self, model: nn.Module, placement: Placement, shape: Sequence[int],
                 offsets: torch.Tensor | None = None, *, memory: int = MEMORY, short_cuts: bool = True):
        self.model, self.placement, self.short_cuts = model, placement, short_cuts
        self.device, _ = home(model)
        self.offsets = (placement.offsets() if offsets is None else offsets).to(self.device)
        trial = torch.zeros(2, *shape, dtype=torch.uint8, device=self.device)
        self.channels_last = short_cuts and self._takes_channels_last(trial)
        with Footprint(self.model.parameters()) as footprint:
            answers = self.at(trial, self.offsets[:1].expand(2, 2))
        kind = "cpu" if self.device.type == "cpu" else "gpu"
        self.chunk = max(1, min(CHUNK[kind], memory * len(trial) // (HELD * max(footprint.bytes, 1))))
        self.images_at_once = max(1, min(IMAGES, memory // (8 * len(self.offsets) * answers[0].nbytes)))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, P, K) of images at all placements, in the order of the offsets.

        Args:
            images: uint8 (B, C, h, w) on the model's device.

        Raises:
            ShiftscopeError: out of memory with one placement at a time.
        """
        pairs = torch.cartesian_prod(torch.arange(len(images), device=self.device),
                                     torch.arange(len(self.offsets), device=self.device))
        found = self.at(images, self.offsets, pairs)
        return found.view(len(images), len(self.offsets), -1)

    def at(self, images: torch.Tensor, offsets: torch.Tensor, pairs: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits (n, K) of images at chosen offsets.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
            offsets: int64 (P, 2).
            pairs: int64 (n, 2), which image lies at which offset; unless given, each image lies at its own.
        """
        if pairs is None:
            pairs = torch.arange(len(images), device=self.device)[:, None].expand(-1, 2)
        done, parts = 0, []
        layout: AbstractContextManager[None] = channels_last(self.model) if self.channels_last else nullcontext()
        with evaluating(self.model), layout:
            while done < len(pairs):
                part = self._within_memory(images, offsets, pairs[done:])
                parts.append(part)
                done += len(part)
        return torch.cat(parts)

    def _within_memory(self, images: torch.Tensor, offsets: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """Return the logits of the first chunk of `pairs`, a smaller one where memory runs out."""
        while True:
            chunk = pairs[:self._chunk()]
            try:
                return self._ask(images[chunk[:, 0]], offsets[chunk[:, 1]].to(self.device))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._halve(len(chunk), error)

    def _chunk(self) -> int:
        return getattr(self, "chunk", CHUNK["cpu"])  # none is known while the first one is tried

    def _halve(self, size: int, error: Exception) -> None:
        if size == 1:
            raise ShiftscopeError(f"out of memory: {type(self.model).__name__} does not find room for one picture of "
                                  f"{' x '.join(map(str, self.placement.canvas))} pixels on {self.device}; free "
                                  f"memory, or choose another device") from error
        self.chunk = size // 2
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _ask(self, images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        if not self.short_cuts:
            return plain_logits(self.model, images, offsets, self.placement)
        with Watch() as watch, QuickPooling():
            outputs = placed_outputs(self.model, images, offsets, self.placement, channels_last=self.channels_last)
            logits = watch.logits(outputs)
        return _checked(self.model, logits, len(images))

    def _takes_channels_last(self, trial: torch.Tensor) -> bool:
        """Return whether convolutions can run in the other layout: a `view` of the model's own may not."""
        if not any(isinstance(module, nn.Conv2d) for module in self.model.modules()):
            return False
        self.channels_last = True
        try:
            self.at(trial, self.offsets[:1].expand(2, 2))
        except RuntimeError:  # an error that has other causes comes again in the usual layout
            return False
        return True


def plain_logits(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor:
    """Return the logits (B, K) of images at their offsets, all canvases in one batch, with no short cut of any kind.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
    """
    with evaluating(model), Watch() as watch:
        logits = watch.logits(model(to_pixels(placement.place(images, offsets), home(model)[1])))
    return _checked(model, logits, len(images))


def _checked(model: nn.Module, logits: torch.Tensor, count: int) -> torch.Tensor:
    if logits.ndim != 2 or len(logits) != count:
        raise UsageError(f"{type(model).__name__} must return a tensor (batch, classes), got {tuple(logits.shape)} for "
                         f"a batch of {count}")
    return logits


def out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out, on whatever device.

    >>> out_of_memory(MemoryError()), out_of_memory(RuntimeError("shape mismatch"))
    (True, False)
    """
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)
