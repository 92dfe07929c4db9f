"""Going through all images with an engine, batch by batch, until the end or until asked to stop."""

from collections.abc import Callable
from typing import Protocol

import torch

from shiftscope.auditing.engine import Engine
from shiftscope.auditing.predictions import Answers
from shiftscope.auditing.selfcheck import SampleCheck
from shiftscope.auditing.shown import Shown
from shiftscope.data.base import ImageSet
from shiftscope.distributed import from_first, group, total
from shiftscope.errors import ShiftscopeError
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import out_of_memory
from shiftscope.progress import Task


class Flag(Protocol):
    """Something whose truth value says whether to stop."""

    def __bool__(self) -> bool: ...


Stop = Flag | Callable[[], bool]
"""Asked between batches whether to stop: a flag, or a function that returns the answer."""


def asked_to_stop(stop: Stop | None) -> bool:
    """Return what `stop` says; None never stops.

    >>> asked_to_stop(None), asked_to_stop(lambda: True), asked_to_stop([])
    (False, True, False)
    """
    return bool(stop() if callable(stop) else stop)


class Sweep:
    """One pass over the images, in rounds: in each, every process of a group takes the next block of them.

    Args:
        engine: what computes the logits.
        images: all images, in the order in which they are visited.
        placements: P.
        classes: K.
        check: is shown every output as well.
        tolerance: see `Answers`.

    Attributes:
        answers, shown: what was kept.
        count: images that are done.
        interrupted: whether it ended before the last image.
    """

    def __init__(self, engine: Engine, images: ImageSet, placements: int, classes: int, check: SampleCheck,
                 tolerance: float = 0.0):
        self.engine, self.images, self.check, self.group = engine, images, check, group()
        self.predictions = Answers(images.labels, placements, classes, tolerance)
        self.shown = Shown(len(images), placements, classes)
        self.block = from_first(lambda: engine.images_at_once)
        self.size = self.block
        self.count = 0
        self.interrupted = False

    def run(self, task: Task, stop: Stop | None) -> None:
        """Visit the images. Ctrl-C ends it like `stop`: a round is taken in whole or not at all."""
        try:
            self._rounds(task, stop)
        except KeyboardInterrupt:  # between two rounds
            if self.group.size > 1:
                raise
        self.interrupted = self.count < len(self.images)
        if self.group.size > 1:
            self._merge()

    def _rounds(self, task: Task, stop: Stop | None) -> None:
        right, goes_on = 0, True
        while goes_on and self.count < len(self.images):
            done, hits, goes_on = self._round(stop)
            self.count, right = self.count + done, right + hits
            if done:
                task.advance(done, accuracy=right / (self.count * self.predictions.classes.shape[1]))

    def _round(self, stop: Stop | None) -> tuple[int, int, bool]:
        """Return, of all processes, images done, right answers, and whether to go on."""
        begin = min(self.count + self.group.rank * self.block, len(self.images))
        end = min(begin + self.block, len(self.images))
        hits, whole = 0, True
        try:
            if asked_to_stop(stop):
                raise KeyboardInterrupt
            hits = self._visit(begin, end)
        except KeyboardInterrupt:
            whole = False
        images, right, broken = total(torch.tensor([end - begin, hits, not whole])).tolist()
        return (0, 0, False) if broken else (images, right, True)

    def _visit(self, begin: int, end: int) -> int:
        """Take in the answers to a block of images; return how many are right."""
        hits, at = 0, begin
        while at < end:
            logits = self._next(at, end)
            self.check.add(at, logits)
            predictions = self.predictions.add(at, logits)
            self.shown.add(at, logits, predictions)
            hits += int((predictions == self.images.labels[at:at + len(logits)].numpy()[:, None]).sum())
            at += len(logits)
        return hits

    def _next(self, begin: int, end: int) -> torch.Tensor:
        """Return the logits (B, P, K) of the next images; fewer of them where memory runs out."""
        device, _ = device_and_dtype(self.check.model)
        while True:
            indices = torch.arange(begin, min(begin + self.size, end))
            try:
                return self.engine.logits(self.images.gather(indices).to(device))
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if len(indices) == 1:
                    raise ShiftscopeError(f"out of memory: the {self.engine.name} engine does not find room for one "
                                          f"image at all placements on {device}; audit a sample of placements, free "
                                          "memory, or choose another device") from error
                self.size = len(indices) // 2

    def _merge(self) -> None:
        """Put together what all processes found."""
        owner = torch.arange(len(self.images)) // self.block % self.group.size
        self.predictions.merge(owner == self.group.rank)
        self.shown.merge()
        self.check.merge()
