"""Where the batches of a training come from: images by their index, in a hashed order, or a stream as it comes."""

from collections.abc import Iterator
from typing import Protocol

import torch

from shiftscope import hashing
from shiftscope.data.base import ImageSet
from shiftscope.data.packed import read_ahead
from shiftscope.data.streamed import Chunk, StreamedImages
from shiftscope.hashing import Stream

ALL = slice(None)


class Batches(Protocol):
    """The training images, epoch by epoch."""

    def __len__(self) -> int:
        """Images an epoch."""
        ...

    def first(self, count: int) -> Chunk:
        """Return the first images and their labels, to try something on."""
        ...

    def begin(self, seed: int, epoch: int) -> torch.Tensor:
        """Return the numbers of the images, int64 (N,), in the order in which this epoch reads them."""
        ...

    def read(self, numbers: torch.Tensor, part: slice = ALL) -> Chunk:
        """Return images uint8 (B, C, h, w) and labels (B,): `part` of those that stand next in the epoch's order."""
        ...

    def expect(self, numbers: torch.Tensor) -> None:
        """Hear which ones come after those, to fetch them meanwhile."""
        ...


class IndexedBatches:
    """Images by their index, in an order that is hashed from seed and epoch.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(5, 1, 2, 2, dtype=torch.uint8), torch.arange(5))
        >>> batches = IndexedBatches(images, torch.device("cpu"))
        >>> order = batches.begin(seed=0, epoch=0)
        >>> batches.read(order[:2])[1].equal(order[:2])
        True
    """

    def __init__(self, images: ImageSet, device: torch.device):
        self.images, self.device = images.to(device), device
        self.labels = images.labels.to(device)

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Chunk:
        return self.read(torch.arange(min(count, len(self)), device=self.device))

    def begin(self, seed: int, epoch: int) -> torch.Tensor:
        return hashing.permutation(hashing.stream(Stream.ORDER, seed, epoch), len(self), self.device)

    def read(self, numbers: torch.Tensor, part: slice = ALL) -> Chunk:
        return self.images.gather(numbers[part]), self.labels[numbers[part]]

    def expect(self, numbers: torch.Tensor) -> None:
        read_ahead(self.images, numbers)


class StreamedBatches:
    """Images of a stream, numbered as they come."""

    def __init__(self, images: StreamedImages, device: torch.device):
        self.images, self.device = images, device
        self.coming: Iterator[Chunk] = iter(())
        self.rest: Chunk | None = None
        self.next = 0

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Chunk:
        images, labels = self.images.first(min(count, len(self)))
        return images.to(self.device), labels.to(self.device)

    def begin(self, seed: int, epoch: int) -> torch.Tensor:
        self.coming, self.rest, self.next = self.images.epoch(epoch, seed), None, 0
        return torch.arange(len(self), device=self.device)

    def read(self, numbers: torch.Tensor, part: slice = ALL) -> Chunk:
        """Return the next images; those before number `numbers[0]`, seen before an interruption, are passed over.

        A stream is read whole by every process of a group, which keeps its part.
        """
        first = int(numbers[0])
        while self.next < first:
            self._take(min(first - self.next, 1024))
        images, labels = self._take(len(numbers))
        return images[part].to(self.device), labels[part].to(self.device)

    def expect(self, numbers: torch.Tensor) -> None:
        """Do nothing: what can read ahead is the stream's own worker processes."""

    def _take(self, count: int) -> Chunk:
        found = [self.rest] if self.rest is not None else []
        have = sum(len(labels) for _, labels in found)
        while have < count:
            found.append(next(self.coming))
            have += len(found[-1][1])
        images, labels = (torch.cat(parts) for parts in zip(*found, strict=True))
        self.rest = (images[count:], labels[count:]) if have > count else None
        self.next += count
        return images[:count], labels[:count]


def batches_of(images: ImageSet, device: torch.device) -> Batches:
    """Return what training reads `images` through, on `device` where they fit."""
    return StreamedBatches(images, device) if isinstance(images, StreamedImages) else IndexedBatches(images, device)


def dropout_seeds(seed: int, steps: range) -> list[int]:
    """Return what dropout is seeded with in each step of the training, as a function of the seed and the step alone.

    >>> dropout_seeds(7, range(3, 5)) == [hashing.stream(Stream.DROPOUT, 7, step) for step in (3, 4)]
    True
    """
    return hashing.mix(torch.tensor(steps) ^ hashing.stream(Stream.DROPOUT, seed)).tolist()
