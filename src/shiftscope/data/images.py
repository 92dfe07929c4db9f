"""Test images without a training set, with or without labels: from an array or any iterable."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from shiftscope.data.arrays import ImageArray, checksum, from_arrays, image_array, read_image
from shiftscope.data.base import Dataset, NoImages, TensorImages, require_classes
from shiftscope.data.decoding import Scale
from shiftscope.data.items import FROM_IMAGES, Key, Parts, stated_classes
from shiftscope.data.labels import check_names, number_labels, one_label, to_labels
from shiftscope.errors import DataError

MAX_BYTES = 8 * 2**30
"""Largest size of the images of an iterable, which may be endless."""

_IMAGES = Image.Image | torch.Tensor | np.ndarray


def from_images(images: Any, labels: Any = None, class_names: Sequence[str] | None = None, *,
                image: Key | None = None, label: Key | None = None, name: str = "images",
                source: str = "images in memory", license: str = "unknown") -> Dataset:
    """Return a dataset of test images, without training images, for an audit or an evaluation.

    Args:
        images: an array or tensor of images as in `from_arrays`, a list of images of one size, a map-style torch
            Dataset, or any other iterable, which is read once; an iterable may yield images, or items with an image and
            a label as in `from_torch`.
        labels: None: the images have no labels, unless an iterable yields them. Else (N,), as in `from_arrays`.
        class_names: K names (default: `images.classes`, the sorted names in the labels, or "class 0", "class 1", ...).
        image: key, attribute or index of the image in an item (default: a usual name, as in `from_torch`).
        label: likewise of the label.
        name: name of the dataset in results.
        source: description of the origin of the images.
        license: license of the images.

    Raises:
        DataError: if there are no images, an image has another type, size or range, labels are invalid, or the images
            take more than `MAX_BYTES`.

    Example:
        >>> data = from_images(np.zeros((4, 28, 28), dtype=np.uint8))
        >>> len(data.test), data.shape, data.labeled
        (4, (1, 28, 28), False)
    """
    scale = Scale()
    if isinstance(images, torch.Tensor | np.ndarray) or _is_list(images):
        found = image_array(images, f"images of {name}", scale)
    else:
        parts = Parts(image, label, FROM_IMAGES)
        found, own = _collect(images, name, scale, parts.for_dataset(images))
        labels = own if labels is None else labels
        class_names = stated_classes(images, parts) if class_names is None else class_names
    if labels is None and class_names is not None:
        check_names(class_names, name)
        class_names = None
    scale.check()
    pixels = found.finish()
    numbers, names = (None, ()) if labels is None else _numbers(labels, class_names, name)
    test = TensorImages(pixels, numbers)
    return Dataset(name=name, class_names=names, train=NoImages(name, test.shape), test=test, source=source,
                   license=license, notes=tuple(scale.notes()), labeled=labels is not None,
                   checksums={"test_images": checksum(test.images)})


def from_either(values: Sequence[Any], **options: Any) -> Dataset:
    """Return a dataset of training images, their labels, test images and theirs, or of test images with or without.

    Args:
        values: arguments of `from_arrays` or `from_images`.
        options: class_names, name and source.
    """
    return (from_arrays if len(values) == 4 else from_images)(*values, **options)


def _is_list(images: Any) -> bool:
    return isinstance(images, list | tuple) and bool(images) and isinstance(images[0], _IMAGES)


def _numbers(labels: Any, class_names: Sequence[str] | None, name: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    numbers, _, names = number_labels(to_labels(labels, f"labels of {name}"), [], class_names, name)
    if len(names) != 1:
        require_classes(names, name)
    return numbers, names


def _collect(images: Iterable[Any], name: str, scale: Scale, parts: Parts) -> tuple[ImageArray, list[Any] | None]:
    """Return the images of an iterable, and their labels if it yields them."""
    levels, labels, size = [], [], 0

    def what(index: int) -> str:
        return f"image {index} of {name}"

    for index, item in enumerate(_iterate(images, name)):
        image = item
        if not isinstance(item, _IMAGES):
            image, label = parts.image_of(item, f"item {index} of {name}")
            labels += [] if label is None else [one_label(label, what(index))]
        levels.append(read_image(image, what(index), scale))
        size += levels[-1].nbytes
        if size > MAX_BYTES:
            raise DataError(f"the first {index + 1:,} images of {name} take {size / 1e9:,.1f} GB, at most "
                            f"{MAX_BYTES / 1e9:,.1f} GB are read into memory: pass fewer or smaller images, for "
                            "instance with itertools.islice")
    if not levels:
        raise DataError(f"{name} holds no images, expected at least one")
    if labels and len(labels) < len(levels):
        raise DataError(f"{name} yields {len(labels):,} pairs (image, label) and {len(levels) - len(labels):,} images "
                        "without a label, expected one of the two kinds: remove the labels, or add the missing ones")
    found = ImageArray(len(levels), scale)
    for index, one in enumerate(levels):
        found.put_levels(index, one, what)
    return found, labels or None


def _iterate(images: Any, name: str) -> Iterable[Any]:
    """Return the items of an iterable or of a map-style torch Dataset.

    Raises:
        DataError: if it is neither, or a loader of batches; or from the items, if reading them raises.
    """
    if isinstance(images, str | bytes | Path):
        raise DataError(f"{name} must be images, got the {type(images).__name__} {str(images)!r:.80}: read files with "
                        "load_dataset('folder:PATH')")
    if hasattr(images, "batch_size") and hasattr(images, "dataset"):
        raise DataError(f"{name} is a {type(images).__name__}, a loader of batches, expected single images: pass "
                        "loader.dataset")
    if hasattr(images, "__len__") and hasattr(images, "__getitem__") and not hasattr(images, "__iter__"):
        sequence = images  # a map-style torch Dataset raises no IndexError at its end
        return _errors_named((sequence[index] for index in range(len(sequence))), name)
    if not hasattr(images, "__iter__") or hasattr(images, "keys"):
        raise DataError(f"{name} must be an array, a list or another iterable of images, got {type(images).__name__}")
    return _errors_named(iter(images), name)


def _errors_named(items: Iterable[Any], name: str) -> Iterable[Any]:
    count = 0
    try:
        for item in items:
            count += 1
            yield item
    except DataError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise DataError(f"{name} raised {type(error).__name__} near image {count}: {' '.join(str(error).split())[:150]}"
                        ) from error
