"""Datasets larger than memory: a folder of memory-mapped .npy files, of which a batch reads only its own images.

    dataset.json           name, class names, source, license, checksums, sizes of the files
    train_images.npy       uint8 (N, C, h, w)
    train_labels.npy       int64 (N,)
    train_crc32.npy        uint32 (N,), CRC-32 of the pixels of each image
    test_images.npy, ...   the same for the test images

Sizes, headers and the SHA-256 of labels and checksums are verified when a folder is opened, the CRC-32 of an image the
first time it is read.
"""

import hashlib
import mmap
import zlib
from math import prod
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch

from shiftscope.data.base import Dataset, ImageSet, Subset, TensorImages, image_names
from shiftscope.errors import DataError
from shiftscope.files import memory, open_regular, reason
from shiftscope.npz import map_array
from shiftscope.preparation import Preparation
from shiftscope.reading import read_json
from shiftscope.settings import Resize

DESCRIPTION = "dataset.json"
VERSION = 1
SPLITS = ("train", "test")
TYPES = {"images": "|u1", "labels": "<i8", "crc32": "<u4"}
"""The arrays of a split and their NumPy types."""

RESIDENT_FRACTION = 0.25
"""A set is copied to a GPU as a whole if it takes at most this fraction of the free memory: model, activations and the
optimizer need the rest."""

_REMEDY = "pack the dataset again with `shiftscope data pack`"
_BYTES_IN_MEMORY = 13  # per image: label, checksum, and whether it was verified
_OLD_MAGIC = b"SHFTPACK"  # of the single files that release 0.1 wrote
_COPIED = 1024  # images copied to a GPU at a time


class _File(TypedDict):
    bytes: int
    sha256: NotRequired[str]


class _Description(TypedDict):
    schema_version: int
    name: str
    class_names: list[str]
    source: str
    license: str
    synthetic: bool
    checksums: dict[str, str]
    files: dict[str, _File]
    resize: NotRequired[Resize | None]
    preparation: NotRequired[str]
    prepared: NotRequired[dict[str, Any] | None]


# ---------------------------------------------------------------------- reading

def read_packed(path: Path | str) -> Dataset:
    """Return the dataset in a packed folder; its images stay on the disk.

    Raises:
        DataError: if the folder is missing, not a packed folder, of another version or damaged.
    """
    folder = Path(path).expanduser().absolute()
    if not folder.is_dir():
        raise _not_a_folder(folder)
    described = _read_description(folder)
    prepared = described.get("prepared")
    train, test = (PackedImages(folder, split, described) for split in SPLITS)
    return Dataset(name=described["name"], class_names=tuple(described["class_names"]), train=train, test=test,
                   source=described["source"], license=described["license"], checksums=described["checksums"],
                   synthetic=described["synthetic"], resize=described.get("resize"),
                   preparation=described.get("preparation", ""),
                   prepared=None if prepared is None else Preparation.from_dict(prepared))


def _not_a_folder(path: Path) -> DataError:
    try:
        with open_regular(path, 2**63) as stream:
            old = stream.read(len(_OLD_MAGIC)) == _OLD_MAGIC
    except FileNotFoundError:
        return DataError(f"there is no folder {path}; check the path after packed:")
    except OSError as error:
        return DataError(f"cannot read {path}: {reason(error)}; name a folder after packed:")
    if old:
        return DataError(f"{path} is a packed file of Shiftscope 0.1: convert it with `python tools/convert_packed.py "
                         f"{path.name} NEW_FOLDER` and use packed:NEW_FOLDER")
    return DataError(f"{path} is a file, expected a folder written by `shiftscope data pack`")


def _read_description(folder: Path) -> _Description:
    path = folder / DESCRIPTION
    try:
        version = read_json(path).get("schema_version")
        if version != VERSION:
            raise DataError(f"{folder} has the schema_version {str(version)[:20]}, this Shiftscope reads {VERSION}; "
                            f"{_REMEDY}")
        return read_json(path, _Description)
    except FileNotFoundError as error:
        raise DataError(f"{folder} has no file {DESCRIPTION}, expected a folder written by `shiftscope data pack`"
                        ) from error
    except OSError as error:
        raise DataError(f"{path} is damaged: {reason(error)}; {_REMEDY}") from error


class PackedImages:
    """One split of a packed folder. Images are read from the disk when they are requested.

    Pickling stores the path and the description; unpickling requires that the folder still has the same description.

    Args:
        folder: absolute path.
        split: "train" or "test".
        described: content of the folder's dataset.json.
    """

    def __init__(self, folder: Path, split: str, described: _Description):
        self.folder, self.split, self._described = folder, split, described
        self._map, self._images = self._open("images")
        if self._images.ndim != 4:
            raise DataError(f"{folder}/{split}_images.npy has shape {self._images.shape}, expected (N, C, h, w); "
                            f"{_REMEDY}")
        if len(self) * _BYTES_IN_MEMORY > memory():
            raise DataError(f"{folder} holds {len(self):,} {split} images, whose labels do not fit into memory")
        self.labels = torch.from_numpy(self._table("labels").astype(np.int64))
        self._crc32 = self._table("crc32").copy()
        self._verified = np.zeros(len(self), dtype=bool)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.folder, self.split, self._described)

    def _open(self, what: str) -> tuple[mmap.mmap, np.ndarray]:
        path = self.folder / f"{self.split}_{what}.npy"
        listed = self._described["files"].get(path.name)
        if listed is None:
            raise DataError(f"{self.folder / DESCRIPTION} does not list {path.name}; {_REMEDY}")
        try:
            size = path.stat().st_size
            if size != listed["bytes"]:
                raise DataError(f"{path} has {size:,} bytes, expected {listed['bytes']:,}: it is truncated or was "
                                f"replaced; {_REMEDY}")
            mapped, array = map_array(path)
        except OSError as error:
            raise DataError(f"cannot read {path}: {reason(error)}; {_REMEDY}") from error
        if array.dtype != TYPES[what]:
            raise DataError(f"{path} holds an array of type {array.dtype}, expected {TYPES[what]}; {_REMEDY}")
        return mapped, array

    def _table(self, what: str) -> np.ndarray:
        """Return an array with one number per image."""
        mapped, array = self._open(what)
        name = f"{self.split}_{what}.npy"
        if array.shape != (len(self),):
            raise DataError(f"{self.folder / name} has shape {array.shape}, expected ({len(self)},); {_REMEDY}")
        if hashlib.sha256(mapped).hexdigest() != self._described["files"][name].get("sha256"):
            raise DataError(f"{self.folder / name} is damaged: its SHA-256 differs from the one in {DESCRIPTION}; "
                            f"{_REMEDY}")
        return array

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self._images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self._images)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images at `indices` (int64 (B,)) as uint8 (B, C, h, w).

        Raises:
            DataError: if an image is damaged, or the file was truncated after it was opened.
        """
        wanted = indices.cpu().numpy()
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"images of the {self.split} set have indices from 0 to {len(self) - 1}, got "
                             f"{wanted.min()} to {wanted.max()}")
        if self._map.size() < len(self._map):  # reading beyond the end would kill the process
            raise DataError(f"{self.folder}/{self.split}_images.npy was truncated while it was in use; {_REMEDY}")
        images = np.empty((len(wanted), *self.shape), dtype=np.uint8)
        np.take(self._images, wanted, axis=0, out=images, mode="clip")  # "raise" would make a copy
        self._verify(wanted, images)
        return torch.from_numpy(images)

    def _verify(self, wanted: np.ndarray, images: np.ndarray) -> None:
        """Compare the checksums of images that are read for the first time."""
        for row in np.flatnonzero(~self._verified[wanted]).tolist():
            index = int(wanted[row])
            if zlib.crc32(images[row]) != self._crc32[index]:
                raise DataError(f"image {index} of the {self.split} set in {self.folder} is damaged: its checksum "
                                f"differs from the stored one; {_REMEDY}")
            self._verified[index] = True

    def read_ahead(self, indices: torch.Tensor) -> None:
        """Prefetch images in the background with `madvise`, if the operating system supports it."""
        if not hasattr(self._map, "madvise"):
            return
        size, start = prod(self.shape), len(self._map) - self._images.nbytes
        for index in np.unique(indices.cpu().numpy()).tolist():
            begin = start + index * size
            page = begin // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, page, begin + size - page)

    def to(self, device: torch.device | str) -> ImageSet:
        """Return the same images: on a GPU as a whole if they fit easily, else copied there batch by batch."""
        device = torch.device(device)
        if device.type == "cpu":
            return self
        copied = HostImages(self, device)
        return copied.load() if self._images.nbytes <= RESIDENT_FRACTION * free_memory(device) else copied


def _reopen(folder: Path, split: str, described: _Description) -> PackedImages:
    if _read_description(folder) != described:
        raise DataError(f"{folder} was replaced by another packed dataset since it was opened: load the dataset again")
    return PackedImages(folder, split, described)


def read_ahead(images: ImageSet, indices: torch.Tensor) -> None:
    """Start reading images that are needed soon, if they are on a disk."""
    if isinstance(images, Subset):
        read_ahead(images.parent, images.indices[indices.cpu()])
    elif isinstance(images, HostImages):
        read_ahead(images.parent, indices)
    elif isinstance(images, PackedImages):
        images.read_ahead(indices)


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a GPU; 0 for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


class HostImages:
    """Images that stay where they are; `gather` copies a batch to a device.

    >>> few = TensorImages(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1]))
    >>> HostImages(few, torch.device("meta")).gather(torch.tensor([0, 2])).shape
    torch.Size([2, 1, 2, 2])
    """

    def __init__(self, parent: ImageSet, device: torch.device):
        self.parent, self.device, self.labels = parent, device, parent.labels
        self.names = image_names(parent)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.parent.shape

    def __len__(self) -> int:
        return len(self.parent)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.parent.gather(indices.cpu()).to(self.device)

    def to(self, device: torch.device | str) -> ImageSet:
        return self.parent.to(device)

    def load(self) -> TensorImages:
        """Copy all images to the device."""
        images = torch.empty(len(self), *self.shape, dtype=torch.uint8, device=self.device)
        for rows in torch.arange(len(self)).split(_COPIED):
            images[int(rows[0]):int(rows[-1]) + 1] = self.gather(rows)
        return TensorImages(images, self.labels, self.names)
