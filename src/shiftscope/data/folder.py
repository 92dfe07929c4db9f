"""Datasets from folders of PNG and JPEG files, one folder a class.

Two layouts: PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png, which is split 5 : 1 within every
class, the same way each time.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch

from shiftscope import hashing
from shiftscope.data.arrays import checksum, require_classes
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.data.picture import measure, read_picture
from shiftscope.errors import DataError, require

SUFFIXES = (".png", ".jpg", ".jpeg")
_OTHER_PICTURES = (".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".avif")
_SPLIT_STREAM = hashing.stream(5)
LICENCE = "unknown"
_TEST_SHARE = 6  # every sixth image of a class goes to the test set

Listing = dict[str, list[Path]]
"""Class name -> its picture files, both sorted."""

Size = tuple[int, int]
"""(height, width) in pixels."""


def read_folder(path: Path | str, *, image_size: Size | None = None) -> Dataset:
    """Return the pictures below `path` as a dataset.

    Sizes: all pictures are stretched (bilinear) to `image_size`, else to the most common size in the training set, the
    smaller one where two are equally common. Colour: three channels if any picture has a coloured pixel, else one.
    Transparent pixels lie on black; a photo is turned as its EXIF tag says; 16-bit grey is scaled to 8 bits.

    Args:
        path: the folder.
        image_size: (height, width) in pixels.

    Raises:
        DataError: no such folder, fewer than two classes, an empty class, train without test, different classes in
            train and test, or a picture that is unreadable, animated, or neither PNG nor JPEG.
    """
    path = Path(path).expanduser()
    train, test = list_splits(path)
    size, source = common_size(path, map(measure, pictures(train)), image_size)
    splits = [_read(listing, size) for listing in (train, test)]
    channels = 3 if any(bool((images != images[:, :1]).any()) for images, _ in splits) else 1
    train_set, test_set = (TensorImages(images[:, :channels].contiguous(), labels) for images, labels in splits)
    checksums = {"train_images": checksum(train_set.images), "test_images": checksum(test_set.images)}
    return Dataset(name=path.resolve().name, class_names=tuple(train), train=train_set, test=test_set, source=source,
                   licence=LICENCE, checksums=checksums)


def pictures(listing: Listing) -> list[Path]:
    """Return all files of a listing, class by class."""
    return [file for files in listing.values() for file in files]


def common_size(path: Path, measured: Iterable[Size], given: Size | None) -> tuple[Size, str]:
    """Return the (height, width) that all pictures of a folder get, and what to say about it.

    Args:
        measured: (height, width) of the training pictures.
        given: what the caller wants.
    """
    sizes = Counter(measured)
    size = _checked_size(given) or min(sizes, key=lambda item: (-sizes[item], item[0] * item[1], item))
    rule = f"stretched to {size[0]} x {size[1]}" if len(sizes) > 1 or size not in sizes else f"{size[0]} x {size[1]}"
    return size, f"picture files in the folder {path.resolve().name}, {rule} (height x width) pixels"


def _checked_size(size: Size | None) -> Size | None:
    if size is not None:
        require(len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size), "image_size", size,
                "two whole numbers of at least 1 (height, width)")
    return size


def list_splits(path: Path) -> tuple[Listing, Listing]:
    """Return the training and the test files of either layout.

    Raises:
        DataError: see `read_folder`; no picture is opened yet.
    """
    if not path.is_dir():
        raise DataError(f"there is no folder {path}; check the path after folder:")
    has = [name for name in ("train", "test") if (path / name).is_dir()]
    if len(has) == 1:
        raise DataError(f"{path} holds {has[0]}/ but not the other of train/ and test/: add it, or lay the class "
                        "folders directly into the folder")
    if not has:
        return _split(_list_classes(path))
    train, test = _list_classes(path / "train"), _list_classes(path / "test")
    if train.keys() != test.keys():
        odd = ", ".join(sorted(train.keys() ^ test.keys()))
        raise DataError(f"train/ and test/ in {path} must hold the same classes; only one of them holds: {odd}")
    return train, test


def _list_classes(path: Path) -> Listing:
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{path} holds no class folders, expected one folder of PNG or JPEG files for each class")
    require_classes([folder.name for folder in folders], str(path))
    return {folder.name: _list_pictures(folder) for folder in folders}


def _list_pictures(folder: Path) -> list[Path]:
    files = sorted(entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith("."))
    strange = next((file for file in files if file.suffix.lower() in _OTHER_PICTURES), None)
    if strange is not None:
        raise DataError(f"{strange} is neither PNG nor JPEG: convert it, or take it out of the folder")
    pictures = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not pictures:
        raise DataError(f"the class folder {folder} holds no PNG or JPEG file: add pictures, or remove the folder")
    return pictures


def _split(classes: Listing) -> tuple[Listing, Listing]:
    """Put every sixth picture of a class, at least one, into the test set; a hash of the class name picks them."""
    train, test = {}, {}
    for name, files in classes.items():
        if len(files) < 2:
            raise DataError(f"the class {name} in {files[0].parent} has 1 picture, expected at least 2, one each to "
                            "train and to test on: add pictures, or lay out train/ and test/ yourself")
        order = hashing.permutation(_SPLIT_STREAM ^ zlib.crc32(name.encode()), len(files)).tolist()
        chosen = set(order[:max(1, len(files) // _TEST_SHARE)])
        test[name] = [file for index, file in enumerate(files) if index in chosen]
        train[name] = [file for index, file in enumerate(files) if index not in chosen]
    return train, test


def shuffled(listing: Listing) -> list[tuple[Path, int]]:
    """Return (file, label) of all pictures, in a seeded order that mixes the classes: the first N hold every class."""
    files = [(file, label) for label, paths in enumerate(listing.values()) for file in paths]
    return [files[index] for index in hashing.permutation(_SPLIT_STREAM, len(files)).tolist()]


def _read(listing: Listing, size: Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all pictures, uint8 (N, 3, H, W), and their labels (N,)."""
    files = shuffled(listing)
    return torch.stack([read_picture(file, size) for file, _ in files]), torch.tensor([label for _, label in files])
