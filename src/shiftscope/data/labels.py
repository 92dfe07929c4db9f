"""Labels of any kind as class numbers, one an image: integers, booleans, or names of classes."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from shiftscope.errors import DataError, some_of

MOST_CLASSES = 100_000
"""Largest number of classes that is believed where no class names are given."""

Label = int | str
"""A class number, or the name of a class."""


def one_label(value: Any, what: str) -> Label:
    """Return the label of one image as a class number or a name.

    >>> one_label(torch.tensor([3]), "image 0"), one_label(True, "image 0"), one_label(np.str_("cat"), "image 0")
    (3, 1, 'cat')

    Raises:
        DataError: a float, several numbers, or no number; `what` names the image.
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
                            "class number: convert it with int(label) if labels are whole numbers, or make classes of "
                            "a continuous target")
    if array is not None and array.size > 1 and array.dtype.kind in "iubf":
        raise DataError(f"the label of {what} has {array.size} numbers, expected one class number; for one-hot labels "
                        "convert each dataset:\n    pairs = [(image, int(label.argmax())) for image, label in dataset]")
    raise DataError(f"the label of {what} is a {type(value).__name__}, expected one integer or the name of a class")


def to_labels(values: Any, what: str) -> list[str] | np.ndarray:
    """Return the labels of a set: int64 (N,), or the names of their classes.

    Raises:
        DataError: floats, several labels an image, or no labels; `what` names them.
    """
    array = _to_array(values)
    if array is not None and array.dtype.kind in "OT" and array.ndim in (1, 2) and array.size == len(array):
        values = array.reshape(-1).tolist()  # of pandas, for instance
    numeric = array is not None and array.ndim == 2 and array.dtype.kind in "iubf"
    if isinstance(values, list | tuple) and not numeric:
        values = [one_label(value, f"image {index} in {what}") for index, value in enumerate(values)]
        if len({isinstance(value, str) for value in values}) == 2:
            raise DataError(f"{what} are class numbers and names mixed, expected one of them")
        array = _to_array(values)
    if array is None or array.dtype.kind not in "iubfUS":
        kind = type(values).__name__ if array is None else f"{array.dtype} of shape {array.shape}"
        raise DataError(f"{what} must be whole numbers of shape (N,), or names of classes, got {kind}")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise _several(array, what)
    if array.dtype.kind in "US":
        return [one_label(value, what) for value in array]  # pyright: ignore[reportReturnType]
    if array.dtype.kind == "f":
        raise DataError(f"{what} must be whole numbers of shape (N,), got {array.dtype} of shape {array.shape}: "
                        "convert labels that are class numbers with .astype(int), or make classes of a continuous "
                        "target")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"{what} must be class numbers from 0, got {array.max()}")
    return array.astype(np.int64)


def _several(array: np.ndarray, what: str) -> DataError:
    """Return the error for labels that are not one an image, with the lines that convert them where there are any."""
    got = f"{what} must be whole numbers of shape (N,), one an image, got shape {array.shape}"
    if array.ndim != 2 or array.dtype.kind not in "iubf":
        return DataError(f"{got}: give one class number an image")
    if not np.isin(array, (0, 1)).all():
        return DataError(f"{got}; of scores of the classes give the best one:\n    labels = labels.argmax(1)")
    if (array.sum(1) == 1).all():
        return DataError(f"{got}, which is one-hot:\n    labels = labels.argmax(1)")
    return DataError(f"{got}, which marks none or several classes of an image (multi-label), expected one; keep the "
                     "images that have one:\n    keep = labels.sum(1) == 1\n    images, labels = images[keep], "
                     "labels[keep].argmax(1)")


def _to_array(value: Any) -> np.ndarray | None:
    """Return a value as an array; None where it is none."""
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
        train: what `to_labels` returned.
        test: likewise.
        class_names: None: the names that `train` holds, sorted, or "class 0", "class 1", ...

    Raises:
        DataError: a name that is no class, or a number that is too large to be one.
    """
    names = check_names(class_names, what) if class_names is not None else None
    if names is None and isinstance(train, list):
        names = tuple(sorted(set(map(normalized, train))))
    if names is None:
        names = _numbered(train, test, what)
    return (_numbers(train, names, f"train_labels of {what}"), _numbers(test, names, f"test_labels of {what}"), names)


def normalized(name: str) -> str:
    """Return a name in the Unicode spelling NFC, in which é is one character."""
    return unicodedata.normalize("NFC", name)


def check_names(class_names: Any, what: str) -> tuple[str, ...]:
    """Return class names as text, in one Unicode spelling.

    Raises:
        DataError: no sequence of names.
    """
    sized = hasattr(class_names, "__len__") and hasattr(class_names, "__iter__")
    if isinstance(class_names, str | bytes) or not sized:
        raise DataError(f"class_names of {what} must be a sequence of names, one a class, got {class_names!r:.80}")
    return tuple(normalized(str(name)) for name in class_names)


def _numbered(train: Any, test: Any, what: str) -> tuple[str, ...]:
    numbers = [labels for labels in (train, test) if not isinstance(labels, list) and len(labels)]
    most = max((int(labels.max()) for labels in numbers), default=0)
    if most >= MOST_CLASSES:
        raise DataError(f"labels of {what} go up to {most:,}, expected class numbers from 0 to K-1, below "
                        f"{MOST_CLASSES:,}: number the classes without gaps:\n"
                        "    classes, labels = numpy.unique(labels, return_inverse=True)")
    return tuple(f"class {k}" for k in range(most + 1))


def _numbers(labels: list[str] | np.ndarray, names: tuple[str, ...], what: str) -> torch.Tensor:
    if not isinstance(labels, list):
        return torch.from_numpy(labels)
    places = {name: place for place, name in enumerate(names)}
    numbers = [places.get(normalized(label), -1) for label in labels]
    if -1 in numbers:
        index = numbers.index(-1)
        raise DataError(f"label {labels[index]!r:.60} of image {index} in {what} is no class: the class names are "
                        f"{some_of(names)}")
    return torch.tensor(numbers, dtype=torch.int64)
