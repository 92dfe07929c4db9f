"""Datasets: uint8 images behind `gather`, labels, and their origin."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import torch

from shiftscope import hashing
from shiftscope.errors import DataError, require, some_of, unknown
from shiftscope.hashing import Stream
from shiftscope.preparation import Preparation
from shiftscope.settings import Resize

Split = Literal["test", "train", "validation"]

_VALIDATION_START = hashing.stream(Stream.VALIDATION)
UNLABELED = -1
"""Label of every image of a dataset without labels."""

_EMPTY = "a set of images must hold at least one image, got none"


class ImageSet(Protocol):
    """Images with labels, or without. Training, evaluation and audit use these members only, and `image_names`."""

    @property
    def labels(self) -> torch.Tensor:
        """int64 (N,), classes from 0 to K-1, on the CPU; `UNLABELED` for all images of a dataset without labels."""
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
        """Return the same images, on `device` if they fit there."""
        ...


class TensorImages:
    """Images in memory.

    Args:
        images: uint8 (N, C, h, w).
        labels: integers (N,); None: the images have no labels.
        names: name of each image, such as the relative path of its file (default: unknown).

    Raises:
        DataError: if a dtype or shape differs, or there are no images.

    Example:
        >>> images = TensorImages(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.tensor([0, 1, 1]))
        >>> images.gather(torch.tensor([2])).shape
        torch.Size([1, 1, 28, 28])
    """

    def __init__(self, images: torch.Tensor, labels: torch.Tensor | None, names: Sequence[str] | None = None):
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise DataError(f"images must be uint8 of shape (N, C, h, w), got {images.dtype} {tuple(images.shape)}")
        if len(images) == 0:
            raise DataError(_EMPTY)
        if labels is None:
            labels = torch.full((len(images),), UNLABELED)
        if labels.shape != (len(images),):
            raise DataError(f"labels must be {len(images)} integers, one per image, got shape {tuple(labels.shape)}")
        if labels.is_floating_point() or labels.is_complex():
            raise DataError(f"labels must be {len(images)} integers, got {labels.dtype}: convert them to int64")
        if names is not None and len(names) != len(images):
            raise DataError(f"names must be {len(images)} strings, one per image, got {len(names)}")
        self.images, self.names = images, names
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
        return TensorImages(self.images.to(device), self.labels, self.names)


class Subset:
    """Images of another set at given indices, in the given order."""

    def __init__(self, parent: ImageSet, indices: torch.Tensor):
        if len(indices) == 0:
            raise DataError(_EMPTY)
        self.parent, self.indices = parent, indices
        self.labels = parent.labels[indices]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.parent.shape

    @property
    def names(self) -> Sequence[str] | None:
        """Names of the images, None if they are unknown."""
        names = image_names(self.parent)
        rows: list[int] = self.indices.tolist()
        return None if names is None else [names[row] for row in rows]

    def __len__(self) -> int:
        return len(self.indices)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.parent.gather(self.indices.index_select(0, indices.cpu()))

    def to(self, device: torch.device | str) -> "Subset":
        return Subset(self.parent.to(device), self.indices)


class NoImages:
    """The training set of a dataset that has none. It has no images, and reading them raises a `DataError`.

    Args:
        name: name of the dataset.
        shape: (C, h, w) of its test images.
    """

    def __init__(self, name: str, shape: tuple[int, int, int]):
        self.name, self.shape = name, shape

    @property
    def labels(self) -> torch.Tensor:
        raise self.error()

    def __len__(self) -> int:
        return 0

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        raise self.error()

    def to(self, device: torch.device | str) -> "NoImages":
        return self

    def error(self) -> DataError:
        """Return the error for the use of these images."""
        return DataError(f"{self.name} has no training images, only test images: name a dataset with both, such as a "
                         "folder that holds train/ and test/")


class OtherLabels:
    """The images of another set with other labels, int64 (N,)."""

    def __init__(self, parent: ImageSet, labels: torch.Tensor):
        self.parent, self.labels, self.names = parent, labels, image_names(parent)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.parent.shape

    def __len__(self) -> int:
        return len(self.parent)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.parent.gather(indices)

    def to(self, device: torch.device | str) -> "OtherLabels":
        return OtherLabels(self.parent.to(device), self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training and a test set of images, with their origin.

    Without labels only an audit can use the images: all labels are `UNLABELED`, and there are no class names, or those
    of a model's outputs. A dataset without training images has `NoImages` as its training set.

    Raises:
        DataError: if the sets differ in shape, or a label has no class name.
    """

    name: str
    class_names: tuple[str, ...]
    train: ImageSet
    test: ImageSet
    source: str
    """Description of the origin of the images."""
    license: str
    checksums: dict[str, str] = field(default_factory=dict)
    """SHA-256 by file name or array name."""
    synthetic: bool = False
    """True if the images were drawn by code; figures state it."""
    notes: tuple[str, ...] = ()
    """How the images were read: skipped files, scaling, resizing."""
    resize: Resize | None = None
    """How files of other sizes were resized to `shape`; None if the images are not from files of any size."""
    preparation: str = ""
    """How many images were resized, and how; results and figures state it. "" if none was."""
    prepared: Preparation | None = None
    """How the images of files are resized and cropped; None as for `resize`."""
    labeled: bool = True
    """False if the images have no labels."""

    def __post_init__(self) -> None:
        if self.train.shape != self.test.shape:
            raise DataError(f"training and test images of {self.name} differ in shape: {self.train.shape} and "
                            f"{self.test.shape}, expected the same (channels, height, width)")
        if not self.labeled and bool((self.test.labels != UNLABELED).any()):
            raise DataError(f"{self.name} has labeled=False, but its test images have labels other than {UNLABELED}: "
                            "leave out labeled=False, or set labels=None")
        for which, images in self._labeled().items():
            check_labels(images.labels, len(self.class_names), f"the {which} set of {self.name}")

    def _labeled(self) -> dict[str, ImageSet]:
        """Return the sets whose labels are known in advance."""
        if not self.labeled:
            return {}
        return {"test": self.test} if isinstance(self.train, NoImages) else {"training": self.train, "test": self.test}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, h, w) of every image."""
        return self.train.shape

    @property
    def classes(self) -> int:
        """Number of classes, K; 0 without labels."""
        return len(self.class_names)

    def require_labels(self, use: str) -> None:
        """Raise a `DataError` if the images have no labels.

        Args:
            use: what needs them, as in "training".
        """
        if not self.labeled:
            raise DataError(f"{use} needs labels, and the images of {self.name} have none: sort them into one folder "
                            "per class (labels= in Python), or run `shiftscope audit`, which needs no labels")

    def require_training(self, use: str) -> None:
        """Raise a `DataError` if there are no training images or no labels; `use` needs them, as in "training"."""
        self.require_labels(use)
        if isinstance(self.train, NoImages):
            raise self.train.error()

    def split(self, validation: int) -> tuple[ImageSet, ImageSet | None]:
        """Split the training set into training and validation images.

        The validation images are a fixed pseudo-random subset: `validation` images, but at most a fifth of the training
        set. They do not depend on a seed. Every `validation=` in Shiftscope is passed to this method.

        Returns:
            (training images, validation images); the latter is None if there are none.
        """
        require(validation >= 0, "validation", validation, "an integer of at least 0")
        count = min(validation, len(self.train) // 5)
        if count == 0:
            return self.train, None
        order = hashing.permutation(_VALIDATION_START, len(self.train))
        return Subset(self.train, order[count:].sort().values), Subset(self.train, order[:count].sort().values)

    def split_images(self, split: str, validation: int) -> ImageSet:
        """Return the images of a split by its name; `validation` is the size of the validation split, see `split`."""
        if split == "test":
            return self.test
        if isinstance(self.train, NoImages):
            raise self.train.error()
        rest, held_out = self.split(validation)
        images = {"train": rest, "validation": held_out}.get(split)
        if images is None:
            raise unknown("split", split, ["test", "train", "validation"])
        return images

    def limit(self, count: int | None) -> "Dataset":
        """Return the first `count` training and the first `count` test images; None: all."""
        if count is None:
            return self
        require(count >= 1, "limit", count, "an integer of at least 1")
        first = {name: Subset(images, torch.arange(min(count, len(images))))
                 for name, images in (("train", self.train), ("test", self.test)) if len(images)}
        return replace(self, **first)


def image_names(images: ImageSet) -> Sequence[str] | None:
    """Return the name of each image of a set, such as the relative path of its file; None if names are unknown.

    >>> few = TensorImages(torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1]), ["cat/a.png", "dog/b.png"])
    >>> image_names(Subset(few, torch.tensor([1])))
    ['dog/b.png']
    """
    return getattr(images, "names", None)


def check_labels(labels: torch.Tensor, classes: int, what: str) -> None:
    """Raise a `DataError` if a label of `what` is not from 0 to `classes` - 1."""
    invalid = (labels < 0) | (labels >= classes)
    if invalid.any():
        first = int(invalid.nonzero()[0, 0])
        raise DataError(f"label {int(labels[first])} of image {first} in {what} is out of range: there are {classes} "
                        f"class names, so labels go from 0 to {classes - 1}")


def require_classes(class_names: Sequence[str], what: str) -> None:
    """Raise a `DataError` unless there are at least two classes with different names."""
    if len(class_names) < 2:
        raise DataError(f"{what} has {len(class_names)} class(es) ({', '.join(map(str, class_names))}), expected at "
                        "least 2")
    if len(set(class_names)) < len(class_names):
        repeated = [name for name, count in Counter(class_names).items() if count > 1]
        raise DataError(f"class_names of {what} must differ, got more than once: {some_of(repeated)}")


def class_counts(images: ImageSet, class_names: Sequence[str]) -> dict[str, int]:
    """Return the number of images of each class."""
    counts = torch.bincount(images.labels, minlength=len(class_names)).tolist()
    return dict(zip(class_names, counts, strict=True))
