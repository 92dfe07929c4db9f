"""Loads datasets by name and describes them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shiftscope import errors
from shiftscope.data import garments
from shiftscope.data.arrays import from_torch
from shiftscope.data.base import Dataset, NoImages, class_counts
from shiftscope.data.csv_file import read_csv
from shiftscope.data.download import search_folders
from shiftscope.data.fashion_mnist import FASHION_MNIST
from shiftscope.data.folder import CheckSize, read_folder
from shiftscope.data.garments import load_garments
from shiftscope.data.idx_folder import read_idx_folder
from shiftscope.data.items import require_map_style
from shiftscope.data.mnist import MNIST
from shiftscope.data.npz_file import read_npz
from shiftscope.data.other_files import conversion
from shiftscope.data.packed import read_packed
from shiftscope.data.streamed import StreamedImages
from shiftscope.errors import UsageError
from shiftscope.preparation import Preparation
from shiftscope.progress import Progress, SilentProgress
from shiftscope.resolve import is_object_name, resolve_object
from shiftscope.settings import Interpolation, Resize

PUBLISHED = {one.name: one for one in (FASHION_MNIST, MNIST)}
"""Datasets that are found or downloaded by their name."""

FORMS = ("garments", "garments:TRAIN,TEST", *PUBLISHED, "folder:PATH", "npz:FILE", "csv:FILE",
         "csv:TRAIN,TEST", "idx:FOLDER", "packed:PATH", "package.module:object")
"""The forms of a dataset's name."""

FOLDER_OPTIONS = ("image_size", "resize", "shorter_side", "interpolation", "prepare")
"""Options of folder:PATH; csv:FILE has image_size too."""

OWN_FILES = ("folder", "npz", "csv", "idx", "packed")
"""Kinds of the user's own files."""

_KINDS = {".npz": "npz", ".csv": "csv", ".tsv": "csv", ".pack": "packed"}
_PREFIXES = (*OWN_FILES, "imagefolder", "file", "zip")
"""What users may write before a path, in upper or lower case."""


def load_dataset(name: str | Dataset, *, data_dir: Path | str | None = None, limit: int | None = None, seed: int = 0,
                 progress: Progress | None = None, train_images: int | None = None, test_images: int | None = None,
                 image_size: tuple[int, int] | None = None, resize: Resize | None = None, background: int = 0,
                 shorter_side: int | None = None, interpolation: Interpolation | None = None,
                 prepare: Preparation | None = None, check_size: CheckSize | None = None) -> Dataset:
    """Return the dataset called `name`.

    Args:
        name: one of `FORMS`, or a `Dataset`, which is returned. package.module:object is a `Dataset`, two datasets
            for `from_torch` as a pair (train, test) or a mapping with these keys, such as a DatasetDict of Hugging
            Face, or a callable without arguments that returns one of them, imported from an installed package or the
            current folder.
        data_dir: folder of the dataset's files (default: SHIFTSCOPE_DATA_DIR, else the user's cache folder).
        limit: keep the first `limit` training and test images only.
        seed: seed of the synthetic garments.
        progress: shows drawing, downloads and the dataset's notes.
        train_images: number of synthetic training images.
        test_images: number of synthetic test images.
        image_size: (height, width) to which the images of a folder are resized (default: their usual size), or which
            the images in a CSV file have (default: square).
        resize: "pad": the aspect ratio of a folder's images is kept, and they are padded; "stretch": not kept;
            "shorter": kept, the shorter side is scaled and the center is cropped (default: "shorter" if `shorter_side`
            is given, else "pad").
        background: pixel value of that padding, 0 to 255.
        shorter_side: pixels of the shorter side before the crop (default: the longer side of `image_size`).
        interpolation: "bilinear" (default), "bicubic" or another one, see `Preparation`.
        prepare: all of this as one record, such as that of a model's source; the other options override it.
        check_size: called with the (height, width) of a folder's images before any of them is decoded; it may raise.

    Raises:
        UsageError: if the name is unknown or a path without its kind, or the dataset does not have an option.
        DataError: if files are missing or damaged.

    Example:
        >>> load_dataset("garments:20,10").shape
        (1, 28, 28)
    """
    given = {"image_size": image_size, "resize": resize, "shorter_side": shorter_side, "interpolation": interpolation,
             "prepare": prepare}
    if isinstance(name, Dataset):
        _refuse("a dataset that is loaded already", train_images=train_images, test_images=test_images, **given)
        return name.limit(limit)
    if not isinstance(name, str):
        raise _not_a_name(name)
    kind, _, rest = name.partition(":")
    if kind == garments.NAME:
        _refuse(name, **given)
        if rest:
            train_images, test_images = garments.parse_counts(rest)
        return load_garments(train_images=garments.TRAIN_IMAGES if train_images is None else train_images,
                             test_images=garments.TEST_IMAGES if test_images is None else test_images, seed=seed,
                             progress=progress).limit(limit)
    _refuse(name, train_images=train_images, test_images=test_images)
    if kind in OWN_FILES:
        _refuse_other_file(name, Path(rest).expanduser())
    if is_folder(name):
        how = Preparation.of(prepare, resize=resize, shorter_side=shorter_side, interpolation=interpolation,
                             background=background or None)
        data = read_folder(rest, image_size=image_size, check_size=check_size, progress=progress, **vars(how))
    elif kind == "csv" and rest:
        _refuse(name, **given | {"image_size": None})
        data = read_csv(rest, image_size)
    else:
        _refuse(name, **given)
        data = _load(name, data_dir, progress)
    for note in data.notes:
        (progress or SilentProgress()).note(note)
    return data.limit(limit)


def is_folder(name: str) -> bool:
    """Return True if `name` is a folder of images, which has the options image_size and resize.

    >>> is_folder("folder:photos"), is_folder("npz:mine.npz"), is_folder("folder:")
    (True, False, False)
    """
    kind, _, rest = name.partition(":")
    return kind == "folder" and bool(rest)


def _load(name: str, data_dir: Path | str | None, progress: Progress | None) -> Dataset:
    kind, _, rest = name.partition(":")
    if name in PUBLISHED:
        return PUBLISHED[name].load(data_dir, progress)
    if kind == "npz" and rest:
        return read_npz(rest)
    if kind == "idx" and rest:
        return read_idx_folder(rest)
    if kind == "packed" and rest:
        return read_packed(rest)
    _require_kind(name)
    if is_object_name(name):
        return _from_object(name)
    raise errors.unknown("dataset", name, FORMS)


def _require_kind(name: str) -> None:
    """Raise a `UsageError` with the correct name if `name` is a path without its kind, or with a wrong one."""
    kind, _, rest = name.partition(":")
    path = Path(name).expanduser()
    if rest and kind.lower() in _PREFIXES and not path.exists():
        path = Path(rest).expanduser()
    kind = _KINDS.get(path.suffix.lower(), "folder")
    if "-ubyte" in path.name:
        kind, path = "idx", path.parent
    _refuse_other_file(name, path)
    if path.exists():
        what = "a folder" if path.is_dir() else "a file"
        remedy = f"write {kind}:{path}" if path.is_dir() or kind != "folder" else \
            "name a folder:PATH of class folders, an npz:FILE, a csv:FILE, an idx:FOLDER or a packed:PATH (unpack an " \
        "archive first)"
        raise UsageError(f"{name!r} is not the name of a dataset: {path} is {what}; {remedy}")
    if "/" in name and not rest:
        raise UsageError(f"{name!r} is not the name of a dataset, and there is no file or folder {path}: check the "
                         f"path, and write {kind}:PATH")


def _refuse_other_file(name: str, path: Path) -> None:
    """Raise a `UsageError` with lines of code if a file of another library can be converted."""
    if path.is_file() and (lines := conversion(path)):
        raise UsageError(f"{name} is not a dataset but {lines}")


def _not_a_name(value: object) -> UsageError:
    if isinstance(value, os.PathLike):
        path = Path(value)
        kind = _KINDS.get(path.suffix.lower(), "folder")
        return UsageError(f"name must be a string or a Dataset, got the path {path}: write "
                          f"load_dataset({f'{kind}:{path}'!r})")
    if hasattr(value, "keys"):
        require_map_style(value, "name")  # raises an error that names the splits
    return UsageError(f"name must be a string or a Dataset, got {type(value).__name__}: make a dataset of your own "
                      "with shiftscope.from_torch or shiftscope.from_arrays")


def _refuse(name: str, **options: object) -> None:
    """Raise a `UsageError` if an option is given that the dataset does not have."""
    given = [option for option, value in options.items() if value is not None]
    if given:
        owner = "folder:PATH" if given[0] in FOLDER_OPTIONS else "garments"
        raise UsageError(f"{given[0]} is an option of {owner}, not of {name}: remove it")


def _from_object(name: str) -> Dataset:
    data = resolve_object(name)
    if not isinstance(data, Dataset) and callable(data):
        data = data()
    if isinstance(data, Mapping) and data.keys() >= {"train", "test"}:
        data = data["train"], data["test"]
    if isinstance(data, tuple | list) and len(data) == 2:
        data = from_torch(*data, name=name.rpartition(":")[2], source=f"the object {name}")
    if not isinstance(data, Dataset):
        raise UsageError(f"{name} must be a shiftscope Dataset, a pair (train, test) of datasets or a callable that "
                         f"returns one, got {type(data).__name__}: make one with shiftscope.from_arrays or "
                         "shiftscope.from_torch")
    return data


def dataset_catalog(data_dir: Path | str | None = None) -> list[dict[str, Any]]:
    """Return one entry per kind of dataset: name, description, license, and `found`.

    `found` is the folder or file of the dataset, or None if it would be downloaded or drawn, or is the user's.
    """
    synthetic = garments.cache_path()
    return [
        _entry("garments", "12,000 + 2,000 synthetic garments, 28 x 28, gray, ten classes; garments:TRAIN,TEST for "
               "other counts", garments.LICENSE, synthetic if synthetic.is_file() else None),
        *(_entry(one.name, one.description, one.license, paths[0].parent if paths else None)
          for one in PUBLISHED.values() for paths in (one.found(search_folders(data_dir, one.name)),)),
        _entry("folder:PATH", "PNG and JPEG files, one folder per class, with or without train/ and test/; or without "
               "labels, for audits", "yours", None),
        _entry("npz:FILE", "arrays of MedMNIST (train_images, train_labels, test_images, test_labels, and class_names) "
               "or Keras (x_train, ...); or images, with or without labels, for audits", "yours", None),
        _entry("csv:FILE", "one image a row, a label and pixels from 0 to 255; csv:TRAIN,TEST for two files", "yours",
               None),
        _entry("idx:FOLDER", "four files as those of MNIST, such as EMNIST or KMNIST; idx:FOLDER/PREFIX for one of "
               "several sets", "yours", None),
        _entry("packed:PATH", "a folder of .npy files written by `shiftscope data pack`, for datasets larger than "
               "memory", "as packed", None),
        _entry("package.module:object", "a Dataset, or a callable that returns one, in your own code", "yours", None),
    ]


def _entry(name: str, description: str, license: str, found: Path | None) -> dict[str, Any]:
    return {"name": name, "description": description, "license": license, "found": str(found) if found else None}


def dataset_info(dataset: Dataset) -> dict[str, Any]:
    """Return a description of a dataset as plain JSON values."""
    return {
        "name": dataset.name, "shape": list(dataset.shape), "classes": dataset.classes,
        "train_images": len(dataset.train), "test_images": len(dataset.test),
        "labeled": dataset.labeled,
        "images_per_class": {split: class_counts(images, dataset.class_names)
                             for split, images in (("train", dataset.train), ("test", dataset.test))
                             if dataset.labeled and not isinstance(images, StreamedImages | NoImages)},
        "synthetic": dataset.synthetic, "notes": list(dataset.notes), "source": dataset.source,
        "preparation": dataset.preparation, "license": dataset.license, "checksums": dataset.checksums,
    }


def fetch_dataset(name: str, data_dir: Path | str | None = None, progress: Progress | None = None) -> list[Path]:
    """Download or draw the missing files of a dataset, verify them, and return their paths.

    Raises:
        UsageError: if the dataset has no files to fetch.
        DataError: if a file is damaged, or missing and every download fails.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].fetch(data_dir, progress)
    if name == garments.NAME:
        load_garments(progress=progress)
        return [path for path in (garments.cache_path(),) if path.is_file()]
    if name.partition(":")[0] in OWN_FILES or is_object_name(name):
        raise UsageError(f"{name} is your own data and needs no fetching; {', '.join(PUBLISHED)} and garments can "
                         "be fetched")
    raise errors.unknown("dataset to fetch", name, (*PUBLISHED, garments.NAME))
