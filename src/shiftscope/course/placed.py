"""Moving images as notebooks know them: a map-style torch Dataset, and a loader that lays whole batches at once."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.utils.data import Dataset

from shiftscope.data.base import ImageSet
from shiftscope.layers import Normalize
from shiftscope.models.forward import to_pixels
from shiftscope.placement import Placement

MEAN, STD = 0.1307, 0.3081
"""The normalization of the course's notebooks, of pixels in [0, 1]."""

_FIXED_SEED = 0


class PlacedImages(Dataset[tuple[torch.Tensor, int]]):
    """Images on their canvases, normalized; with `random_split` and `DataLoader` as any torch Dataset.

    As these do, it draws from torch's global generator: `torch.manual_seed` repeats what follows.

    Args:
        images: what is laid.
        placement: where it may lie.
        moving: lay an image anew at each access; else each image keeps one place of its own.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> black = TensorImages(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 1]))
        >>> image, label = PlacedImages(black, Placement(image=(28, 28), canvas=(56, 56)))[2]
        >>> image.shape, label
        (torch.Size([1, 56, 56]), 1)
    """

    def __init__(self, images: ImageSet, placement: Placement, *, moving: bool = True):
        self.images, self.placement, self.moving = images, placement, moving
        self.normalize = Normalize(MEAN, STD)
        self._offsets = placement.offsets()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        images, labels = self.batch(torch.tensor([int(index) % len(self)]))
        return images[0], int(labels[0])

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[torch.Tensor, int]]:
        """Return the samples that a DataLoader asks for, laid in one go."""
        images, labels = self.batch(torch.as_tensor(indices))
        return list(zip(images, labels.tolist(), strict=True))

    def batch(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalized float32 (B, C, H, W) and labels int64 (B,) of the images at `indices`."""
        if self.moving:
            offsets = self._offsets[torch.randint(len(self._offsets), (len(indices),))]
        else:
            offsets = self.placement.sample(indices, seed=_FIXED_SEED)
        canvases = self.placement.place(self.images.gather(indices), offsets)
        return self.normalize(to_pixels(canvases)), self.images.labels[indices]


class PlacedLoader:
    """Batches of `PlacedImages`, many times faster than a DataLoader that visits image after image.

    Args:
        dataset: the images.
        batch_size: asked anew at each pass, so that a changed `args.batch_size` counts.
        shuffle: a new order at each pass.

    Yields:
        (images float32 (B, C, H, W), labels int64 (B,)).
    """

    def __init__(self, dataset: PlacedImages, batch_size: Callable[[], int], *, shuffle: bool):
        self.dataset, self.shuffle = dataset, shuffle
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """Images a batch."""
        return self._batch_size()

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.dataset)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for indices in order.split(self.batch_size):
            yield self.dataset.batch(indices)
