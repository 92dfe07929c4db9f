"""The plain model at every placement, one forward pass a chunk of placements: the reference for every other engine."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.evaluation.footprint import HELD, Footprint
from shiftscope.evaluation.pooling import QuickPooling
from shiftscope.evaluation.windows import Windows
from shiftscope.hooks import channels_last
from shiftscope.models.forward import device_and_dtype, evaluating, placed_outputs, to_pixels
from shiftscope.modules import model_name, out_of_memory
from shiftscope.outputs import as_floats
from shiftscope.placement import Placement

MEMORY = 256 * 2**20
"""Bytes that placements, activations and answers may take at once."""

CHUNK = {"cpu": (64, 512), "gpu": (1, 4096)}
"""Placements a forward pass, at least and at most, where `memory` has room."""

CACHE = 24 * 2**20
"""Bytes that the hungriest operation works on at once on a CPU. Larger chunks leave its caches, and glibc gives blocks
above 32 MiB back to the system: the convnet then takes 1.6 times as long. Smaller ones pay for each call."""

TIMED, CLEARLY = 32, 0.9
"""Placements that both memory layouts are timed on; the plain one is taken below this share of the other's time."""

STRIPS = 4
"""Part of the memory that strips may take is one in so many: they are there beside the chunk."""

IMAGES = 16
"""Images a call, at most: a slow model still shows progress and stops soon when asked to."""


class BruteEngine:
    """Computes the logits of images at every placement with the model itself.

    Canvases are made on the model's device, in chunks that `memory` has room for: where the placement has fields, as
    windows of them. Convolutions run channels-last where the model takes it and is not slower so, and a model that
    has a `forward_placed` is asked through it. The model is in eval mode during a call and left as it was.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W).
        placement: where images may lie.
        shape: (C, h, w) of the images.
        offsets: int64 (P, 2); all of the placement's unless given.
        memory: bytes for placements, activations and answers. Should they not be there after all, chunks are halved.
        short_cuts: False: the whole canvas, laid anew each time, in the plain memory layout.

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
        self.device, _ = device_and_dtype(model)
        self.offsets = (placement.offsets() if offsets is None else offsets).to(self.device)
        trial = torch.zeros(2, *shape, dtype=torch.uint8, device=self.device)
        self.by_model = short_cuts and self._has_short_cut(trial)
        self._lay_out(trial, memory, channels_last=short_cuts and _convolves(model))
        with self._layout(), Footprint(model.parameters()) as footprint:
            predictions = self.at(trial, self.offsets[:1].expand(2, 2))
        self.chunk = self._chunk_for(max(1, footprint.bytes // len(trial)), memory)
        strips = 0 if self.windows is None else STRIPS * self.windows.values(shape[0]) * device_and_dtype(model)[1].itemsize
        held = max(8 * len(self.offsets) * predictions[0].nbytes, strips)
        self.images_at_once = max(1, min(IMAGES, memory // held))
        if self.channels_last and self.device.type == "cpu":
            self._prefer_plain_if_faster(trial, memory)

    def _has_short_cut(self, trial: torch.Tensor) -> bool:
        short_cut = getattr(self.model, "forward_placed", None)
        if short_cut is None:
            return False
        with evaluating(self.model):
            return short_cut(trial, self.offsets[:1].expand(2, 2), self.placement) is not None

    def _lay_out(self, trial: torch.Tensor, memory: int, *, channels_last: bool) -> None:
        """Choose the memory layout, and whether to read windows; a `view` of the model's own may need the plain one."""
        self.channels_last, self.windows = channels_last, None
        if self.short_cuts and self.placement.has_field and not self.by_model:
            windows = Windows(self.placement, self.offsets, channels_last=channels_last)
            if STRIPS * windows.values(trial.shape[1]) * device_and_dtype(self.model)[1].itemsize <= memory:
                self.windows = windows
        if channels_last:
            try:
                self.of_pairs(trial, torch.tensor([[0, 0], [1, 0]], device=self.device))
            except RuntimeError:  # an error that has other causes comes again in the usual layout
                self._lay_out(trial, memory, channels_last=False)

    def _prefer_plain_if_faster(self, trial: torch.Tensor, memory: int) -> None:
        """Give channels-last up where it is clearly slower: which wins depends on the filters and the machine."""
        last = self._seconds(trial)
        self._lay_out(trial, memory, channels_last=False)
        if self._seconds(trial) > CLEARLY * last:
            self._lay_out(trial, memory, channels_last=True)

    def _seconds(self, trial: torch.Tensor) -> float:
        """Return the seconds that a few placements take, the least of three times."""
        count = min(TIMED, self.chunk, len(self.offsets))
        pairs = torch.arange(count, device=self.device)[:, None] * torch.tensor([0, 1], device=self.device)
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            self.of_pairs(trial, pairs)
            seconds.append(time.perf_counter() - begun)
        return min(seconds)

    def _chunk_for(self, each: int, memory: int) -> int:
        """Return the placements a forward pass, with `each` bytes a placement in the hungriest operation."""
        on_cpu = self.device.type == "cpu"
        least, most = CHUNK["cpu" if on_cpu else "gpu"]
        fast = max(least, CACHE // each) if on_cpu else most
        return max(1, min(most, fast, memory // (HELD * each)))

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, P, K) of images at all placements, in the order of the offsets.

        Args:
            images: uint8 (B, C, h, w) on the model's device.

        Raises:
            ShiftscopeError: out of memory with one placement at a time.
        """
        everywhere = torch.arange(len(self.offsets), device=self.device)
        pairs = torch.cartesian_prod(torch.arange(len(images), device=self.device), everywhere)
        return self.of_pairs(images, pairs).view(len(images), len(self.offsets), -1)

    def of_pairs(self, images: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        """Return the logits (n, K) of images at some of the engine's placements.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
            pairs: int64 (n, 2), number of the image and of the placement.
        """
        if self.windows is None:
            return self._in_chunks(pairs, lambda some: self._ask(images[some[:, 0]], self.offsets[some[:, 1]]))
        windows, strips = self.windows, self.windows.strips(images, device_and_dtype(self.model)[1])
        return self._in_chunks(pairs, lambda some: self._show(windows.read(strips, some[:, 0], some[:, 1])))

    def at(self, images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Return the logits (B, K) of images, each laid at an offset of its own.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
            offsets: int64 (B, 2).
        """
        offsets = offsets.to(self.device)
        return self._in_chunks(torch.arange(len(images), device=self.device),
                               lambda some: self._ask(images[some], offsets[some]))

    def _in_chunks(self, every: torch.Tensor, ask: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        done, parts = 0, []
        with evaluating(self.model), self._layout():
            while done < len(every):
                part = self._within_memory(every[done:], ask)
                parts.append(part)
                done += len(part)
        return torch.cat(parts)

    def _layout(self) -> AbstractContextManager[None]:
        return channels_last(self.model) if self.channels_last else nullcontext()

    def _within_memory(self, left: torch.Tensor, ask: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return the logits of the first chunk of what is left, a smaller one where memory runs out."""
        while True:
            chunk = left[:self._chunk()]
            try:
                return ask(chunk)
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                self._halve(len(chunk), error)

    def _chunk(self) -> int:
        return getattr(self, "chunk", CHUNK["cpu"][1])  # none is known while the first one is tried

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
        if self.by_model:
            return self._quickly(lambda: placed_outputs(self.model, images, offsets, self.placement,
                                                        channels_last=self.channels_last), len(images))
        pixels = to_pixels(self.placement.place(images, offsets), device_and_dtype(self.model)[1])
        return self._show(pixels.contiguous(memory_format=torch.channels_last) if self.channels_last else pixels)

    def _show(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._quickly(lambda: self.model(pixels), len(pixels))

    def _quickly(self, outputs: Callable[[], torch.Tensor], count: int) -> torch.Tensor:
        with QuickPooling():
            found = outputs()
        return _checked(self.model, found, count)


def plain_logits(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor:
    """Return the outputs (B, K) of images at their offsets: all canvases in one batch through `model(pixels)`.

    Nothing of ours is attached to the model, and no short cut is taken: this is what every engine is compared with.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
    """
    with evaluating(model):
        outputs = model(to_pixels(placement.place(images, offsets), device_and_dtype(model)[1]))
    return _checked(model, outputs, len(images))


def _convolves(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def _checked(model: nn.Module, logits: Any, count: int) -> torch.Tensor:
    """Return a copy of outputs (count, K): a model may hand out a buffer that its next call overwrites."""
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != count:
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UsageError(f"{model_name(model)} must return a tensor (batch, classes), got {got} for a batch of "
                         f"{count}")
    return as_floats(logits.clone())
