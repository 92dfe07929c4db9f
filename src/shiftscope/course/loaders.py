"""Data loaders of notebooks: checks of any loader, units of its images, and a fast loader of placed images."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from shiftscope.data.base import ImageSet
from shiftscope.errors import DataError, UsageError, require
from shiftscope.layers import Normalize
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import model_name
from shiftscope.placement import Placement

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images float (B, C, H, W) in the loader's units, labels int64 (B,)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A loader with the notebook's settings for its batches.

    Raises:
        UsageError: if there is no loader, or `imgsize` is not two integers.
    """

    loader: Any
    name: str
    """"train_loader" or "test_loader"."""
    imgsize: tuple[int, int]
    class_names: Sequence[str] | None
    move: bool
    """True: move batches to the model's device."""

    def __post_init__(self) -> None:
        if self.loader is None:
            raise UsageError(f"model_utils.{self.name} is not set: set MU.{self.name} to a DataLoader of (images, "
                             "labels), or call MU.load_fashion_mnist()")
        check_imgsize(self.imgsize)

    def __len__(self) -> int:
        try:
            return len(self.loader)
        except TypeError as error:
            raise UsageError(f"model_utils.{self.name} has no length ({error}), which the learning-rate schedule "
                             f"requires: set MU.{self.name} to a DataLoader over a dataset with len()") from error

    def batches(self, model: nn.Module, classes: int | None = None) -> Iterator[Batch]:
        """Yield every batch on the model's device and in its dtype, checked.

        Args:
            classes: number of classes (default: that of `class_names`, if set).

        Raises:
            UsageError: if images have another size than `imgsize`, or are on another device than the model.
            DataError: if there are no batches, a batch is not (images, labels), or a label is out of range.
        """
        device, dtype = device_and_dtype(model)
        if classes is None and self.class_names is not None:
            classes = len(self.class_names)
        empty = True
        for number, batch in enumerate(self.loader):
            images, labels = self._pair(batch)
            self._check_size(images)
            self._check_labels(labels, classes, number)
            self._check_device(images, device, model_name(model))
            yield images.to(device, dtype), labels.to(device, torch.int64)
            empty = False
        if empty:
            raise DataError(f"model_utils.{self.name} yields no batch: set MU.{self.name} to a loader of at least one "
                            "image")

    def first(self, model: nn.Module, count: int) -> Batch:
        """Return up to `count` images and labels from the start."""
        images, labels, have = [], [], 0
        for batch, batch_labels in self.batches(model):
            images.append(batch)
            labels.append(batch_labels)
            have += len(batch)
            if have >= count:
                break
        return torch.cat(images)[:count], torch.cat(labels)[:count]

    # ------------------------------------------------------------------ checks

    def _pair(self, batch: Any) -> Batch:
        if not isinstance(batch, list | tuple) or len(batch) != 2:
            got = f"{type(batch).__name__} of {len(batch)}" if hasattr(batch, "__len__") else type(batch).__name__
            raise DataError(f"model_utils.{self.name} must yield (images, labels), got a {got}: set MU.{self.name} to "
                            "a loader of such pairs")
        images, labels = batch
        if not isinstance(images, torch.Tensor) or images.ndim != 4 or not images.is_floating_point():
            raise DataError(f"images of model_utils.{self.name} must be floating point of shape (batch, channels, "
                            f"height, width), got {_kind(images)}: add ToTensor() to the dataset's transform, then set "
                            f"MU.{self.name} again")
        whole = isinstance(labels, torch.Tensor) and not labels.is_floating_point() and labels.dtype != torch.bool
        if not whole or labels.shape != images.shape[:1]:
            raise DataError(f"labels of model_utils.{self.name} must be {len(images)} integers, one per image, got "
                            f"{_kind(labels)}: set MU.{self.name} to a loader of (images, labels)")
        return images, labels

    def _check_size(self, images: torch.Tensor) -> None:
        height, width = images.shape[2:]
        if (height, width) != tuple(self.imgsize):
            raise UsageError(f"model_utils.imgsize is {tuple(self.imgsize)}, but model_utils.{self.name} yields images "
                             f"of {height} x {width}: set MU.imgsize = ({height}, {width})")

    def _check_labels(self, labels: torch.Tensor, classes: int | None, number: int) -> None:
        if classes is None:
            return
        wrong = ((labels < 0) | (labels >= classes)).nonzero().flatten().tolist()
        if wrong:
            source = "model_utils.class_names has" if self.class_names is not None else "the model has"
            raise DataError(f"label {int(labels[wrong[0]])} of image {wrong[0]} in batch {number} of "
                            f"model_utils.{self.name} must be from 0 to {classes - 1} because {source} {classes} "
                            "classes: set MU.class_names to the names of all classes, or correct the labels")

    def _check_device(self, images: torch.Tensor, device: torch.device, model: str) -> None:
        if not self.move and images.device != device:
            raise UsageError(f"{model} is on {device}, the images of model_utils.{self.name} are on {images.device}: "
                             "set MU.use_cuda = True to move every batch to the model, or move the model")


def check_imgsize(imgsize: Any) -> None:
    """Raise a `UsageError` unless `imgsize` is (height, width)."""
    ok = isinstance(imgsize, Sequence) and len(imgsize) == 2 and all(isinstance(n, int) and n > 0 for n in imgsize)
    require(ok, "model_utils.imgsize", imgsize, "two integers above 0, (height, width)")


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


@dataclass(frozen=True)
class Units:
    """The pixel range of a loader per channel, (C, 1, 1) each."""

    low: torch.Tensor
    """The darkest value, the background of an empty canvas."""
    high: torch.Tensor

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Convert pixels in [0, 1] to the loader's units."""
        low, high = (end.to(pixels) for end in (self.low, self.high))
        return low + pixels * (high - low)

    def to_pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Convert the loader's images to pixels; its range becomes [0, 1]."""
        low, high = (end.to(images) for end in (self.low, self.high))
        return (images - low) / (high - low)


def units_of(images: torch.Tensor) -> Units:
    """Return the range of a batch (B, C, H, W); a constant channel gets a range of 1.

    >>> units = units_of(torch.tensor([-1.0, 3.0]).view(2, 1, 1, 1))
    >>> units.from_pixels(torch.tensor([0.5])).item()
    1.0
    """
    low, high = (images.detach().transpose(0, 1).flatten(1).aminmax(dim=1))
    high = torch.where(high > low, high, low + 1)
    return Units(low[:, None, None], high[:, None, None])


def course_units(channels: int) -> Units:
    """Return the units of the course's normalization, the default without a loader."""
    ends = ((value - MEAN) / STD for value in (0.0, 1.0))
    return Units(*(torch.full((channels, 1, 1), end) for end in ends))


MEAN, STD = 0.1307, 0.3081
"""Normalization of pixels in [0, 1] in the course's notebooks."""

_FIXED_SEED = 0


class PlacedImages(Dataset[tuple[torch.Tensor, int]]):
    """A map-style dataset of placed, normalized images, for `DataLoader` and `random_split`.

    Like these, it uses torch's global generator; set `torch.manual_seed` to make it reproducible.

    Args:
        images: the images to place.
        placement: allowed placements.
        moving: sample a new offset at each access; otherwise each image keeps one fixed offset.

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
        """Return a list of samples (called by DataLoader)."""
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
    """Batches of `PlacedImages`, many times faster than a DataLoader that reads images one by one.

    Args:
        dataset: the images.
        batch_size: called in each pass, so that changes of `args.batch_size` take effect.
        shuffle: use a new order in each pass.

    Yields:
        (images float32 (B, C, H, W), labels int64 (B,)).
    """

    def __init__(self, dataset: PlacedImages, batch_size: Callable[[], int], *, shuffle: bool):
        self.dataset, self.shuffle = dataset, shuffle
        self._batch_size = batch_size

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        return self._batch_size()

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count = len(self.dataset)
        order = torch.randperm(count) if self.shuffle else torch.arange(count)
        for indices in order.split(self.batch_size):
            yield self.dataset.batch(indices)
