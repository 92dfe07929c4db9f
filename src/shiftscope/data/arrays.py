"""Datasets from arrays in memory, and from map-style torch Datasets."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from shiftscope.data.base import Dataset, TensorImages, require_classes
from shiftscope.data.decoding import Scale, array_levels, pil_levels
from shiftscope.data.items import USUAL, Key, MapDataset, Parts, read_item, require_map_style, stated_classes
from shiftscope.data.labels import Label, number_labels, one_label, to_labels
from shiftscope.errors import DataError, some_of

_SPLITS = ("train", "test")


# ---------------------------------------------------------------------- the sources

def from_arrays(train_images: Any, train_labels: Any, test_images: Any, test_labels: Any,
                class_names: Sequence[str] | None = None, *, name: str = "arrays",
                source: str = "arrays in memory", license: str = "unknown") -> Dataset:
    """Return a dataset of arrays.

    Args:
        train_images: gray (N, H, W), or with 1 or 3 channels: (N, H, W, C) as a NumPy array, (N, C, H, W) as a torch
            tensor; or a list of PIL images, arrays or tensors of one size. uint8, booleans, other integers from 0 to
            65535, or floats from 0 to 1 (or to 255). All images of the dataset are scaled alike, see `Scale`.
        train_labels: (N,) or (N, 1): integers or booleans, classes from 0 to K-1, or names of classes.
        test_images: as `train_images`.
        test_labels: as `train_labels`.
        class_names: K names (default: the names in `train_labels`, sorted, or "class 0", "class 1", ...).
        name: name of the dataset in results.
        source: description of the origin of the images.
        license: license of the images.

    Raises:
        DataError: if a dtype, range or shape is not supported, pixels are NaN, labels are not integers or out of range,
            or there are fewer than two classes.

    Example:
        >>> images = np.zeros((4, 28, 28), dtype=np.uint8)
        >>> from_arrays(images, [0, 1, 0, 1], images[:2], [0, 1], ["shirt", "shoe"]).shape
        (1, 28, 28)
    """
    scale = Scale()
    images = [image_array(values, f"{split}_images of {name}", scale)
              for split, values in zip(_SPLITS, (train_images, test_images), strict=True)]
    labels = [to_labels(values, f"{split}_labels of {name}")
              for split, values in zip(_SPLITS, (train_labels, test_labels), strict=True)]
    return _dataset(images, labels, class_names, scale, name=name, source=source, license=license)


def from_torch(train: MapDataset, test: MapDataset, class_names: Sequence[str] | None = None, *,
               image: Key | None = None, label: Key | None = None, name: str = "torch-dataset",
               source: str = "a torch Dataset", license: str = "unknown") -> Dataset:
    """Return a dataset with every image and label of two map-style torch Datasets, or of two Hugging Face datasets.

    An item is a pair (image, label), or a tuple, dictionary or object that holds them. An image is a PIL image of any
    mode, a tensor (C, H, W) or (H, W), or a NumPy array (H, W, C) or (H, W), with pixels as in `from_arrays` (without
    Normalize). If some images are gray and others in color, all get three channels. A label is an integer, a boolean,
    or the name of a class.

    Args:
        train: training images; with `len` and an index from 0.
        test: likewise.
        class_names: K names (default: `train.classes`, or the names of the label in `train.features`).
        image: key, attribute or index of the image in an item (default: "image", "img" or another usual name).
        label: likewise of the label (default: "label", "target" or another usual name).
        name: name of the dataset in results.
        source: description of the origin of the images.
        license: license of the images.

    Raises:
        DataError: if there are no images, it is unclear which parts of an item are image and label, an image has
            another type, size or range (the message names its index), a label is not an integer, or the classes of the
            datasets differ.

    Example:
        >>> items = [{"img": np.zeros((4, 4), np.uint8), "fine_label": k, "coarse_label": 0} for k in (0, 1)]
        >>> from_torch(items, items, ["cat", "dog"], label="fine_label").train.labels
        tensor([0, 1])
    """
    parts = Parts(image, label)
    if class_names is None:
        class_names = shared_classes(train, test, name, parts)
    scale = Scale()
    images, labels = zip(*(_collect(dataset, split, scale, parts)
                           for split, dataset in zip(_SPLITS, (train, test), strict=True)), strict=True)
    labels = [to_labels(values, f"{split}_labels of {name}") for split, values in zip(_SPLITS, labels, strict=True)]
    return _dataset(images, labels, class_names, scale, name=name, source=source, license=license)


def shared_classes(train: Any, test: Any, name: str, parts: Parts = USUAL) -> tuple[str, ...] | None:
    """Return the class names that two datasets state, or None if neither does.

    Raises:
        DataError: if they differ, so that a label means different classes.
    """
    stated = [classes for dataset in (train, test) if (classes := stated_classes(dataset, parts)) is not None]
    if len(stated) == 2 and stated[0] != stated[1]:
        different = sorted(set(stated[0]) ^ set(stated[1]))
        raise DataError(f"train.classes and test.classes of {name} differ"
                        f"{f' ({some_of(different)} in one of them)' if different else ' in order'}, so that equal "
                        "labels mean different classes: read both with the same list of classes")
    return stated[0] if stated else None


def collect_images(dataset: MapDataset, split: str, class_names: Sequence[str],
                   parts: Parts = USUAL) -> tuple[TensorImages, list[str]]:
    """Return the images of a single map-style torch Dataset, with their own scale, and notes about them."""
    scale = Scale()
    images, labels = _collect(dataset, split, scale, parts)
    scale.check()
    numbers = number_labels(to_labels(labels, f"the {split} labels"), [], class_names, split)[0]
    return TensorImages(images.finish(), numbers), scale.notes()


def _dataset(images: Sequence["ImageArray"], labels: list[Any], class_names: Sequence[str] | None, scale: Scale, *,
             name: str, source: str, license: str) -> Dataset:
    scale.check()
    *numbers, names = number_labels(labels[0], labels[1], class_names, name)
    require_classes(names, name)
    for split in images:
        split.widen(max(split.pixels.shape[1] for split in images))
    train, test = (TensorImages(split.finish(), numbers) for split, numbers in zip(images, numbers, strict=True))
    notes = scale.notes()
    present = set(train.labels.unique().tolist())
    absent = [class_name for number, class_name in enumerate(names) if number not in present]
    if absent:
        notes.append(f"no training image has the class {some_of(absent)}; class numbers begin at 0")
    if int(train.images.max()) == 1:
        notes.append("the largest pixel value of the training images is 1 of 255: if pixels are 0 and 1, pass "
                     "booleans, or multiply by 255")
    return Dataset(name=name, class_names=names, train=train, test=test, source=source, license=license,
                   checksums={"train_images": checksum(train.images), "test_images": checksum(test.images)},
                   notes=tuple(notes))


def checksum(images: torch.Tensor) -> str:
    """Return the SHA-256 of pixels in row-major order; the shape is not included."""
    return hashlib.sha256(np.ascontiguousarray(images.numpy()).data).hexdigest()


# ---------------------------------------------------------------------- images one by one, or many at a time

class ImageArray:
    """The images of one split, all of one size, until the scale of the whole dataset is known.

    Args:
        count: number of images.
        scale: that of the dataset.
    """

    def __init__(self, count: int, scale: Scale):
        self.count, self.scale = count, scale
        self.pixels: np.ndarray[Any, Any] = np.empty((0, 0, 0, 0), dtype=np.uint8)  # (N, C, H, W)
        self._deep: dict[int, np.ndarray] = {}

    def put(self, index: int, image: Any, name: Callable[[int], str]) -> None:
        """Store the image at `index`; `name` names an image in errors."""
        self.put_levels(index, read_image(image, name(index), self.scale), name)

    def put_levels(self, index: int, levels: np.ndarray, name: Callable[[int], str]) -> None:
        """Store a result of `read_image` at `index`."""
        if not len(self.pixels):
            self.pixels = np.empty((self.count, *levels.shape), dtype=np.uint8)
        if levels.shape[1:] != self.pixels.shape[2:]:
            sizes = ["{} x {}".format(*shape[-2:]) for shape in (levels.shape, self.pixels.shape)]
            raise DataError(f"{name(index)} is {sizes[0]} pixels, {name(0)} is {sizes[1]} (height x width), expected "
                            "one size: add a Resize to its transform")
        self.widen(len(levels))
        if levels.dtype == np.uint16:
            self._deep[index] = levels
        else:
            self.pixels[index] = self.scale.apply(levels)

    def widen(self, channels: int) -> None:
        """Repeat the only channel if `channels` is larger."""
        if channels > self.pixels.shape[1]:
            self.pixels = self.pixels.repeat(channels, axis=1)

    def finish(self) -> torch.Tensor:
        """Return the images, uint8 (N, C, H, W)."""
        for index, levels in self._deep.items():
            self.pixels[index] = self.scale.apply(levels)
        return torch.from_numpy(self.scale.apply(self.pixels))


def read_image(image: Any, what: str, scale: Scale) -> np.ndarray:
    """Return the levels (C, H, W) of a PIL image, a torch tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C).

    Raises:
        DataError: if the type, shape or range is not supported; `what` names the image.
    """
    if isinstance(image, Image.Image):
        scale.update_from_header(image, what)
        levels = pil_levels(image, what)
    elif isinstance(image, torch.Tensor | np.ndarray):
        tensor, levels = isinstance(image, torch.Tensor), array_levels(image, what)
        if levels.ndim == 2 and levels.size:
            levels = levels[None]
        elif levels.ndim != 3 or not levels.size or levels.shape[0 if tensor else 2] not in (1, 3):
            raise _shape_error(levels.shape, tensor, what, batch=False)
        elif not tensor:
            levels = np.ascontiguousarray(levels.transpose(2, 0, 1))
    else:
        raise DataError(f"{what} is a {type(image).__name__}, expected a PIL image, a torch tensor or a NumPy array: "
                        "convert it in the dataset's transform")
    scale.update(levels, what)
    return levels


def image_array(values: Any, what: str, scale: Scale) -> ImageArray:
    """Return the images of an array, a tensor, or a list of images."""
    if isinstance(values, list | tuple) and values and isinstance(values[0], Image.Image | torch.Tensor | np.ndarray):
        images = ImageArray(len(values), scale)
        for index, image in enumerate(values):
            images.put(index, image, lambda index: f"image {index} in {what}")
        return images
    tensor, levels = isinstance(values, torch.Tensor), array_levels(values, what)
    if levels.ndim and not len(levels):
        raise DataError(f"{what} hold no images, expected at least one")
    if levels.ndim == 3 and levels.size:
        levels = levels[:, None]
    elif levels.ndim != 4 or not levels.size or levels.shape[1 if tensor else 3] not in (1, 3):
        raise _shape_error(levels.shape, tensor, what, batch=True)
    elif not tensor:
        levels = levels.transpose(0, 3, 1, 2)
    images = ImageArray(len(levels), scale)
    scale.update(levels, what)
    images.pixels = np.array(levels, order="C")  # a copy: later changes by the caller do not reach the dataset
    return images


def _shape_error(shape: tuple[int, ...], tensor: bool, what: str, *, batch: bool) -> DataError:
    """Return the error for an unsupported shape, with a line of code that repairs it if there is one."""
    count, first = ("N, ", 1) if batch else ("", 0)
    layout, hint = f"({count}C, H, W)" if tensor else f"({count}H, W, C)", ""
    if len(shape) == first + 3:
        if shape[-1 if tensor else first] in (1, 3):
            axes = [*range(first), *(first + axis for axis in ((2, 0, 1) if tensor else (1, 2, 0)))]
            hint = f"; for channels {'last' if tensor else 'first'}:\n    images = images."
            hint += f"{'permute' if tensor else 'transpose'}({', '.join(map(str, axes))})"
        elif shape[first if tensor else -1] == 4:
            keep = ", ".join([":"] * first + ([":3"] if tensor else [":", ":", ":3"]))
            hint = f"; to remove an alpha channel:\n    images = images[{keep}]"
    return DataError(f"{what} has shape {tuple(shape)}, expected ({count}H, W), or {layout} with 1 or 3 channels, the "
                     f"order of {'torch tensors' if tensor else 'NumPy arrays'}{hint}")


# ---------------------------------------------------------------------- map-style datasets

def _collect(dataset: MapDataset, split: str, scale: Scale, parts: Parts) -> tuple[ImageArray, list[Label]]:
    """Read all images and labels of a map-style dataset."""
    require_map_style(dataset, split)
    count, parts = len(dataset), parts.for_dataset(dataset)
    if count == 0:
        raise DataError(f"the {split} dataset is empty, expected at least one image")
    images, labels = ImageArray(count, scale), []

    def name(index: int) -> str:
        return f"image {index} of the {split} dataset"

    for index in range(count):
        image, label = parts.split(read_item(dataset, index, split), f"item {index} of the {split} dataset")
        images.put(index, image, name)
        labels.append(one_label(label, name(index)))
    return images, labels
