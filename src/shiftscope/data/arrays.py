"""Datasets from arrays in memory, from an .npz file, and from map-style torch Datasets."""

import hashlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from shiftscope.data.base import Dataset, TensorImages, require_classes
from shiftscope.data.decoding import Scale, array_levels, pil_levels
from shiftscope.data.labels import Label, check_names, number_labels, one_label, to_labels
from shiftscope.errors import DataError, some_of
from shiftscope.files import reason
from shiftscope.npz import describe_arrays, read_arrays
from shiftscope.text import valid_unicode

NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
"""The arrays of an .npz file."""

_SPLITS = ("train", "test")
_PAIRS = "\n    pairs = [({}, {}) for {} in dataset]"  # code that makes pairs of other items


class MapDataset(Protocol):
    """A map-style torch Dataset of (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


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


def read_npz(path: Path | str) -> Dataset:
    """Return the dataset in an .npz file with the arrays `NPZ_KEYS`; code in it never runs.

    Images are uint8 (N, H, W) or (N, H, W, C), labels integers (N,), class_names an array of text.

    Raises:
        DataError: if the file is missing, damaged or not an .npz file, holds pickled objects, or lacks an array.
    """
    path = Path(path).expanduser()
    try:
        arrays = read_arrays(path, NPZ_KEYS)
        described = describe_arrays(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path after npz:") from error
    except OSError as error:
        raise DataError(f"{path} is not a readable .npz file: {reason(error)}; write it again with numpy.savez"
                        ) from error
    missing = [key for key in NPZ_KEYS if key not in arrays]
    if missing:
        present = some_of([f"{name:.30} {kind}" for name, kind in described.items()]) or "nothing"
        raise DataError(f"{path} lacks {', '.join(missing)}: it holds {present}; write all of {', '.join(NPZ_KEYS)} "
                        "with numpy.savez")
    classes = [name.decode(errors="replace") if isinstance(name, bytes) else str(name)
               for name in arrays["class_names"].ravel()]
    others = [key for key in described if key not in NPZ_KEYS]
    data = from_arrays(*(arrays[key] for key in NPZ_KEYS[:4]), class_names=classes, name=valid_unicode(path.stem),
                       source=f"arrays in the file {valid_unicode(path.name)}")
    ignored = [f"ignored in {valid_unicode(path.name)}: {some_of(others)}"] if others else []
    return replace(data, notes=(*ignored, *data.notes))


def from_torch(train: MapDataset, test: MapDataset, class_names: Sequence[str] | None = None, *,
               name: str = "torch-dataset", source: str = "a torch Dataset", license: str = "unknown") -> Dataset:
    """Return a dataset with every (image, label) of two map-style torch Datasets.

    An image is a PIL image of any mode, a tensor (C, H, W) or (H, W), or a NumPy array (H, W, C) or (H, W), with pixels
    as in `from_arrays` (without Normalize). If some images are gray and others in color, all get three channels. A
    label is an integer, a boolean, or the name of a class. `class_names` defaults to `train.classes`.

    Raises:
        DataError: if there are no images, items are not pairs, an image has another type, size or range (the message
            names its index), a label is not an integer, or the `classes` of the datasets differ.
    """
    if class_names is None:
        class_names = shared_classes(train, test, name)
    scale = Scale()
    images, labels = zip(*(_collect(dataset, split, scale)
                           for split, dataset in zip(_SPLITS, (train, test), strict=True)), strict=True)
    labels = [to_labels(values, f"{split}_labels of {name}") for split, values in zip(_SPLITS, labels, strict=True)]
    return _dataset(images, labels, class_names, scale, name=name, source=source, license=license)


def shared_classes(train: Any, test: Any, name: str) -> tuple[str, ...] | None:
    """Return the attribute `classes` of torch Datasets, or None if neither has it.

    Raises:
        DataError: if they differ, so that a label means different classes.
    """
    stated = [check_names(classes, name) for dataset in (train, test)
              if isinstance(classes := getattr(dataset, "classes", None), list | tuple | np.ndarray)]
    if len(stated) == 2 and stated[0] != stated[1]:
        different = sorted(set(stated[0]) ^ set(stated[1]))
        raise DataError(f"train.classes and test.classes of {name} differ"
                        f"{f' ({some_of(different)} in one of them)' if different else ' in order'}, so that equal "
                        "labels mean different classes: read both with the same list of classes")
    return stated[0] if stated else None


def collect_images(dataset: MapDataset, split: str, class_names: Sequence[str]) -> tuple[TensorImages, list[str]]:
    """Return the images of a single map-style torch Dataset, with their own scale, and notes about them."""
    scale = Scale()
    images, labels = _collect(dataset, split, scale)
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

def _collect(dataset: MapDataset, split: str, scale: Scale) -> tuple[ImageArray, list[Label]]:
    """Read all images and labels of a map-style dataset."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        remedy = ""
        if hasattr(dataset, "dataset") and hasattr(dataset, "batch_size"):
            remedy = ", a loader of batches: pass loader.dataset"
        elif hasattr(dataset, "__iter__"):
            remedy = ": put its items into a list, or train on it as a stream with from_iterable"
        raise DataError(f"{split} must be a map-style torch Dataset with len() and indexing, got "
                        f"{type(dataset).__name__}{remedy}")
    count = len(dataset)
    if count == 0:
        raise DataError(f"the {split} dataset is empty, expected at least one image")
    images, labels = ImageArray(count, scale), []

    def name(index: int) -> str:
        return f"image {index} of the {split} dataset"

    for index in range(count):
        image, label = pair(_item(dataset, index, split), f"item {index} of the {split} dataset")
        images.put(index, image, name)
        labels.append(one_label(label, name(index)))
    return images, labels


def _item(dataset: MapDataset, index: int, split: str) -> Any:
    try:
        return dataset[index]
    except DataError:
        raise
    except Exception as error:  # the user's dataset may raise anything
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(f"the {split} dataset raised {type(error).__name__} for index {index} of {len(dataset)}, in "
                        f"{line.filename}:{line.lineno}: {' '.join(str(error).split())[:150]}") from error


def pair(item: Any, what: str) -> tuple[Any, Any]:
    """Return the image and the label of a dataset's item.

    Raises:
        DataError: if the item is not a pair; the message ends with a line of code that makes pairs.
    """
    if isinstance(item, tuple | list):
        if len(item) == 2:
            return item[0], item[1]
        raise DataError(f"{what} has {len(item)} parts, expected two, (image, label); choose two of them:"
                        f"{_PAIRS.format('item[0]', 'item[1]', 'item')}")
    if hasattr(item, "keys"):
        keys = [str(key) for key in islice(item.keys(), 20)]
        image, label = _key(keys, "image", "ima", "img", "pix", "x"), _key(keys, "label", "lab", "tar", "cla", "y")
        raise DataError(f"{what} is a {type(item).__name__} with the keys {some_of(keys)}, expected a pair (image, "
                        f"label); convert it:{_PAIRS.format(f'item[{image!r}]', f'item[{label!r}]', 'item')}")
    line = _PAIRS.format("image", "label", "image, label in zip(images, labels)").replace(" in dataset", "")
    raise DataError(f"{what} is a {type(item).__name__}, expected a pair (image, label); add the labels:{line}")


def _key(keys: list[str], *parts: str) -> str:
    """Return the first key that contains one of `parts`, or the first part.

    >>> _key(["idx", "img"], "image", "img")
    'img'
    """
    return next((key for part in parts for key in keys if part in key.lower()), parts[0])
