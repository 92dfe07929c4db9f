"""What a dataset is: uint8 images behind `gather`, labels, and where they come from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch

from shiftscope import hashing
from shiftscope.errors import DataError, require, some_of, unknown
from shiftscope.hashing import Stream

Split = Literal["test", "train", "validation"]

_VALIDATION_START = hashing.stream(Stream.VALIDATION)


class ImageSet(Protocol):
    """Labeled images. Training, evaluation and audit read them through these names alone."""

    @property
    def labels(self) -> torch.Tensor:
        """int64 (N,), classes from 0 to K-1, on the CPU."""
        ...

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w) of every image."""
        ...

    def __len__(self) -> int: ...

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images at `indices` (int64 (B,)) as uint8 (B, C, h, w)."""
        ...

    def to(self, device: torch.device | str) -> "ImageSet":
        """Return the same images, kept on `device` where they fit."""
        ...


class TensorImages:
    """Images that lie in memory.

    Args:
        images: uint8 (N, C, h, w).
        labels: whole numbers (N,).

    Raises:
        DataError: another dtype or shape, no images, or as many labels as images missing.

    Example:
        >>> images = TensorImages(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 1]))
        >>> images.gather(torch.tensor([2])).shape
        torch.Size([1, 1, 28, 28])
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(f"images must be uint8 of shape (N, C, h, w), got {images.dtype} {tuple(images.shape)}")
        if len(images) == 0:
            raise DataError("a set of images must hold at least one image, got none")
        if labels.shape != (len(images),):
            raise DataError(f"labels must be {len(images)} whole numbers, one an image, got shape "
                            f"{tuple(labels.shape)}")
        if labels.is_floating_point() or labels.is_complex():
            raise DataError(f"labels must be {len(images)} whole numbers, got {labels.dtype}: convert them to int64")
        self.images = images
        self.labels = labels.to(device="cpu", dtype=torch.int64)

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.images.index_select(0, indices.to(self.images.device))

    def to(self, device: torch.device | str) -> "TensorImages":
        return TensorImages(self.images.to(device), self.labels)


class Subset:
    """Some images of another set, in a given order."""

    def __init__(self, parent: ImageSet, indices: torch.Tensor):
        if len(indices) == 0:
            raise DataError("a set of images must hold at least one image, got none")
        self.parent, self.indices = parent, indices
        self.labels = parent.labels[indices]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.parent.shape

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.parent.gather(self.indices.index_select(0, indices.cpu()))

    def to(self, device: torch.device | str) -> "Subset":
        return Subset(self.parent.to(device), self.indices)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training and a test set of labeled images, with their origin.

    Raises:
        DataError: train and test differ in shape, or a label has no class name.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    source: str
    """Where the images come from, for people."""
    license: str
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 by file name, or of the arrays themselves."""
    synthetic: bool = False
    """True where our own code drew the images: every figure says so."""
    notes: tuple[str, ...] = ()
    """What a user should know about how the images were read: what was left out, scaled or stretched."""

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise DataError(f"training and test images of {self.name} differ in shape: {self.train.shape} and "
                            f"{self.test.shape}, expected the same (channels, height, width)")
        for which, images in self._labeled().items():
            check_labels(images.labels, len(self.class_names), f"the {which} set of {self.name}")

    def _labeled(self) -> dict[str, ImageSet]:
        """Return the sets whose labels are known beforehand."""
        return {"training": self.train, "test": self.test}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w) of every image."""
        return self.train.shape

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    def split(self, validation: int) -> tuple[ImageSet, ImageSet | None]:
        """Cut `validation` images out of the training set, at most a fifth of it; the same ones for every seed.

        Returns:
            (training images, validation images); the latter is None where `validation` is 0.
        """
        require(validation >= 0, "validation", validation, "a whole number, 0 or more")
        count = min(validation, len(self.train) // 5)
        if count == 0:
            return self.train, None
        order = hashing.permutation(_VALIDATION_START, len(self.train))
        return Subset(self.train, order[count:].sort().values), Subset(self.train, order[:count].sort().values)

    def split_images(self, split: str, validation: int) -> ImageSet:
        """Return the images of a split by its name; `validation` is the size of the validation split, see `split`."""
        if split == "test":
            return self.test
        rest, held_out = self.split(validation)
        images = {"train": rest, "validation": held_out}.get(split)
        if images is None:
            raise unknown("split", split, ["test", "train", "validation"])
        return images

    def limit(self, count: int | None) -> "Dataset":
        """Return the first `count` training and the first `count` test images; all where `count` is None."""
        if count is None:
            return self
        require(count >= 1, "limit", count, "a whole number of at least 1")
        first = {name: Subset(images, torch.arange(min(count, len(images))))
                 for name, images in (("train", self.train), ("test", self.test))}
        return replace(self, train=first["train"], test=first["test"])


def check_labels(labels: torch.Tensor, classes: int, what: str) -> None:
    """Raise a `DataError` where a label of `what` is not a class from 0 to `classes` - 1."""
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        first = int(wrong.nonzero()[0, 0])
        raise DataError(f"label {int(labels[first])} of image {first} in {what} is out of range: there are {classes} "
                        f"class names, so labels go from 0 to {classes - 1}")


def require_classes(class_names: Sequence[str], what: str) -> None:
    """Raise a `DataError` unless there are two classes to tell apart, with different names."""
    if len(class_names) < 2:
        raise DataError(f"{what} has {len(class_names)} class(es) ({', '.join(map(str, class_names))}), expected at "
                        "least 2: a classifier needs classes to tell apart")
    if len(set(class_names)) < len(class_names):
        twice = [name for name, count in Counter(class_names).items() if count > 1]
        raise DataError(f"class_names of {what} must differ, got more than once: {some_of(twice)}")


def class_counts(images: ImageSet, class_names: Sequence[str]) -> dict[str, int]:
    """Return how many images each class has."""
    counts = torch.bincount(images.labels, minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))
