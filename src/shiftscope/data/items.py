"""Items of other libraries' datasets: pairs, tuples, dictionaries and objects that hold an image and its label."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from shiftscope.data.labels import check_names
from shiftscope.errors import DataError, some_of

Key = str | int
"""Name of a key or attribute, or index of a part, of an item."""

IMAGE_NAMES = ("image", "images", "img", "pixel_values", "picture", "photo", "input", "x")
LABEL_NAMES = ("label", "labels", "target", "targets", "class", "class_id", "category", "y")
"""Usual names, in lower case."""

FROM_TORCH = "shiftscope.from_torch(train, test, {})"
FROM_IMAGES = "shiftscope.data.from_images(images, {})"
FROM_ITERABLE = "shiftscope.data.from_iterable(train, test, {})"

_IMAGE_PARTS, _LABEL_PARTS = ("image", "img", "ima", "pix", "pic"), ("label", "lab", "targ", "class", "categ")
_VALUES = torch.Tensor | np.ndarray | Image.Image | str | bytes | int | float | None


class MapDataset(Protocol):
    """A map-style torch Dataset, or another sequence of items with an image and a label."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@dataclass(frozen=True)
class Parts:
    """Which parts of an item are its image and its label.

    Args:
        image: key, attribute or index; None: the only usual name, or the first of two parts.
        label: likewise; None: the only usual name, or the second of two parts.
        call: the call that takes these arguments, for errors.
    """

    image: Key | None = None
    label: Key | None = None
    call: str = FROM_TORCH

    def for_dataset(self, dataset: Any) -> "Parts":
        """Return these parts, completed by the attribute `features` of a Hugging Face dataset.

        It states the type of each column: an image, or a label whose `names` are those of the classes.
        """
        features = getattr(dataset, "features", None)
        if not isinstance(features, Mapping):
            return self
        images = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
        labels = [name for name, kind in features.items() if _has_names(kind)]
        return replace(self, image=images[0] if self.image is None and len(images) == 1 else self.image,
                       label=labels[0] if self.label is None and len(labels) == 1 else self.label)

    def split(self, item: Any, what: str) -> tuple[Any, Any]:
        """Return the image and the label of an item; `what` names it in errors.

        >>> Parts().split(("pixels", 3), "item 0"), Parts(label="fine").split({"img": "pixels", "fine": 3}, "item 0")
        (('pixels', 3), ('pixels', 3))

        Raises:
            DataError: if it is unclear which parts are image and label; the message ends with the call that names them.
        """
        image, label = self._find(item, what)
        if label is None:
            raise DataError(f"{what} is a {type(item).__name__} with the keys {some_of(_names(item))}, and none is its "
                            f"label: name it, or audit the images without labels:\n    data = "
                            f"{FROM_IMAGES.format(f'image={image!r}')}")
        return _part(item, image, what), _part(item, label, what)

    def image_of(self, item: Any, what: str) -> tuple[Any, Any]:
        """Return the image and the label of an item, None if it has none; otherwise as `split`."""
        image, label = self._find(item, what)
        return _part(item, image, what), None if label is None else _part(item, label, what)

    def _find(self, item: Any, what: str) -> tuple[Key, Key | None]:
        """Return the keys of image and label; None if no name is like that of a label."""
        names = _names(item)
        if not names:
            return self._positions(item, what)
        image = _usual(names, IMAGE_NAMES) if self.image is None else self.image
        label = _usual(names, LABEL_NAMES) if self.label is None else self.label
        if image is not None and label is None and not _like(names, _LABEL_PARTS):
            return image, None
        if image is None or label is None:
            keys = (_like(names, _IMAGE_PARTS) or names[:1])[0], (_like(names, _LABEL_PARTS) or names[-1:])[0]
            raise self._unclear(f"{what} is a {type(item).__name__} with the keys {some_of(names)}, and it is unclear "
                                "which of them are the image and the label", *keys)
        return image, label

    def _positions(self, item: Any, what: str) -> tuple[Key, Key]:
        if not isinstance(item, tuple | list):
            line = "pairs = [(image, label) for image, label in zip(images, labels)]"
            raise DataError(f"{what} is a {type(item).__name__}, expected a pair (image, label); add the labels:\n    "
                            f"{line}")
        if len(item) != 2 and (self.image is None or self.label is None):
            raise self._unclear(f"{what} has {len(item)} parts, expected two, (image, label)", 0, 1)
        return 0 if self.image is None else self.image, 1 if self.label is None else self.label

    def _unclear(self, problem: str, image: Key, label: Key) -> DataError:
        return DataError(problem + ": name them, for example:\n    data = "
                         + self.call.format(f"image={image!r}, label={label!r}"))


USUAL = Parts()
"""Parts by their usual names."""


def stated_classes(dataset: Any, parts: Parts = USUAL) -> tuple[str, ...] | None:
    """Return the class names that a dataset states: its `classes`, or those of its label in `features`.

    A `torch.utils.data.Subset` states those of its dataset.
    """
    while dataset is not None:
        classes = getattr(dataset, "classes", None)
        if isinstance(classes, list | tuple | np.ndarray):
            return check_names(classes, "the dataset")
        features = getattr(dataset, "features", None)
        label = parts.for_dataset(dataset).label
        if isinstance(features, Mapping) and _has_names(features.get(label)):
            return check_names(features[label].names, "the dataset")
        dataset = getattr(dataset, "dataset", None)
    return None


def read_item(dataset: MapDataset, index: int, split: str) -> Any:
    """Return an item of a dataset; whatever it raises becomes a `DataError` with file and line."""
    try:
        return dataset[index]
    except DataError:
        raise
    except Exception as error:  # the user's dataset may raise anything
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(f"the {split} dataset raised {type(error).__name__} for index {index} of {len(dataset)}, in "
                        f"{line.filename}:{line.lineno}: {' '.join(str(error).split())[:150]}") from error


def require_map_style(dataset: Any, split: str) -> None:
    """Raise a `DataError` if a dataset has no length or index, or is a mapping of splits."""
    if hasattr(dataset, "keys"):
        splits = [str(key) for key in islice(dataset.keys(), 20)]
        known = {"train": next((key for key in splits if "train" in key), "train"),
                 "test": next((key for key in splits if key.startswith(("test", "val"))), "test")}
        raise DataError(f"{split} is a {type(dataset).__name__} with the keys {some_of(splits)}, expected one dataset: "
                        f"choose two of its splits:\n    data = shiftscope.from_torch(splits[{known['train']!r}], "
                        f"splits[{known['test']!r}])")
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return
    remedy = ""
    if hasattr(dataset, "dataset") and hasattr(dataset, "batch_size"):
        remedy = ", a loader of batches: pass loader.dataset"
    elif hasattr(dataset, "__iter__"):
        remedy = ": put its items into a list, or train on it as a stream with from_iterable"
    raise DataError(f"{split} must be a map-style torch Dataset with len() and indexing, got "
                    f"{type(dataset).__name__}{remedy}")


def _has_names(feature: Any) -> bool:
    return isinstance(getattr(feature, "names", None), list | tuple)


def _names(item: Any) -> list[str]:
    """Return the keys of a mapping, or the public attributes of an object; nothing for tuples and plain values."""
    if isinstance(item, _VALUES):
        return []
    if hasattr(item, "keys"):
        return [str(key) for key in islice(item.keys(), 100)]
    if hasattr(item, "_fields"):  # a namedtuple
        return [] if len(item) == 2 else list(item._fields)
    if isinstance(item, tuple | list):
        return []
    names = [*getattr(item, "__dict__", ()), *getattr(type(item), "__slots__", ())]
    return [name for name in names if not name.startswith("_")]


def _usual(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """Return the only one of `names` that is usual, else None."""
    found = [name for name in names if name.lower() in usual]
    return found[0] if len(found) == 1 else None


def _like(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Return the names that contain one of `parts`.

    >>> _like(["index", "fine_label"], ("label", "target"))
    ['fine_label']
    """
    return [name for part in parts for name in names if part in name.lower()]


def _part(item: Any, key: Key, what: str) -> Any:
    """Return one part of an item.

    Raises:
        DataError: if it has no such key, attribute or index.
    """
    by_key = hasattr(item, "keys") or isinstance(key, int)
    try:
        return item[key] if by_key else getattr(item, str(key))
    except (LookupError, AttributeError, TypeError) as error:
        held = f"the keys {some_of(_names(item))}" if _names(item) else "no keys"
        held = f"{len(item)} parts" if isinstance(item, tuple | list) and isinstance(key, int) else held
        raise DataError(f"{what} is a {type(item).__name__} with {held} and has no {key!r:.60}: name parts that it has "
                        "with image= and label=") from error
