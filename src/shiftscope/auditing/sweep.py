"""Going through all images with an engine, batch by batch, until the end or until asked to stop."""

from collections.abc import Callable
from typing import Protocol

import torch

from shiftscope.auditing.answers import Answers
from shiftscope.auditing.engine import Engine
from shiftscope.auditing.selfcheck import SampleCheck
from shiftscope.auditing.shown import Shown
from shiftscope.data.base import ImageSet
from shiftscope.errors import ShiftscopeError
from shiftscope.evaluation.brute import out_of_memory
from shiftscope.models.forward import home
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
    """One pass over the images.

    Args:
        engine: what computes the logits.
        images: all images, in the order in which they are visited.
        placements: P.
        classes: K.
        check: is shown every logit as well.

    Attributes:
        answers, shown: what was kept.
        interrupted: whether it ended before the last image.
    """

    def __init__(self, engine: Engine, images: ImageSet, placements: int, classes: int, check: SampleCheck):
        self.engine, self.images, self.check = engine, images, check
        self.answers = Answers(images.labels, placements, classes)
        self.shown = Shown(len(images), placements, classes)
        self.size = engine.images_at_once
        self.interrupted = False

    def run(self, task: Task, stop: Stop | None) -> None:
        """Visit the images. Ctrl-C ends it like `stop`: a batch is taken in whole or not at all."""
        right = 0
        try:
            while self.answers.count < len(self.images):
                if asked_to_stop(stop):
                    raise KeyboardInterrupt
                begin = self.answers.count
                self._take(begin, self._next(begin))
                done = slice(begin, self.answers.count)
                hits = self.answers.classes[done] == self.images.labels[done].numpy()[:, None]
                right += int(hits.sum())
                task.advance(len(hits), accuracy=right / (self.answers.count * hits.shape[1]))
        except KeyboardInterrupt:
            self.interrupted = True

    def _next(self, begin: int) -> torch.Tensor:
        """Return the logits (B, P, K) of the next images; fewer of them where memory runs out."""
        device, _ = home(self.check.model)
        while True:
            indices = torch.arange(begin, min(begin + self.size, len(self.images)))
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

    def _take(self, begin: int, logits: torch.Tensor) -> None:
        self.check.add(begin, logits)
        self.shown.add(begin, logits, self.answers.add(logits))
