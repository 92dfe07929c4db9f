"""The plain model at every placement: the reference for every other engine."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from shiftscope.data.base import ImageSet
from shiftscope.errors import UsageError
from shiftscope.evaluation.batch_trial import PAIRS, TriedBatches, try_batches
from shiftscope.evaluation.fast_paths import FieldWindows, SlicedMaxPooling
from shiftscope.evaluation.memory import OVERHEAD, MemoryChunks, MemoryFootprint
from shiftscope.hooks import channels_last
from shiftscope.models.forward import device_and_dtype, evaluating, placed_outputs, to_pixels
from shiftscope.modules import model_name
from shiftscope.outputs import as_floats
from shiftscope.placement import Placement

MEMORY = 256 * 2**20
"""Default number of bytes for canvases, activations and outputs."""

CHUNK = {"cpu": (64, 512), "gpu": (1, 4096)}
"""Smallest and largest number of placements per forward pass if `memory` allows it, unless a trial is faster."""

CACHE = 24 * 2**20
"""Bytes of the largest operation's tensors on a CPU. Larger chunks exceed the caches, and glibc returns blocks above
32 MiB to the system: the course's convnet then takes 1.6 times as long. Smaller chunks have more overhead per call."""

STRIPS = 4
"""The strips of `FieldWindows` may take one part in this many of the memory."""

IMAGES = 16
"""Most images per call: a slow model still shows progress and stops soon."""


class BruteForceEngine:
    """Computes the outputs of images at every placement with the model itself.

    Canvases are created on the model's device in chunks that fit into `memory`, as windows of a field if the
    placement has one. Convolutions run channels-last if the model allows it (see `tune`), and the model's
    `forward_placed` is used if it has one. The model runs in eval mode; its mode is restored.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W).
        placement: placement of the images.
        shape: (C, h, w) of the images.
        offsets: int64 (P, 2) (default: all offsets of the placement).
        memory: bytes for canvases, activations and outputs. Chunks are halved if less is available.
        short_cuts: False: no windows, no `forward_placed`, no channels-last layout, no replaced pooling.

    Attributes:
        images_per_call: number of images per call of `logits` that fits into `memory`.
        chunk: placements per forward pass.
        largest: most placements per forward pass that fit into `memory`.
        channels_last: memory layout of canvases and weights.
        seconds: per placement, measured by `tune`; None before.

    Raises:
        UsageError: if the model does not accept the canvases.

    Example:
        >>> from shiftscope.models import TwoFullNet
        >>> engine = BruteForceEngine(TwoFullNet(), Placement(image=(28, 28), canvas=(56, 56), step=14), (1, 28, 28))
        >>> engine.logits(torch.zeros(2, 1, 28, 28, dtype=torch.uint8)).shape
        torch.Size([2, 9, 10])
    """

    name = "brute"

    def __init__(self, model: nn.Module, placement: Placement, shape: Sequence[int],
                 offsets: torch.Tensor | None = None, *, memory: int = MEMORY, short_cuts: bool = True):
        self.model, self.placement, self.memory, self.short_cuts = model, placement, memory, short_cuts
        self.device, self.dtype = device_and_dtype(model)
        self.offsets = (placement.offsets() if offsets is None else offsets).to(self.device)
        self.chunk = CHUNK["cpu"][1]
        self.seconds: float | None = None
        self._tried: TriedBatches | None = None
        self._allows_channels_last = False
        images = torch.zeros(2, *shape, dtype=torch.uint8, device=self.device)
        pairs = torch.tensor([[0, 0], [1, 0]], device=self.device)
        self.by_model = short_cuts and self._has_forward_placed(images)
        self.set_layout(images, channels_last=short_cuts and has_convolutions(model))
        footprint = MemoryFootprint(model.parameters())
        with self._layout(), footprint:
            outputs = self.of_pairs(images, pairs, use_windows=False)
        self.chunk, self.largest = self._chunk_sizes(max(1, footprint.bytes // 2))
        strips = 0 if self.windows is None else STRIPS * self.windows.numel(shape[0]) * self.dtype.itemsize
        bytes_per_image = max(8 * len(self.offsets) * outputs[0].nbytes, strips)
        self.images_per_call = max(1, min(IMAGES, memory // bytes_per_image))

    def tune(self, images: ImageSet) -> None:
        """Choose batch size and memory layout by a trial on the first images, see `try_batches`.

        `logits` of these images returns the outputs of the trial and computes only the others.
        """
        count = min(len(images), self.images_per_call, -(-PAIRS // len(self.offsets)))
        self._tried = try_batches(self, images.gather(torch.arange(count)).to(self.device))
        self.seconds = self._tried.seconds

    def _has_forward_placed(self, images: torch.Tensor) -> bool:
        method = getattr(self.model, "forward_placed", None)
        if method is None:
            return False
        with evaluating(self.model):
            return method(images, self.offsets[:1].expand(2, 2), self.placement) is not None

    def set_layout(self, images: torch.Tensor, *, channels_last: bool) -> None:
        """Set the memory layout and the windows; a `view` in the model may require the contiguous layout.

        Args:
            images: uint8 (B, C, h, w), to try the layout.
            channels_last: the layout; contiguous if the model does not allow it.
        """
        self.channels_last, self.windows = channels_last, None
        if self.short_cuts and self.placement.has_field and not self.by_model:
            windows = FieldWindows(self.placement, self.offsets, channels_last=channels_last)
            if STRIPS * windows.numel(images.shape[1]) * self.dtype.itemsize <= self.memory:
                self.windows = windows
        if channels_last and not self._allows_channels_last:
            try:
                self.of_pairs(images, torch.zeros(2, 2, dtype=torch.int64, device=self.device))
                self._allows_channels_last = True
            except RuntimeError:  # other causes raise again in the contiguous layout
                self.set_layout(images, channels_last=False)

    def _chunk_sizes(self, bytes_per_placement: int) -> tuple[int, int]:
        """Return the usual and the largest number of placements per forward pass, from the memory of the largest
        operation."""
        on_cpu = self.device.type == "cpu"
        least, most = CHUNK["cpu" if on_cpu else "gpu"]
        largest = max(1, min(most, self.memory // (OVERHEAD * bytes_per_placement)))
        fast = max(least, CACHE // bytes_per_placement) if on_cpu else most
        return min(largest, fast), largest

    def _layout(self) -> AbstractContextManager[None]:
        return channels_last(self.model) if self.channels_last else nullcontext()

    def _pooling(self) -> AbstractContextManager[Any]:
        return SlicedMaxPooling() if self.short_cuts else nullcontext()

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs (B, P, K) of images at all placements, in the order of the offsets.

        Args:
            images: uint8 (B, C, h, w) on the model's device.

        Raises:
            ShiftscopeError: if a single placement does not fit into memory.
        """
        pairs, tried = self.pairs(len(images)), self._tried
        if tried is None or not torch.equal(images[:len(tried.images)], tried.images):
            return self.of_pairs(images, pairs).view(len(images), len(self.offsets), -1)
        self._tried, known = None, tried.outputs
        if len(known) < len(pairs):
            known = torch.cat((known, self.of_pairs(images, pairs[len(known):])))
        return known.view(len(images), len(self.offsets), -1)

    def pairs(self, images: int) -> torch.Tensor:
        """Return int64 (B * P, 2): the indices of B images with all placements, in the order of `logits`."""
        return torch.cartesian_prod(*(torch.arange(count, device=self.device) for count in (images, len(self.offsets))))

    def strips(self, images: torch.Tensor) -> torch.Tensor | None:
        """Return the strips from which canvases of images are read; None without windows."""
        return None if self.windows is None else self.windows.strips(images, self.dtype)

    def of_pairs(self, images: torch.Tensor, pairs: torch.Tensor, *, use_windows: bool = True,
                 strips: torch.Tensor | None = None) -> torch.Tensor:
        """Return the outputs (n, K) of images at some of the placements.

        Args:
            images: uint8 (B, C, h, w) on the model's device.
            pairs: int64 (n, 2), index of the image and index of the placement.
            use_windows: False: create each canvas by itself.
            strips: of all images, if they are known.
        """
        size = " x ".join(map(str, self.placement.canvas))
        chunks = MemoryChunks(len(pairs), self.chunk, message=(
            f"out of memory: {model_name(self.model)} cannot process one image of {size} pixels on {self.device}; free "
            "memory, or choose another device"))
        outputs = []
        if strips is None and use_windows:
            strips = self.strips(images)
        with evaluating(self.model), self._layout(), self._pooling():
            for chunk in chunks:
                with chunk as rows:
                    outputs.append(self._forward(pairs[rows], images, strips))
        self.chunk = chunks.size
        return torch.cat(outputs)

    def _forward(self, pairs: torch.Tensor, images: torch.Tensor, strips: torch.Tensor | None = None) -> torch.Tensor:
        """Return the outputs (n, K) of one forward pass; canvases are read from `strips` if given."""
        index, placements = pairs.unbind(1)
        if strips is not None and self.windows is not None:
            return checked_outputs(self.model, self.model(self.windows.read(strips, index, placements)), len(pairs))
        images, offsets = images[index], self.offsets[placements]
        if self.by_model:
            outputs = placed_outputs(self.model, images, offsets, self.placement, channels_last=self.channels_last)
            return checked_outputs(self.model, outputs, len(pairs))
        pixels = to_pixels(self.placement.place(images, offsets), self.dtype)
        if self.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return checked_outputs(self.model, self.model(pixels), len(pairs))


def plain_logits(model: nn.Module, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor:
    """Return the outputs (B, K) of images at their offsets: one batch of canvases through `model(pixels)`.

    No hook or short cut is used: every engine is compared with this.

    Args:
        images: uint8 (B, C, h, w) on the model's device.
        offsets: int64 (B, 2).
    """
    with evaluating(model):
        outputs = model(to_pixels(placement.place(images, offsets), device_and_dtype(model)[1]))
    return checked_outputs(model, outputs, len(images))


def has_convolutions(model: nn.Module) -> bool:
    """Return True if a model has 2D convolutions, which are usually faster channels-last."""
    return any(isinstance(module, nn.Conv2d) for module in model.modules())


def fastest(compute: Callable[[], torch.Tensor]) -> float:
    """Return the seconds that a computation takes, the minimum of three runs."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        compute().sum().item()  # waits for the device
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def checked_outputs(model: nn.Module, outputs: Any, count: int) -> torch.Tensor:
    """Return a copy of the outputs (count, K): a model may return a buffer that its next call overwrites.

    Raises:
        UsageError: if they have another shape or type.
    """
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2 or len(outputs) != count:
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UsageError(f"{model_name(model)} must return a tensor (batch, classes), got {got} for a batch of {count}")
    return as_floats(outputs.clone())
