"""One pass over all images with an engine, batch by batch, which can be stopped."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from shiftscope.auditing.engines import EngineChoice
from shiftscope.auditing.predictions import PlacementPredictions, ShownImages
from shiftscope.auditing.stored import block_arrays, engine_array, joined, restore
from shiftscope.distributed import from_first, gathered, group, total
from shiftscope.errors import Interrupted
from shiftscope.evaluation.memory import MemoryChunks
from shiftscope.models.forward import device_and_dtype
from shiftscope.outputs import OutputType
from shiftscope.progress import Progress
from shiftscope.runs.unfinished import UnfinishedAudit


class Flag(Protocol):
    """An object whose truth value requests a stop."""

    def __bool__(self) -> bool: ...


Stop = Flag | Callable[[], bool]
"""A flag, or a function without arguments; its truth value is read between batches and requests a stop."""


def stop_requested(stop: Stop | None) -> bool:
    """Return the truth value of `stop`; False for None.

    >>> stop_requested(None), stop_requested(lambda: True), stop_requested([])
    (False, True, False)
    """
    return bool(stop() if callable(stop) else stop)


class Sweep:
    """One pass over the images in rounds: in each round, every process of a group computes the next block of images.

    Args:
        choice: the engine and its inputs.
        classes: K.
        tolerance: largest difference of two outputs that counts as a near tie.
        check_size: number of images of the self-check (default: `EngineChoice.checked_images`).
        output_type: type of the outputs; None: confidences are not computed.

    Attributes:
        predictions, shown, check: results.
        count: number of images that are done.
        interrupted: True if the pass ended before the last image.
    """

    def __init__(self, choice: EngineChoice, classes: int, tolerance: float = 0.0, check_size: int | None = None,
                 output_type: OutputType | None = None):
        self.engine, self.inputs, self.group = choice.engine, choice.inputs, group()
        self.images, placements = self.inputs.images, len(self.inputs.offsets)
        self.check = self.inputs.check(choice.checked_images if check_size is None else check_size)
        self.predictions = PlacementPredictions(self.images.labels, placements, classes, tolerance, output_type)
        self.labeled = bool((self.images.labels >= 0).all())
        self.shown = ShownImages(len(self.images), placements, classes)
        self.block = self.size = from_first(lambda: self.engine.images_per_call)
        self.engine_settings = choice.settings() | {"block": self.block}
        self.count, self.interrupted = 0, False
        self.restored = self.saved = 0

    def restore(self, blocks: list[dict[str, np.ndarray]]) -> None:
        """Continue after images whose results were stored; only the first process of a group gets them.

        Args:
            blocks: see `block_arrays`, in order.
        """
        for arrays in blocks:
            self.count = restore(arrays, self.count, self.predictions, self.shown, self.check)
        if self.group.size > 1:
            self.count = gathered(self.count)[0]
        self.restored = self.saved = self.count

    def run(self, progress: Progress, title: str, stop: Stop | None, store: UnfinishedAudit | None = None) -> None:
        """Compute all images. Ctrl-C and `stop` end the pass between two rounds.

        Args:
            store: stores finished images from time to time; only in the first process of a group.

        Raises:
            Interrupted: if the pass was stopped before the first round was done.
        """
        task = progress.task(title, len(self.images), done=self.count)
        correct = int((self.predictions.classes[:self.count] == self.images.labels[:self.count, None].numpy()).sum())
        try:
            while self.count < len(self.images):
                begin = min(self.count + self.group.rank * self.block, len(self.images))
                end, hits, stopped = min(begin + self.block, len(self.images)), 0, False
                try:
                    stopped = stop_requested(stop)
                    for chunk in self._chunks(0 if stopped else end - begin):
                        with chunk as rows:
                            hits += self._add(begin + rows.start, self.engine.logits(self._batch(begin, rows)))
                        self.size = chunk.size
                except KeyboardInterrupt:
                    stopped = True
                due = store is not None and (store.is_due or self.saved == 0)
                images, hits, stopped, due = total(torch.tensor([end - begin, hits, stopped, due])).tolist()
                if stopped:
                    break
                self.count, correct = self.count + images, correct + hits
                if due:
                    self._save(store)
                done = self.count * len(self.inputs.offsets)
                task.advance(images, **({"accuracy": correct / done} if self.labeled else {}))
        except KeyboardInterrupt:  # between two rounds
            if self.group.size > 1:
                raise
        finally:
            task.close()
        self.interrupted = self.count < len(self.images)
        self._save(store)
        if self.count == 0:
            code = getattr(stop, "exit_code", 0) if stop_requested(stop) else 0
            raise Interrupted(f"{title} stopped before its first images were done", code or 130)
        self._merge()

    def _save(self, store: UnfinishedAudit | None) -> None:
        """Store the images that were done since the last call; all processes of a group call this together."""
        if self.group.size > 1 and not gathered(store is not None)[0]:
            return
        if self.saved < self.count and (store is not None or self.group.size > 1):
            arrays = block_arrays(self.predictions, self.shown, self.check, self.saved, self.count)
            arrays = joined(gathered(arrays), self._owner()[self.saved:self.count].numpy())
            if store is not None:
                store.add(self.saved, arrays | {"engine": engine_array(self.engine_settings)})
        self.saved = self.count

    def _owner(self) -> torch.Tensor:
        """Return the rank of the process that computes, or restored, each image, int64 (N,)."""
        index = torch.arange(len(self.images))
        return (index // self.block % self.group.size).masked_fill(index < self.restored, 0)

    def _chunks(self, count: int) -> MemoryChunks:
        device, _ = device_and_dtype(self.inputs.model)
        return MemoryChunks(count, self.size, message=(
            f"out of memory: the {self.engine.name} engine cannot compute one image at all placements on {device}; "
            "audit a sample of placements, free memory, or choose another device"))

    def _batch(self, begin: int, rows: slice) -> torch.Tensor:
        device, _ = device_and_dtype(self.inputs.model)
        return self.images.gather(torch.arange(begin + rows.start, begin + rows.stop)).to(device)

    def _add(self, begin: int, logits: torch.Tensor) -> int:
        """Add the outputs of the images from index `begin` on; return the number of correct predictions."""
        self.check.add(begin, logits)
        predictions = self.predictions.add(begin, logits)
        self.shown.add(begin, logits, predictions)
        return int((predictions == self.images.labels[begin:begin + len(logits)].numpy()[:, None]).sum())

    def _merge(self) -> None:
        """Merge the results of all processes of a group."""
        if self.group.size > 1:
            self.predictions.merge(self._owner() == self.group.rank)
            self.shown.merge()
            self.check.merge()
