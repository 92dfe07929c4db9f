"""Sources of training batches: indexed images in a hashed order, or a stream in its own order.

Both classes have the same methods. `begin` returns the image indices, int64 (N,), in the order of an epoch; `read`
returns images uint8 (B, C, h, w) and labels (B,) of `part` of the next indices; `prefetch` starts to read images in the
background; `first` returns the first images for trial passes.
"""

from collections.abc import Iterator

import torch

from shiftscope import hashing
from shiftscope.data.base import ImageSet
from shiftscope.data.packed import read_ahead
from shiftscope.data.streamed import Chunk, StreamedImages
from shiftscope.hashing import Stream

ALL = slice(None)


class IndexedBatches:
    """Images read by index, in an order hashed from seed and epoch.

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

    def read(self, indices: torch.Tensor, part: slice = ALL) -> Chunk:
        return self.images.gather(indices[part]), self.labels[indices[part]]

    def prefetch(self, indices: torch.Tensor) -> None:
        read_ahead(self.images, indices)


class StreamedBatches:
    """Images of a stream, numbered in the order in which they arrive."""

    def __init__(self, images: StreamedImages, device: torch.device):
        self.images, self.device = images, device
        self.stream: Iterator[Chunk] = iter(())
        self.rest: Chunk | None = None
        self.next = 0

    def __len__(self) -> int:
        return len(self.images)

    def first(self, count: int) -> Chunk:
        images, labels = self.images.first(min(count, len(self)))
        return images.to(self.device), labels.to(self.device)

    def begin(self, seed: int, epoch: int) -> torch.Tensor:
        self.stream, self.rest, self.next = self.images.epoch(epoch, seed), None, 0
        return torch.arange(len(self), device=self.device)

    def read(self, indices: torch.Tensor, part: slice = ALL) -> Chunk:
        """Return the next images; after an interruption, skip the images that were already used.

        Each process of a group reads the whole stream and keeps its part.
        """
        first = int(indices[0])
        while self.next < first:
            self._take(min(first - self.next, 1024))
        images, labels = self._take(len(indices))
        return images[part].to(self.device), labels[part].to(self.device)

    def prefetch(self, indices: torch.Tensor) -> None:
        """Do nothing: the stream's own workers read ahead."""

    def _take(self, count: int) -> Chunk:
        chunks = [self.rest] if self.rest is not None else []
        have = sum(len(labels) for _, labels in chunks)
        while have < count:
            chunks.append(next(self.stream))
            have += len(chunks[-1][1])
        images, labels = (torch.cat(parts) for parts in zip(*chunks, strict=True))
        self.rest = (images[count:], labels[count:]) if have > count else None
        self.next += count
        return images[:count], labels[:count]
