"""Images one by one, or many at once, as the levels of one split; see `decoding`."""

import traceback
from collections.abc import Callable
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from shiftscope.data.decoding import Scale, array_levels, pil_levels
from shiftscope.data.labels import Label, one_label
from shiftscope.errors import DataError, some_of

_PAIRS = "\n    pairs = [({}, {}) for {} in dataset]"
"""The line that makes pairs of other items."""


class MapDataset(Protocol):
    """A map-style torch Dataset of (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class Levels:
    """The images of one split, of one size, until the scale of the whole dataset is known.

    Args:
        count: images that will be put in.
        scale: that of the dataset.
    """

    def __init__(self, count: int, scale: Scale):
        self.count, self.scale = count, scale
        self.pixels: np.ndarray[Any, Any] = np.empty((0, 0, 0, 0), dtype=np.uint8)  # (N, C, H, W)
        self._deep: dict[int, np.ndarray] = {}

    def put(self, index: int, image: Any, what: Callable[[int], str]) -> None:
        """Take the image at `index`; gray images among color ones get three equal channels.

        Raises:
            DataError: an image of another kind or size; `what` names an image by its index.
        """
        levels = read_image(image, what(index), self.scale)
        if not len(self.pixels):
            self.pixels = np.empty((self.count, *levels.shape), dtype=np.uint8)
        if levels.shape[1:] != self.pixels.shape[2:]:
            sizes = ["{} x {}".format(*shape[-2:]) for shape in (levels.shape, self.pixels.shape)]
            raise DataError(f"{what(index)} is {sizes[0]} pixels, {what(0)} is {sizes[1]} (height x width), expected "
                            "one size: add a Resize to its transform")
        self.widen(len(levels))
        if levels.dtype == np.uint16:
            self._deep[index] = levels
        else:
            self.pixels[index] = self.scale.apply(levels)

    def put_all(self, values: np.ndarray, what: str) -> None:
        """Take all images at once, levels (N, C, H, W)."""
        self.scale.see(values, what)
        self.pixels = values

    def widen(self, channels: int) -> None:
        """Repeat the one channel of the images so far where `channels` is larger."""
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
        DataError: an image of another kind, shape or range; `what` names it.
    """
    if isinstance(image, Image.Image):
        scale.see_header(image, what)
        levels = pil_levels(image, what)
    elif isinstance(image, torch.Tensor | np.ndarray):
        levels = _shaped(array_levels(image, what), isinstance(image, torch.Tensor), what)
    else:
        raise DataError(f"{what} is a {type(image).__name__}, expected a PIL image, a torch tensor or a NumPy array: "
                        "convert it in the dataset's transform")
    scale.see(levels, what)
    return levels


def _shaped(levels: np.ndarray, tensor: bool, what: str) -> np.ndarray:
    if levels.ndim == 2 and levels.size:
        return levels[None]
    if levels.ndim == 3 and levels.size and levels.shape[0 if tensor else 2] in (1, 3):
        return levels if tensor else np.ascontiguousarray(levels.transpose(2, 0, 1))
    raise shape_error(levels.shape, tensor, what, "")


def shape_error(shape: tuple[int, ...], tensor: bool, what: str, many: str) -> DataError:
    """Return the error for images of a shape that is none; with the line that repairs it where there is one.

    Args:
        many: "N, " for many images at once, "" for one.
    """
    layout = f"({many}C, H, W)" if tensor else f"({many}H, W, C)"
    channel = (-3 if tensor else -1) if len(shape) >= 3 else 0
    hint = ""
    if len(shape) == (4 if many else 3):
        shift = 1 if many else 0
        if shape[-1 if tensor else -3] in (1, 3):
            order = (0, 3, 1, 2) if tensor else (0, 2, 3, 1)
            axes = order if many else tuple(axis - 1 for axis in order[1:])
            call = "permute" if tensor else "transpose"
            hint = f"; for channels {'last' if tensor else 'first'}:\n    images = images.{call}{axes}"
        elif shape[channel] == 4:
            cut = ", ".join([":"] * shift + ([":3"] if tensor else [":", ":", ":3"]))
            hint = f"; to leave out an alpha channel:\n    images = images[{cut}]"
    return DataError(f"{what} has shape {tuple(shape)}, expected ({many}H, W), or {layout} with 1 or 3 channels "
                     f"({'torch tensors' if tensor else 'NumPy arrays'} have the channel there){hint}")


def to_levels(values: Any, what: str, scale: Scale) -> Levels:
    """Return images that are given at once: an array, a tensor, or a list of images of any kind.

    Raises:
        DataError: see `read_image`; or no images.
    """
    if isinstance(values, list | tuple) and values and isinstance(values[0], Image.Image | torch.Tensor | np.ndarray):
        found = Levels(len(values), scale)
        for index, image in enumerate(values):
            found.put(index, image, lambda index: f"image {index} in {what}")
        return found
    tensor = isinstance(values, torch.Tensor)
    levels = array_levels(values, what)
    if levels.ndim and not len(levels):
        raise DataError(f"{what} hold no images, expected at least one")
    if levels.ndim == 3 and levels.size:
        levels = levels[:, None]
    elif levels.ndim != 4 or not levels.size or levels.shape[1 if tensor else 3] not in (1, 3):
        raise shape_error(levels.shape, tensor, what, "N, ")
    elif not tensor:
        levels = levels.transpose(0, 3, 1, 2)
    found = Levels(len(levels), scale)
    found.put_all(np.array(levels, order="C"), what)  # a copy: later changes outside do not reach the dataset
    return found


# ---------------------------------------------------------------------- map-style datasets

def collect(dataset: MapDataset, which: str, scale: Scale) -> tuple[Levels, list[Label]]:
    """Read a whole map-style dataset: its images, and one label each.

    Raises:
        DataError: no images, items that are no pairs, or an image or label that is not what it should be.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(f"{which} must be a map-style torch Dataset with len() and indexing, got "
                        f"{type(dataset).__name__}{_instead(dataset)}")
    count = len(dataset)
    if count == 0:
        raise DataError(f"the {which} dataset is empty, expected at least one image")
    images, labels = Levels(count, scale), []

    def name(index: int) -> str:
        return f"image {index} of the {which} dataset"

    for index in range(count):
        image, label = pair(_item(dataset, index, which), f"item {index} of the {which} dataset")
        images.put(index, image, name)
        labels.append(one_label(label, name(index)))
    return images, labels


def _instead(dataset: Any) -> str:
    """Say what to give instead of something that has no length or no index."""
    if hasattr(dataset, "dataset") and hasattr(dataset, "batch_size"):
        return ", a loader of batches: give its dataset, as in loader.dataset"
    if hasattr(dataset, "__iter__"):
        return ": put its items into a list, or train on it as a stream with from_iterable"
    return ""


def _item(dataset: MapDataset, index: int, which: str) -> Any:
    try:
        return dataset[index]
    except DataError:
        raise
    except Exception as error:  # whatever a foreign dataset raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DataError(f"the {which} dataset raised {type(error).__name__} for index {index} of {len(dataset)}, in "
                        f"{place.filename}:{place.lineno}: {' '.join(str(error).split())[:150]}") from error


def pair(item: Any, what: str) -> tuple[Any, Any]:
    """Return the image and the label of a dataset's item.

    Raises:
        DataError: the item is no pair; the message ends with a line that makes pairs.
    """
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, tuple | list):
        line = _PAIRS.format("item[0]", "item[1]", "item")
        raise DataError(f"{what} has {len(item)} parts, expected two, (image, label); choose two of them:{line}")
    if hasattr(item, "keys"):
        keys = [str(key) for key in islice(item.keys(), 20)]
        image, label = _like(keys, "image", "ima", "img", "pix", "x"), _like(keys, "label", "lab", "tar", "cla", "y")
        line = _PAIRS.format(f"item[{image!r}]", f"item[{label!r}]", "item")
        raise DataError(f"{what} is a {type(item).__name__} with the keys {some_of(keys)}, expected a pair (image, "
                        f"label); convert it:{line}")
    line = _PAIRS.format("image", "label", "image, label in zip(images, labels)").replace(" in dataset", "")
    raise DataError(f"{what} is a {type(item).__name__} alone, expected a pair (image, label); add the labels:{line}")


def _like(keys: list[str], *parts: str) -> str:
    """Return the key that has one of these parts, the first of them if none has.

    >>> _like(["idx", "img"], "image", "img")
    'img'
    """
    return next((key for part in parts for key in keys if part in key.lower()), parts[0])
