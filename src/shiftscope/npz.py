"""Reads NumPy arrays from .npz and .npy files. Sizes and types are checked before memory is allocated; no code runs."""

import mmap
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from shiftscope.files import UnfitFileError, memory, open_regular

FREE_BYTES = 2**29
"""Content of this size is read whatever the compression ratio."""

MAX_RATIO = 200
"""Largest compression ratio of larger content. Images of small shapes on a black background reach 100; zeros, as in a
decompression bomb, reach 1,000."""

_MAX_MEMBERS = 1000
_CHUNK = 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = "biufcSU"


def unpacked_limit(size: int) -> int:
    """Return the largest number of bytes to which a compressed file of `size` bytes may expand.

    >>> unpacked_limit(100), unpacked_limit(2**24)
    (536870912, 3355443200)
    """
    return min(max(FREE_BYTES, MAX_RATIO * size), memory())


def map_array(path: Path) -> tuple[mmap.mmap, np.ndarray]:
    """Map a .npy file into memory, read-only.

    Returns:
        The map of the whole file, and the array in it.

    Raises:
        OSError: if the file is missing or unreadable.
        UnfitFileError: if it is not a regular file, not a .npy file of a plain array in C order, or truncated.
    """
    with open_regular(path, 2**63) as stream:
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version of the format")
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
        except Exception as error:  # NumPy raises errors of many types for damaged headers
            raise UnfitFileError(f"it does not begin as a .npy file ({' '.join(str(error).split())[:100]})") from error
        count, start, size = _count(shape, path.name), stream.tell(), stream.seek(0, 2)
        if by_columns or dtype.hasobject or dtype.kind not in _KINDS or count == 0 or not dtype.itemsize:
            raise UnfitFileError(f"it holds an array of type {str(dtype)[:30]} and shape {str(shape)[:30]}")
        if count * dtype.itemsize != size - start:
            raise UnfitFileError(f"its header describes {count * dtype.itemsize:,} bytes, and {size - start:,} follow")
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return mapped, np.frombuffer(mapped, dtype, count, start).reshape(shape)


def read_arrays(path: Path | str, names: Collection[str] | None = None,
                limit: int | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Args:
        path: the file.
        names: the arrays to read; names that the file lacks are skipped. None: all.
        limit: size limit of the file in bytes (default: the memory of the machine).

    Raises:
        OSError: if the file is missing or unreadable.
        UnfitFileError: if it is not a regular file, too large, compressed too strongly, damaged, or holds arrays of
            Python objects or records.
    """
    with _opened(path, limit) as (archive, members):
        return {name: _read(archive, member, name) for name, member in members.items()
                if names is None or name in names}


def describe_arrays(path: Path | str) -> dict[str, str]:
    """Return type and shape of the arrays in an .npz file by name, from their headers; errors as `read_arrays`."""
    with _opened(path, None) as (archive, members):
        described = {}
        for name, member in members.items():
            with archive.open(member) as stream:
                shape, _, dtype = _header(stream, name)
                described[name] = f"{dtype} {shape}"
        return described


@contextmanager
def _opened(path: Path | str, limit: int | None) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Open an archive and list its members by array name; damage becomes an `UnfitFileError`."""
    with open_regular(path, memory() if limit is None else limit) as stream:
        if stream.read(6) == b"\x93NUMPY":
            raise UnfitFileError("it holds a single array, expected an .npz file")
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive, _members(archive, stream.seek(0, 2))
        except UnfitFileError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy share no base class of errors
            raise UnfitFileError(f"it is damaged ({' '.join(str(error).split())})") from error


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > _MAX_MEMBERS:
        raise UnfitFileError(f"it has {len(members):,} members, the limit is {_MAX_MEMBERS:,}")
    for member in members:
        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise UnfitFileError(f"its member {member.filename[:50]} is encrypted or compressed with a method that "
                                 "NumPy does not use")
    total, limit = sum(member.file_size for member in members), unpacked_limit(size)
    if total > limit:
        raise UnfitFileError(f"its {size:,} bytes unpack to {total:,}, the limit is {limit:,}; numpy.savez writes "
                             "an uncompressed file")
    return {member.filename.removesuffix(".npy"): member for member in members}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(member) as stream:
        shape, by_columns, dtype = _header(stream, name)
        if dtype.hasobject or dtype.kind not in _KINDS or dtype.itemsize == 0:
            raise UnfitFileError(f"its array {name[:50]} is not a plain array: Python objects and records are never "
                                 "unpickled; save text as numpy.array(list_of_str), numbers as one array")
        count = _count(shape, name)
        size = member.file_size - stream.tell()
        if count * dtype.itemsize != size:
            raise UnfitFileError(f"its array {name[:50]} should have {count * dtype.itemsize:,} bytes and has {size:,}")
        values = np.empty(count, dtype)
        _fill(values.view(np.uint8), stream)
    return values.reshape(shape, order="F" if by_columns else "C")


def _header(stream: IO[bytes], name: str) -> tuple[tuple[Any, ...], bool, np.dtype[Any]]:
    """Return shape, whether the order is Fortran's, and type of an array."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise UnfitFileError(f"its array {name[:50]} has a header of version {version}, expected 1.0 or 2.0")
    return _HEADERS[version](stream)


def _fill(target: np.ndarray, stream: IO[bytes]) -> None:
    """Read the rest of a stream into an array of bytes; the stream verifies its checksum at its end."""
    end = 0
    while chunk := stream.read(_CHUNK):
        target[end:end + len(chunk)] = np.frombuffer(chunk, np.uint8)
        end += len(chunk)
    if end < len(target):
        raise EOFError(f"ended after {end:,} of {len(target):,} bytes")


def _count(shape: tuple[Any, ...], name: str) -> int:
    valid = all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63 for size in shape)
    if not valid or len(shape) > 32:
        raise UnfitFileError(f"its array {name[:50]} has the impossible shape {str(shape)[:50]}")
    return prod(shape)
