"""Datasets from arrays in memory, from an .npz file, and from any map-style torch Dataset."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from shiftscope.data.base import Dataset, TensorImages, require_classes
from shiftscope.data.collecting import Levels, MapDataset, collect, to_levels
from shiftscope.data.decoding import Scale
from shiftscope.data.labels import check_names, number_labels, to_labels
from shiftscope.errors import DataError, some_of
from shiftscope.files import reason
from shiftscope.npz import describe_arrays, read_arrays
from shiftscope.text import valid_unicode

NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
"""The arrays that an .npz file must hold."""

_SPLITS = ("train", "test")
_MOST_NAMED = 6  # arrays of an .npz file, in an error


def from_arrays(train_images: Any, train_labels: Any, test_images: Any, test_labels: Any,
                class_names: Sequence[str] | None = None, *, name: str = "arrays",
                source: str = "arrays in memory", license: str = "unknown") -> Dataset:
    """Return a dataset made of arrays.

    Args:
        train_images: gray (N, H, W), or with 1 or 3 channels: (N, H, W, C) as a NumPy array, (N, C, H, W) as a torch
            tensor; or a list of PIL images, arrays or tensors of one size. uint8, booleans, other integers from 0 to
            65535, or floats from 0 to 1 (or to 255): all images of the dataset are scaled alike, see `Scale`.
        train_labels: (N,) or (N, 1): integers or booleans, classes from 0 to K-1, or names of classes.
        test_images: as `train_images`.
        test_labels: as `train_labels`.
        class_names: K names; unless given, the names that `train_labels` holds, sorted, or "class 0", "class 1", ...
        name: what results call the dataset.
        source: where the images come from, for people.
        license: the images' license.

    Raises:
        DataError: another dtype, range or shape, NaN, labels that are no integers or out of range, fewer than two
            classes.

    Example:
        >>> images = np.zeros((4, 28, 28), dtype=np.uint8)
        >>> from_arrays(images, [0, 1, 0, 1], images[:2], [0, 1], ["shirt", "shoe"]).shape
        (1, 28, 28)
    """
    scale = Scale()
    images = [to_levels(given, f"{part}_images of {name}", scale)
              for part, given in zip(_SPLITS, (train_images, test_images), strict=True)]
    labels = [to_labels(given, f"{part}_labels of {name}")
              for part, given in zip(_SPLITS, (train_labels, test_labels), strict=True)]
    return _dataset(images, labels, class_names, scale, name=name, source=source, license=license)


def _dataset(images: list[Levels], labels: list[Any], class_names: Sequence[str] | None, scale: Scale, *, name: str,
             source: str, license: str) -> Dataset:
    """Return a dataset of a training and a test set whose levels and labels were read."""
    scale.check()
    *numbers, names = number_labels(labels[0], labels[1], class_names, name)
    require_classes(names, name)
    for part in images:
        part.widen(max(part.pixels.shape[1] for part in images))
    train, test = (TensorImages(part.finish(), part_labels) for part, part_labels in zip(images, numbers, strict=True))
    checksums = {f"{which}_images": checksum(part.images) for which, part in (("train", train), ("test", test))}
    notes = [*scale.notes(), *_class_notes(train, names), *_dark_note(train)]
    return Dataset(name=name, class_names=names, train=train, test=test, source=source, license=license,
                   checksums=checksums, notes=tuple(notes))


def _class_notes(train: TensorImages, names: Sequence[str]) -> list[str]:
    held = set(train.labels.unique().tolist())
    missing = [name for number, name in enumerate(names) if number not in held]
    return [f"no training image has the class {some_of(missing)}; class numbers begin at 0"] if missing else []


def _dark_note(train: TensorImages) -> list[str]:
    if int(train.images.max()) != 1:
        return []
    return ["the largest pixel value of the training images is 1 of 255: if pixels are 0 and 1, give booleans, or "
            "multiply by 255"]


def checksum(images: torch.Tensor) -> str:
    """Return the SHA-256 of pixels, row by row, without their shape."""
    return hashlib.sha256(np.ascontiguousarray(images.numpy()).data).hexdigest()


def read_npz(path: Path | str) -> Dataset:
    """Return the dataset in an .npz file with the arrays `NPZ_KEYS`; code in it never runs.

    Images are uint8 (N, H, W) or (N, H, W, C), labels whole numbers (N,), class_names an array of text.

    Raises:
        DataError: missing, truncated, no .npz file, pickled objects, or a wrong array.
    """
    path = Path(path).expanduser()
    try:
        arrays = read_arrays(path, NPZ_KEYS)
        held = describe_arrays(path)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path after npz:") from error
    except OSError as error:
        raise DataError(f"{path} is no readable .npz file: {reason(error)}; write it anew with numpy.savez") from error
    missing = [key for key in NPZ_KEYS if key not in arrays]
    if missing:
        there = some_of([f"{name:.30} {kind}" for name, kind in held.items()], _MOST_NAMED) or "nothing"
        raise DataError(f"{path} lacks {', '.join(missing)}: it holds {there}; write all of {', '.join(NPZ_KEYS)} with "
                        "numpy.savez")
    classes = [name.decode(errors="replace") if isinstance(name, bytes) else str(name)
               for name in arrays["class_names"].ravel()]
    more = [key for key in held if key not in NPZ_KEYS]
    data = from_arrays(*(arrays[key] for key in NPZ_KEYS[:4]), class_names=classes, name=valid_unicode(path.stem),
                       source=f"arrays in the file {valid_unicode(path.name)}")
    left_out = [f"left out of {valid_unicode(path.name)}: {some_of(more)}"] if more else []
    return replace(data, notes=(*left_out, *data.notes))


def from_torch(train: MapDataset, test: MapDataset, class_names: Sequence[str] | None = None, *,
               name: str = "torch-dataset", source: str = "a torch Dataset", license: str = "unknown") -> Dataset:
    """Return a dataset that holds every (image, label) of two map-style torch Datasets.

    An image is a PIL image of any mode, a tensor (C, H, W) or (H, W), or a NumPy array (H, W, C) or (H, W), with pixels
    as in `from_arrays` (so no Normalize). Gray images among color ones get three channels. A label is an integer, a
    boolean, or the name of a class. `class_names` is taken from `train.classes` unless given.

    Raises:
        DataError: no images, items that are no pairs, an image of another kind, size or range (the message names its
            index), a label that is no integer, or two datasets whose `classes` differ.
    """
    if class_names is None:
        class_names = shared_classes(train, test, name)
    scale = Scale()
    found = [collect(dataset, part, scale) for part, dataset in zip(_SPLITS, (train, test), strict=True)]
    labels = [to_labels(numbers, f"{part}_labels of {name}") for part, (_, numbers) in zip(_SPLITS, found, strict=True)]
    return _dataset([images for images, _ in found], labels, class_names, scale, name=name, source=source,
                    license=license)


def shared_classes(train: Any, test: Any, name: str) -> tuple[str, ...] | None:
    """Return the class names that torch Datasets state; None where neither does.

    Raises:
        DataError: they differ, so that a label means another class in each of them.
    """
    found = [check_names(classes, name) for dataset in (train, test)
             if isinstance(classes := getattr(dataset, "classes", None), list | tuple | np.ndarray)]
    if len(found) == 2 and found[0] != found[1]:
        odd = sorted(set(found[0]) ^ set(found[1]))
        raise DataError(f"train.classes and test.classes of {name} differ"
                        f"{f' ({some_of(odd)} in one of them)' if odd else ' in order'}, so that their labels do not "
                        "mean the same classes: read both with the same list of classes")
    return found[0] if found else None


def collect_set(dataset: MapDataset, which: str, class_names: Sequence[str]) -> tuple[TensorImages, list[str]]:
    """Return a map-style torch Dataset as images with an index, read by a scale of its own, and notes about it."""
    scale = Scale()
    images, labels = collect(dataset, which, scale)
    scale.check()
    numbers = number_labels(to_labels(labels, f"the {which} labels"), [], class_names, which)[0]
    return TensorImages(images.finish(), numbers), scale.notes()
