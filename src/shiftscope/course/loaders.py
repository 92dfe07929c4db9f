"""Foreign loaders: read batch by batch, and what is wrong said in terms of the attribute to set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from shiftscope.course.placed import MEAN, STD
from shiftscope.errors import DataError, UsageError, require
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import model_name

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images float (B, C, H, W) in the loader's units, labels int64 (B,)."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A loader with what the notebook says about its batches.

    Raises:
        UsageError: no loader, no `imgsize` of two whole numbers.
    """

    loader: Any
    name: str
    """"train_loader" or "test_loader"."""
    imgsize: tuple[int, int]
    class_names: Sequence[str] | None
    move: bool
    """Whether batches are moved to the model's device."""

    def __post_init__(self) -> None:
        if self.loader is None:
            raise UsageError(f"model_utils.{self.name} is not set: set MU.{self.name} to a DataLoader of (images, "
                             "labels), or call MU.load_fashion_mnist()")
        check_imgsize(self.imgsize)

    def __len__(self) -> int:
        try:
            return len(self.loader)
        except TypeError as error:
            raise UsageError(f"model_utils.{self.name} has no length ({error}), which the learning rate's schedule "
                             f"needs: set MU.{self.name} to a DataLoader over a dataset with len()") from error

    def batches(self, model: nn.Module, classes: int | None = None) -> Iterator[Batch]:
        """Yield every batch on the model's device and in its dtype, checked.

        Args:
            classes: number of classes; that of `class_names` unless given; unknown where there is neither.

        Raises:
            UsageError: images of another size than `imgsize`, or on another device than the model.
            DataError: no batch at all, no (images, labels), labels that are no class.
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
        """Return the first `count` images and their labels (fewer where there are fewer)."""
        images, labels, have = [], [], 0
        for some, theirs in self.batches(model):
            images.append(some)
            labels.append(theirs)
            have += len(some)
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
                            f"MU.{self.name} anew")
        whole = isinstance(labels, torch.Tensor) and not labels.is_floating_point() and labels.dtype != torch.bool
        if not whole or labels.shape != images.shape[:1]:
            raise DataError(f"labels of model_utils.{self.name} must be {len(images)} whole numbers, one an image, got "
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
            said = "model_utils.class_names has" if self.class_names is not None else "the model tells apart"
            raise DataError(f"label {int(labels[wrong[0]])} of image {wrong[0]} in batch {number} of "
                            f"model_utils.{self.name} must be from 0 to {classes - 1}, for {said} {classes} classes: "
                            "set MU.class_names to the names of all classes, or correct the labels")

    def _check_device(self, images: torch.Tensor, device: torch.device, model: str) -> None:
        if not self.move and images.device != device:
            raise UsageError(f"{model} is on {device}, the images of model_utils.{self.name} are on {images.device}: "
                             "set MU.use_cuda = True to move every batch to the model, or move the model")


def check_imgsize(imgsize: Any) -> None:
    """Raise a `UsageError` unless `imgsize` is (height, width)."""
    ok = isinstance(imgsize, Sequence) and len(imgsize) == 2 and all(isinstance(n, int) and n > 0 for n in imgsize)
    require(ok, "model_utils.imgsize", imgsize, "two whole numbers above 0, (height, width)")


def _kind(value: Any) -> str:
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__


@dataclass(frozen=True)
class Units:
    """The numbers that a loader's pictures are made of, channel by channel: (C, 1, 1) each."""

    low: torch.Tensor
    """Its darkest value: the background of an empty canvas."""
    high: torch.Tensor

    def from_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return pixels in [0, 1] in the loader's units."""
        low, high = (end.to(pixels) for end in (self.low, self.high))
        return low + pixels * (high - low)

    def to_pixels(self, images: torch.Tensor) -> torch.Tensor:
        """Return the loader's images as pixels, [0, 1] where they lie within its range."""
        low, high = (end.to(images) for end in (self.low, self.high))
        return (images - low) / (high - low)


def units_of(images: torch.Tensor) -> Units:
    """Return the range of a batch (B, C, H, W); a channel of one value is taken as one unit wide.

    >>> units = units_of(torch.tensor([-1.0, 3.0]).view(2, 1, 1, 1))
    >>> units.from_pixels(torch.tensor([0.5])).item()
    1.0
    """
    low, high = (images.detach().transpose(0, 1).flatten(1).aminmax(dim=1))
    high = torch.where(high > low, high, low + 1)
    return Units(low[:, None, None], high[:, None, None])


def course_units(channels: int) -> Units:
    """Return the units of the course's normalization, for where no loader tells."""
    ends = ((value - MEAN) / STD for value in (0.0, 1.0))
    return Units(*(torch.full((channels, 1, 1), end) for end in ends))
