"""Datasets larger than memory: one file of raw uint8 images, of which a batch reads only what it needs.

The format, version 1. Numbers are little-endian, arrays are raw and begin at multiples of 4096 bytes, so that other
programs can map them:

    0       preamble: magic "SHFTPACK", version (uint32), CRC-32 of the header (uint32), place and length of the header,
            length of the whole file (uint64 each)
    4096    images    uint8 (N, C, h, w), the training images first
    then    labels    int64 (N,)
    then    sums      uint32 (N,), CRC-32 of each image
    last    header    JSON: what a `Dataset` tells of itself, the splits; place, type, shape and CRC-32 of the arrays

The preamble is written last. CRC-32s of header, labels and sums are checked when a file is opened, that of an image the
first time that it is read.
"""

import os
import struct
import threading
import weakref
import zlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch

from shiftscope.data.base import Dataset, ImageSet, Subset, TensorImages
from shiftscope.errors import DataError, quoted
from shiftscope.files import UnfitFileError, memory, reason, regular_handle
from shiftscope.reading import MOST_BYTES, as_type, decode
from shiftscope.results.validation import Count

MAGIC = b"SHFTPACK"
VERSION = 1
ALIGNMENT = 4096
PREAMBLE = struct.Struct("<8sIIQQQ")
TYPES = {"images": "|u1", "labels": "<i8", "sums": "<u4"}
"""The arrays of a packed file and NumPy's names of their types."""

REMEDY = "pack it anew with `shiftscope data pack`"

RESIDENT_SHARE = 0.25
"""A set moves to a GPU as a whole where it takes at most this share of the memory that is free there: model,
activations and the optimizer need the rest."""

_IN_MEMORY = 13  # bytes an image: label, checksum and whether it was checked
_MOST_BUFFERS = 1024  # of one preadv, by POSIX's IOV_MAX on Linux and macOS
_CHUNK = 1024  # images copied to a GPU at once


class PackedFile:
    """A file that is read at given places.

    It has no position that two processes could fight over, so it survives a fork; pickled, it is opened anew.

    Raises:
        DataError: no such file, no packed file, another version, truncated.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path).expanduser().absolute()
        try:
            self._handle = regular_handle(self.path, 2**63)
        except FileNotFoundError as error:
            raise DataError(f"there is no file {self.path}; check the path after packed:") from error
        except OSError as error:
            raise DataError(f"cannot read {self.path}: {reason(error)}") from error
        weakref.finalize(self, os.close, self._handle)
        self.preamble = self._check_preamble()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.preamble)

    def _check_preamble(self) -> bytes:
        size = os.fstat(self._handle).st_size
        preamble = self.read(0, min(size, PREAMBLE.size))
        if preamble[:len(MAGIC)] != MAGIC:
            raise DataError(f"{self.path} is no packed file of Shiftscope: it begins with {preamble[:8]!r}, expected "
                            f"{MAGIC!r}; make one with `shiftscope data pack`")
        if len(preamble) < PREAMBLE.size:
            raise DataError(f"{self.path} is truncated: it ends within its first {PREAMBLE.size} bytes; {REMEDY}")
        version, promised = PREAMBLE.unpack(preamble)[1], PREAMBLE.unpack(preamble)[5]
        if version != VERSION:
            raise DataError(f"{self.path} is a packed file of version {version}, this Shiftscope reads version "
                            f"{VERSION}: {REMEDY}, or use the Shiftscope that made it")
        if size != promised:
            problem = "is truncated" if size < promised else "has grown"
            raise DataError(f"{self.path} {problem}: it promises {promised:,} bytes and holds {size:,}; {REMEDY}")
        return preamble

    def read(self, place: int, length: int) -> bytes:
        """Return `length` bytes from `place` on."""
        content = bytearray(length)
        self.read_into(place, [memoryview(content)])
        return bytes(content)

    def read_into(self, place: int, buffers: Sequence[memoryview]) -> None:
        """Fill the buffers, one after the other, with what stands from `place` on.

        Raises:
            DataError: the file ends before, or cannot be read.
        """
        left = [buffer for buffer in buffers if len(buffer)]
        while left:
            try:
                count = _read_some(self._handle, left[:_MOST_BUFFERS], place)
            except OSError as error:
                raise DataError(f"cannot read {self.path}: {error.strerror}; {REMEDY}") from error
            if count == 0:
                raise DataError(f"{self.path} is truncated: it ends at {place:,} bytes, while it was being read; "
                                f"{REMEDY}")
            place += count
            while left and count >= len(left[0]):
                count -= len(left.pop(0))
            if count:
                left[0] = left[0][count:]

    def expect(self, place: int, length: int) -> None:
        """Say that these bytes are wanted soon; on systems that take no such hints nothing happens."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._handle, place, length, os.POSIX_FADV_WILLNEED)


def _reopen(path: Path, preamble: bytes) -> PackedFile:
    """Open the file again, in another process: it must still be the same."""
    file = PackedFile(path)
    if file.preamble != preamble:
        raise DataError(f"{path} was replaced by another packed file since it was opened: load the dataset again")
    return file


_SEEKING = threading.Lock()


def _read_some(handle: int, buffers: list[memoryview], place: int) -> int:
    """Fill as much of the buffers as one call does, and return how many bytes that were; 0 at the end of the file."""
    if hasattr(os, "preadv"):
        return os.preadv(handle, buffers, place)
    if hasattr(os, "pread"):
        content = os.pread(handle, len(buffers[0]), place)
    else:  # Windows has neither
        with _SEEKING:
            os.lseek(handle, place, os.SEEK_SET)
            content = os.read(handle, len(buffers[0]))
    buffers[0][:len(content)] = content
    return len(content)


class PackedImages:
    """A split of a packed file, read image by image when it is asked for.

    In memory are the batch that is asked for and 13 bytes an image: label, checksum and whether it was checked. What
    the system keeps of the file in memory that nobody else needs is not the process's own.

    Args:
        file: the packed file.
        place: where the split's first image stands in it, bytes.
        shape: (C, h, w).
        labels: int64 (N,).
        sums: uint32 (N,), CRC-32 of each image.
        split: the split's name, for errors.
    """

    def __init__(self, file: PackedFile, place: int, shape: tuple[int, int, int], labels: torch.Tensor,
                 sums: np.ndarray, split: str):
        self.file, self.place, self.labels, self.split = file, place, labels, split
        self._shape, self._sums = shape, sums
        self._checked = np.zeros(len(labels), dtype=bool)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._shape

    def __len__(self) -> int:
        return len(self.labels)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the images at `indices` (int64 (B,)) as uint8 (B, C, h, w), read in the order of the file.

        Raises:
            DataError: an image is damaged, or the file was cut meanwhile.
        """
        wanted = indices.cpu().numpy()
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"images of the {self.split} set have indices from 0 to {len(self) - 1}, got "
                             f"{wanted.min()} to {wanted.max()}")
        images = torch.empty(len(wanted), *self.shape, dtype=torch.uint8)
        rows = images.numpy().reshape(len(wanted), prod(self.shape))
        self._fill(wanted, rows)
        self._check(wanted, rows)
        return images

    def _fill(self, wanted: np.ndarray, rows: np.ndarray) -> None:
        """Read image `wanted[i]` into `rows[i]`: neighbors in one call, each image once."""
        if not len(wanted):
            return
        order = np.argsort(wanted, kind="stable")
        found = wanted[order]
        new = np.diff(found, prepend=-1) != 0
        self._read_runs(found[new], order[new], rows.reshape(-1).data)
        again = np.flatnonzero(~new)
        rows[order[again]] = rows[order[new][np.cumsum(new)[again] - 1]]

    def _read_runs(self, found: np.ndarray, targets: np.ndarray, view: memoryview) -> None:
        """Read the images `found` (ascending) into the rows `targets` of `view`."""
        size = prod(self.shape)
        for begin, end in _runs(found):
            run = targets[begin:end].tolist()
            if run == list(range(run[0], run[0] + len(run))):  # in order, as in an evaluation: one buffer
                buffers = [view[run[0] * size:(run[0] + len(run)) * size]]
            else:
                buffers = [view[row * size:(row + 1) * size] for row in run]
            self.file.read_into(self.place + int(found[begin]) * size, buffers)

    def expect(self, indices: torch.Tensor) -> None:
        """Ask the system to fetch the images at `indices` meanwhile, for they are wanted soon."""
        size, found = prod(self.shape), np.unique(indices.cpu().numpy())
        for begin, end in _runs(found):
            self.file.expect(self.place + int(found[begin]) * size, (end - begin) * size)

    def _check(self, wanted: np.ndarray, rows: np.ndarray) -> None:
        """Compare the checksums of the images that are seen for the first time."""
        for row in np.flatnonzero(~self._checked[wanted]).tolist():
            index = int(wanted[row])
            if zlib.crc32(rows[row]) != self._sums[index]:
                raise DataError(f"image {index} of the {self.split} set in {self.file.path} is damaged: its checksum "
                                f"is not the one it was packed with; {REMEDY}")
            self._checked[index] = True

    def to(self, device: torch.device | str) -> ImageSet:
        """Return the same images, on a GPU as a whole where there is ample room, else moved there batch by batch."""
        device = torch.device(device)
        if device.type == "cpu":
            return self
        moved = MovedImages(self, device)
        return moved.whole() if len(self) * prod(self.shape) <= RESIDENT_SHARE * free_memory(device) else moved


def _runs(found: np.ndarray) -> Iterable[tuple[int, int]]:
    """Return (begin, end) of the runs of neighbors in ascending indices.

    >>> list(_runs(np.array([3, 4, 7])))
    [(0, 2), (2, 3)]
    """
    return pairwise([0, *(np.flatnonzero(np.diff(found) != 1) + 1).tolist(), len(found)] if len(found) else [])


def read_ahead(images: ImageSet, indices: torch.Tensor) -> None:
    """Have images fetched from a disk meanwhile, where they lie on one: the ones that are wanted soon."""
    if isinstance(images, Subset):
        read_ahead(images.parent, images.indices[indices.cpu()])
    elif isinstance(images, MovedImages):
        read_ahead(images.parent, indices)
    elif isinstance(images, PackedImages):
        images.expect(indices)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device; 0 where it does not tell."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


class MovedImages:
    """Images that stay where they are until a batch of them is asked for, which then moves to a device.

    >>> few = TensorImages(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 1]))
    >>> MovedImages(few, torch.device("meta")).gather(torch.tensor([0, 2])).shape
    torch.Size([2, 1, 2, 2])
    """

    def __init__(self, parent: ImageSet, device: torch.device):
        self.parent, self.device, self.labels = parent, device, parent.labels

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.parent.shape

    def __len__(self) -> int:
        return len(self.parent)

    def gather(self, indices: torch.Tensor) -> torch.Tensor:
        return self.parent.gather(indices.cpu()).to(self.device)

    def to(self, device: torch.device | str) -> ImageSet:
        return self.parent.to(device)

    def whole(self) -> TensorImages:
        """Return all images in the device's memory."""
        images = torch.empty(len(self), *self.shape, dtype=torch.uint8, device=self.device)
        for rows in torch.arange(len(self)).split(_CHUNK):
            images[int(rows[0]):int(rows[-1]) + 1] = self.gather(rows)
        return TensorImages(images, self.labels)


def read_packed(path: Path | str) -> Dataset:
    """Return the dataset in a packed file; its images stay there until they are asked for.

    Name, classes, source, license and checksums are those of the dataset that was packed.

    Raises:
        DataError: missing, no packed file, of another version, truncated or damaged.
    """
    file = PackedFile(path)
    try:
        return _dataset(file, _read_header(file))
    except (UnfitFileError, ValueError) as error:
        raise DataError(f"the header of {file.path} is not what it should be ({error}); {REMEDY}") from error


class _Array(TypedDict):
    shape: list[Count]
    place: Count
    type: NotRequired[str]
    crc32: NotRequired[Count]


class _Arrays(TypedDict):
    images: _Array
    labels: _Array
    sums: _Array


class _Header(TypedDict):
    name: str
    class_names: list[str]
    source: str
    license: str
    checksums: dict[str, str]
    synthetic: bool
    arrays: _Arrays
    splits: dict[str, tuple[Count, Count]]


def _read_header(file: PackedFile) -> _Header:
    _, _, crc, place, length, whole = PREAMBLE.unpack(file.preamble)
    if place + length > whole:
        raise DataError(f"{file.path} is damaged: its header lies beyond its end; {REMEDY}")
    if length > MOST_BYTES:
        raise UnfitFileError(f"it has {length:,} bytes, the limit is {MOST_BYTES:,}")
    text = file.read(place, length)
    if zlib.crc32(text) != crc:
        raise DataError(f"the header of {file.path} is damaged: its checksum is wrong; {REMEDY}")
    return as_type(decode(text), _Header)


def _dataset(file: PackedFile, header: _Header) -> Dataset:
    arrays = header["arrays"]
    if len(arrays["images"]["shape"]) != 4 or min(arrays["images"]["shape"]) < 1:
        raise ValueError(f"images of shape {quoted(arrays['images']['shape'])}")
    count, *(channels, height, width) = arrays["images"]["shape"]
    shape, place = (channels, height, width), arrays["images"]["place"]
    if place + count * prod(shape) > arrays["labels"]["place"] or count * _IN_MEMORY > memory():
        raise ValueError(f"{count:,} images of shape {shape}")
    labels = torch.from_numpy(_read_array(file, "labels", arrays["labels"], count).astype(np.int64))
    sums = _read_array(file, "sums", arrays["sums"], count)
    parts = {}
    for split in ("train", "test"):
        begin, end = header["splits"].get(split, (0, 0))
        if not begin < end <= count:
            raise ValueError(f"the split {split} from {begin} to {end}")
        parts[split] = PackedImages(file, place + begin * prod(shape), shape, labels[begin:end], sums[begin:end], split)
    return Dataset(name=header["name"], class_names=tuple(header["class_names"]), train=parts["train"],
                   test=parts["test"], source=header["source"], license=header["license"],
                   checksums=header["checksums"], synthetic=header["synthetic"])


def _read_array(file: PackedFile, name: str, told: _Array, count: int) -> np.ndarray:
    if told.get("type") != TYPES[name] or told["shape"] != [count]:
        raise ValueError(f"{name} of type {quoted(told.get('type'))} and shape {quoted(told['shape'])}")
    whole = PREAMBLE.unpack(file.preamble)[5]
    kind = np.dtype(TYPES[name])
    if not told["place"] <= whole - count * kind.itemsize:
        raise ValueError(f"{name} at {told['place']}")
    content = file.read(told["place"], count * kind.itemsize)
    if zlib.crc32(content) != told.get("crc32"):
        raise DataError(f"the {name} of {file.path} are damaged: their checksum is wrong; {REMEDY}")
    return np.frombuffer(content, dtype=kind)
