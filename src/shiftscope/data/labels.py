"""Labels as class numbers, one per image, from integers, booleans, or names of classes."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from shiftscope.errors import DataError, some_of

MAX_CLASSES = 100_000
"""Largest number of classes if no class names are given."""

Label = int | str
"""A class number, or the name of a class."""


def one_label(value: Any, what: str) -> Label:
    """Return the label of one image as a class number or a name.

    >>> one_label(torch.tensor([3]), "image 0"), one_label(True, "image 0"), one_label(np.str_("cat"), "image 0")
    (3, 1, 'cat')

    Raises:
        DataError: if the label is a float, several numbers, or not a number; `what` names the image.
    """
    array = _to_array(value)
    if array is not None and array.size == 1:
        if array.dtype.kind in "iub":
            return int(array.reshape(())[()])
        if array.dtype.kind in "US":
            text = array.reshape(())[()]
            return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        if array.dtype.kind == "f":
            raise DataError(f"the label of {what} is the float {float(array.reshape(())[()]):g}, expected an integer "
                            "class number: convert it with int(label), or divide a continuous target into classes")
    if array is not None and array.size > 1 and array.dtype.kind in "iubf":
        raise DataError(f"the label of {what} has {array.size} numbers, expected one class number; for one-hot labels "
                        "convert each dataset:\n    pairs = [(image, int(label.argmax())) for image, label in dataset]")
    raise DataError(f"the label of {what} is a {type(value).__name__}, expected one integer or the name of a class")


def to_labels(values: Any, what: str) -> list[str] | np.ndarray:
    """Return the labels of a set: int64 (N,), or a list of class names.

    Raises:
        DataError: if labels are floats, several per image, or not labels; `what` names them.
    """
    array = _to_array(values)
    if array is not None and array.dtype.kind in "OT" and array.ndim in (1, 2) and array.size == len(array):
        values = array.reshape(-1).tolist()  # for example of pandas
    numeric = array is not None and array.ndim == 2 and array.dtype.kind in "iubf"
    if isinstance(values, list | tuple) and not numeric:
        values = [one_label(value, f"image {index} in {what}") for index, value in enumerate(values)]
        if len({isinstance(value, str) for value in values}) == 2:
            raise DataError(f"{what} mix class numbers and names, expected one of them")
        array = _to_array(values)
    if array is None or array.dtype.kind not in "iubfUS":
        kind = type(values).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{what} must be integers of shape (N,), or names of classes, got {kind}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise _several(array, what)
    if array.dtype.kind in "US":
        return [one_label(value, what) for value in array]  # pyright: ignore[reportReturnType]
    if array.dtype.kind == "f":
        raise DataError(f"{what} must be integers of shape (N,), got {array.dtype} of shape {array.shape}: "
                        "convert class numbers with .astype(int), or divide a continuous target into classes")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"{what} must be class numbers from 0, got {array.max()}")
    return array.astype(np.int64)


def _several(array: np.ndarray, what: str) -> DataError:
    """Return the error for labels that are not one per image, with lines of code that convert them if possible."""
    got = f"{what} must be integers of shape (N,), one per image, got shape {array.shape}"
    if array.ndim != 2 or array.dtype.kind not in "iubf":
        return DataError(f"{got}: pass one class number per image")
    if not np.isin(array, (0, 1)).all():
        return DataError(f"{got}; for scores of the classes pass the best class:\n    labels = labels.argmax(1)")
    if (array.sum(1) == 1).all():
        return DataError(f"{got}, which is one-hot:\n    labels = labels.argmax(1)")
    return DataError(f"{got}, with no or several classes for an image (multi-label), expected one; keep the images "
                     "that have one:\n    keep = labels.sum(1) == 1\n    images, labels = images[keep], "
                     "labels[keep].argmax(1)")


def _to_array(value: Any) -> np.ndarray | None:
    """Return a value as an array, or None if that is impossible."""
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def number_labels(train: list[str] | np.ndarray, test: list[str] | np.ndarray, class_names: Sequence[str] | None,
                  what: str) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Return the class numbers of both sets, int64 (N,), and the names of all classes.

    Args:
        train: result of `to_labels`.
        test: likewise.
        class_names: None: the names in `train`, sorted, or "class 0", "class 1", ...

    Raises:
        DataError: if a name is not a class, or a number is too large.
    """
    names = check_names(class_names, what) if class_names is not None else None
    if names is None and isinstance(train, list):
        names = tuple(sorted(set(map(normalized, train))))
    if names is None:
        names = _numbered(train, test, what)
    return (_numbers(train, names, f"train_labels of {what}"), _numbers(test, names, f"test_labels of {what}"), names)


def normalized(name: str) -> str:
    """Return a name in the Unicode normalization form NFC, in which é is one character."""
    return unicodedata.normalize("NFC", name)


def check_names(class_names: Any, what: str) -> tuple[str, ...]:
    """Return class names as text in the form NFC.

    Raises:
        DataError: if they are not a sequence of names.
    """
    sized = hasattr(class_names, "__len__") and hasattr(class_names, "__iter__")
    if isinstance(class_names, str | bytes) or not sized:
        raise DataError(f"class_names of {what} must be a sequence of names, one per class, got {class_names!r:.80}")
    return tuple(normalized(str(name)) for name in class_names)


def _numbered(train: Any, test: Any, what: str) -> tuple[str, ...]:
    numbers = [labels for labels in (train, test) if not isinstance(labels, list) and len(labels)]
    largest = max((int(labels.max()) for labels in numbers), default=0)
    if largest >= MAX_CLASSES:
        raise DataError(f"labels of {what} go up to {largest:,}, expected class numbers from 0 to K-1, below "
                        f"{MAX_CLASSES:,}: number the classes without gaps:\n"
                        "    classes, labels = numpy.unique(labels, return_inverse=True)")
    return tuple(f"class {k}" for k in range(largest + 1))


def _numbers(labels: list[str] | np.ndarray, names: tuple[str, ...], what: str) -> torch.Tensor:
    if not isinstance(labels, list):
        return torch.from_numpy(labels)
    known = {name: number for number, name in enumerate(names)}
    numbers = [known.get(normalized(label), -1) for label in labels]
    if -1 in numbers:
        index = numbers.index(-1)
        raise DataError(f"label {labels[index]!r:.60} of image {index} in {what} is not a class: the class names are "
                        f"{some_of(names)}")
    return torch.tensor(numbers, dtype=torch.int64)
