"""A timed trial of batch sizes and memory layouts for brute force. Its outputs are part of the results."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from shiftscope.evaluation.brute import BruteForceEngine

PAIRS = 8192
"""Images at placements that a trial computes at most: all sizes up to 512, and the best one in the other layout."""

SLOWER = 1.15
"""The trial ends at a batch size that takes this many times the time of the best size per placement."""

CLEARLY = 0.9
"""The contiguous layout is used below this fraction of the time of the other one: measurements are noisy."""

SHORT, LONG = 5e-3, 5e-2
"""Batches that take fewer seconds than the first number are timed twice instead of once; batches of more than the
second number end the trial if they are slower, others only if two sizes in a row are slower."""


@dataclass(frozen=True)
class TriedBatches:
    """The result of a trial."""

    images: torch.Tensor
    """uint8 (m, C, h, w), the first images of an audit."""
    outputs: torch.Tensor
    """(n, K), outputs of the first n pairs of these images with all placements."""
    seconds: float
    """Per placement, at the best batch size and layout."""


def try_batches(engine: "BruteForceEngine", images: torch.Tensor) -> TriedBatches:
    """Set batch size and memory layout of an engine to the fastest ones.

    On a CPU, sizes 1, 2, 4, ... are tried, then the contiguous layout at the best size. Large networks are fastest with
    few images per batch, whose activations fit into the caches. On other devices only the time is measured.

    Args:
        engine: the engine; `chunk` and `channels_last` are set.
        images: uint8 (m, C, h, w) on its device, first images of an audit.
    """
    return _Trial(engine, images).run()


class _Trial:
    def __init__(self, engine: "BruteForceEngine", images: torch.Tensor):
        self.engine, self.images, self.pairs = engine, images, engine.pairs(len(images))
        self.outputs: list[torch.Tensor] = []
        self.done = 0
        self.slower = False
        """True if a larger size than the best one was slower; else the number of pairs ended the trial."""
        self.seconds: dict[tuple[bool, int], float] = {}
        """Per placement, by channels-last and batch size."""

    def run(self) -> TriedBatches:
        layout, usual = self.engine.channels_last, self.engine.chunk
        if self.engine.device.type != "cpu":
            self._measure(layout, min(usual, len(self.pairs)))
        else:
            self._grow(layout, 1, len(self.pairs) // (2 if layout else 1))
            if layout:
                self._try_contiguous()
        channels_last, size = best = self._best()
        self.engine.set_layout(self.images, channels_last=channels_last)
        self.engine.chunk = size if self.slower else max(size, usual)
        return TriedBatches(self.images, torch.cat(self.outputs), self.seconds[best])

    def _best(self) -> tuple[bool, int]:
        return min(self.seconds, key=lambda setting: self.seconds[setting])

    def _grow(self, channels_last: bool, size: int, most: int) -> None:
        """Try sizes from `size` on, doubled each time, until they are slower than the best one.

        Args:
            most: number of pairs after which a trial ends.
        """
        slower = 0
        while size <= self.engine.largest and slower < 2 and (self.done + 3 * size <= most or size == 1):
            before = min(self.seconds.values(), default=float("inf"))
            found = self._measure(channels_last, size)
            if found is None:
                break
            slower = slower + 1 + (found * size > LONG) if found > SLOWER * before else 0
            size *= 2
        self.slower = slower >= 2 or size > self.engine.largest

    def _try_contiguous(self) -> None:
        best = self._best()
        size = best[1]
        found = self._measure(False, size)
        if found is None or found >= CLEARLY * self.seconds[best]:
            self.seconds.pop((False, size), None)
            return
        self._grow(False, 2 * size, len(self.pairs))
        while size > 1 and self._measure(False, size // 2) == min(self.seconds.values()):
            size //= 2

    def _measure(self, channels_last: bool, size: int) -> float | None:
        """Return the seconds per placement; None if too few pairs are left, or memory runs out.

        The first batch of a size is not timed if another one can be: it prepares the kernels.
        """
        if channels_last != self.engine.channels_last:
            self.engine.set_layout(self.images, channels_last=channels_last)
        self.engine.chunk, found = size, []
        strips = self.engine.strips(self.images)
        while self.done + size <= len(self.pairs) and len(found) < (3 if found and min(found) < SHORT else 2):
            begun = time.perf_counter()
            outputs = self.engine.of_pairs(self.images, self.pairs[self.done:self.done + size], strips=strips)
            outputs.sum().item()  # waits for the device
            found.append(time.perf_counter() - begun)
            self.outputs.append(outputs)
            self.done += size
            if self.engine.chunk < size:  # out of memory
                self.engine.largest = self.engine.chunk
                return None
        if not found or self.engine.channels_last != channels_last:
            return None
        self.seconds[channels_last, size] = min(found[1:] or found) / size
        return self.seconds[channels_last, size]
