"""Datasets from arrays in memory, from an .npz file, and from any map-style torch Dataset."""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import DataError
from shiftscope.text import valid_unicode

NPZ_KEYS = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
"""The arrays that an .npz file must hold."""


class MapDataset(Protocol):
    """A map-style torch Dataset of (image, label)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def from_arrays(train_images: Any, train_labels: Any, test_images: Any, test_labels: Any,
                class_names: Sequence[str] | None = None, *, name: str = "arrays",
                source: str = "arrays in memory", licence: str = "unknown") -> Dataset:
    """Return a dataset made of arrays.

    Args:
        train_images: uint8, grey (N, H, W), or with 1 or 3 channels: (N, H, W, C) as a numpy array, (N, C, H, W) as a
            torch tensor.
        train_labels: whole numbers (N,), classes from 0 to K-1.
        test_images: as `train_images`.
        test_labels: as `train_labels`.
        class_names: K names; "class 0", "class 1", ... unless given.
        name: what results call the dataset.
        source: where the images come from, for people.
        licence: the images' licence.

    Raises:
        DataError: another dtype or shape, NaN, labels out of range, fewer than two classes.

    Example:
        >>> images = np.zeros((4, 28, 28), dtype=np.uint8)
        >>> from_arrays(images, [0, 1, 0, 1], images[:2], [0, 1], ["shirt", "shoe"]).shape
        (1, 28, 28)
    """
    given = {"train_images": train_images, "train_labels": train_labels,
             "test_images": test_images, "test_labels": test_labels}
    train, test = (TensorImages(to_images(given[f"{part}_images"], f"{part}_images of {name}"),
                                to_labels(given[f"{part}_labels"], f"{part}_labels of {name}"))
                   for part in ("train", "test"))
    if class_names is None:
        classes = 1 + int(max(train.labels.max(), test.labels.max()))
        class_names = [f"class {k}" for k in range(classes)]
    require_classes(class_names, name)
    checksums = {f"{part}_images": checksum(images.images) for part, images in (("train", train), ("test", test))}
    return Dataset(name=name, class_names=tuple(map(str, class_names)), train=train, test=test, source=source,
                   licence=licence, checksums=checksums)


def checksum(images: torch.Tensor) -> str:
    """Return the SHA-256 of pixels, row by row, without their shape."""
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


def require_classes(class_names: Sequence[str], what: str) -> None:
    """Raise a `DataError` unless there are two classes to tell apart, with different names."""
    if len(class_names) < 2:
        raise DataError(f"{what} has {len(class_names)} class(es) ({', '.join(map(str, class_names))}), expected at "
                        "least 2: a classifier needs classes to tell apart")
    if len(set(class_names)) < len(class_names):
        raise DataError(f"class_names of {what} must differ, got {', '.join(map(str, class_names))}")


def to_images(values: Any, what: str) -> torch.Tensor:
    """Return images as uint8 (N, C, H, W) on the CPU; see `from_arrays` for what is accepted."""
    channels_first = isinstance(values, torch.Tensor)
    tensor = values.detach().cpu() if channels_first else _numeric(values, what)
    if tensor.is_floating_point():
        problem = "hold NaN or infinity" if not bool(tensor.isfinite().all()) else f"are {tensor.dtype}"
        raise DataError(f"{what} {problem}, expected uint8 from 0 to 255: repair what is not finite, then convert "
                        "pixels from 0 to 1 by (images * 255).round() and a cast to uint8")
    if tensor.dtype != torch.uint8:
        raise DataError(f"{what} are {tensor.dtype}, expected uint8 from 0 to 255: scale them to that range and cast")
    if tensor.ndim == 3:
        return tensor[:, None].contiguous()
    layout = "(N, C, H, W)" if channels_first else "(N, H, W, C)"
    if tensor.ndim != 4 or tensor.shape[1 if channels_first else 3] not in (1, 3):
        raise DataError(f"{what} have shape {tuple(tensor.shape)}, expected (N, H, W), or {layout} with 1 or 3 "
                        f"channels ({'torch tensors' if channels_first else 'numpy arrays'} have the channel there)")
    return (tensor if channels_first else tensor.permute(0, 3, 1, 2)).contiguous()


def to_labels(values: Any, what: str) -> torch.Tensor:
    """Return labels as int64 (N,) on the CPU."""
    tensor = values.detach().cpu() if isinstance(values, torch.Tensor) else _numeric(values, what)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool or tensor.ndim != 1:
        raise DataError(f"{what} must be whole numbers of shape (N,), got {tensor.dtype} of shape "
                        f"{tuple(tensor.shape)}")
    return tensor.to(torch.int64)


def _numeric(values: Any, what: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(values))  # a copy: later changes outside do not reach the dataset
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must be an array of numbers, got {type(values).__name__}: {error}") from error


def read_npz(path: Path | str) -> Dataset:
    """Return the dataset in an .npz file with the arrays `NPZ_KEYS`; code in it never runs.

    Images are uint8 (N, H, W) or (N, H, W, C), labels whole numbers (N,), class_names an array of text.

    Raises:
        DataError: missing, truncated, no .npz file, pickled objects, or a wrong array.
    """
    path = Path(path).expanduser()
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise DataError(f"{path} holds a single array, expected an .npz file with {', '.join(NPZ_KEYS)}")
        with opened as stored:
            missing = [key for key in NPZ_KEYS if key not in stored.files]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}: it holds {', '.join(stored.files)}; write all of "
                                f"{', '.join(NPZ_KEYS)} with numpy.savez")
            arrays = {key: _plain_array(stored, key, path) for key in NPZ_KEYS}
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}; check the path after npz:") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is no readable .npz file: {error}; write it anew with numpy.savez") from error
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in arrays["class_names"].ravel()]
    return from_arrays(*(arrays[key] for key in NPZ_KEYS[:4]), class_names=names, name=valid_unicode(path.stem),
                       source=f"arrays in the file {valid_unicode(path.name)}")


def _plain_array(stored: Any, key: str, path: Path) -> np.ndarray:
    try:
        return stored[key]
    except ValueError as error:
        raise DataError(f"{key} in {path} is not a plain array: {error}; Python objects are never unpickled: save text "
                        "as numpy.array(list_of_str), numbers as one array") from error


def from_torch(train: MapDataset, test: MapDataset, class_names: Sequence[str] | None = None, *,
               name: str = "torch-dataset", source: str = "a torch Dataset", licence: str = "unknown") -> Dataset:
    """Return a dataset that holds every (image, label) of two map-style torch Datasets.

    An image is a float tensor (C, H, W) or (H, W) with pixels from 0 to 1 (so no Normalize), a uint8 tensor of that
    shape, or a PIL image, grey or colour. `class_names` is taken from `train.classes` unless given.

    Raises:
        DataError: no images, an image of another kind, size or range (the message names its index).
    """
    if class_names is None:
        class_names = getattr(train, "classes", None)
    (train_images, train_labels), (test_images, test_labels) = collect(train, "train"), collect(test, "test")
    return from_arrays(train_images, train_labels, test_images, test_labels, class_names, name=name, source=source,
                       licence=licence)


def collect(dataset: MapDataset, which: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a whole map-style dataset: uint8 (N, C, H, W) and labels (N,)."""
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(f"{which} must be a map-style torch Dataset with len() and indexing, got "
                        f"{type(dataset).__name__}")
    if len(dataset) == 0:
        raise DataError(f"the {which} dataset is empty, expected at least one image")
    images: list[torch.Tensor] = []
    labels = torch.empty(len(dataset), dtype=torch.int64)
    for index in range(len(dataset)):
        image, label = dataset[index]
        images.append(one_image(image, f"image {index} of the {which} dataset"))
        labels[index] = int(label)
        if images[-1].shape != images[0].shape:
            raise DataError(f"image {index} of the {which} dataset has shape {tuple(images[-1].shape)}, image 0 has "
                            f"{tuple(images[0].shape)}, expected one shape: add a Resize to its transform")
    return torch.stack(images), labels


def one_image(image: Any, what: str) -> torch.Tensor:
    """Return a torch tensor or a PIL image as uint8 (C, H, W); `what` names it in errors."""
    if not isinstance(image, torch.Tensor):
        return _from_pil(image, what)
    image = image.detach().cpu()
    if image.is_floating_point():
        if not bool(((image >= 0) & (image <= 1)).all()):  # False for NaN too
            raise DataError(f"{what} has pixels outside 0 to 1, or NaN: leave Normalize out of the transform, models "
                            "normalise for themselves")
        image = (image * 255).round().to(torch.uint8)
    return image[None] if image.ndim == 2 else image


def _from_pil(image: Any, what: str) -> torch.Tensor:
    if not hasattr(image, "convert"):
        raise DataError(f"{what} is a {type(image).__name__}, expected a torch tensor or a PIL image: add ToTensor to "
                        "its transform")
    grey = image.mode in ("1", "L", "LA")
    array = np.array(image.convert("L" if grey else "RGB"))
    return torch.from_numpy(array[None] if grey else array.transpose(2, 0, 1).copy())
