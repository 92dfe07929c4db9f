"""Reads arrays of NumPy's .npz files. Sizes and types are checked before memory is taken; no code ever runs."""

import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from shiftscope.files import UnfitFileError, memory, open_regular

FREE_BYTES = 2**29
"""Content that is read however well it is packed."""

MOST_RATIO = 200
"""Larger content has at most so many times the bytes of its packed file. Images of small shapes on black ground have
100; zeros, of which a bomb is made, have 1,000."""

_MOST_MEMBERS = 1000
_CHUNK = 2**20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_HEADERS: dict[tuple[int, int], Callable[[IO[bytes]], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = "biufcSU"


def unpacked_limit(packed: int) -> int:
    """Return how many bytes a compressed file of `packed` bytes may hold.

    >>> unpacked_limit(100), unpacked_limit(2**24)
    (536870912, 3355443200)
    """
    return min(max(FREE_BYTES, MOST_RATIO * packed), memory())


def read_arrays(path: Path | str, names: Collection[str] | None = None,
                limit: int | None = None) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file by name.

    Args:
        path: the file.
        names: the arrays to read; those that the file does not hold are left out. None: all.
        limit: size limit of the file in bytes; that of the machine's memory unless given.

    Raises:
        OSError: missing or unreadable.
        UnfitFileError: an OSError too: no regular file, too large, packed too densely, damaged, or with arrays of
            Python objects or of records.
    """
    with _opened(path, limit) as (archive, members):
        return {name: _read(archive, member, name) for name, member in members.items()
                if names is None or name in names}


def describe_arrays(path: Path | str) -> dict[str, str]:
    """Return type and shape of the arrays in an .npz file by name, from their headers; errors as `read_arrays`."""
    with _opened(path, None) as (archive, members):
        found = {}
        for name, member in members.items():
            with archive.open(member) as stream:
                shape, _, kind = _header(stream, name)
                found[name] = f"{kind} {shape}"
        return found


@contextmanager
def _opened(path: Path | str, limit: int | None) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """Give an archive and its members by the names of their arrays; what its damage raises is an `UnfitFileError`."""
    with open_regular(path, memory() if limit is None else limit) as stream:
        if stream.read(6) == b"\x93NUMPY":
            raise UnfitFileError("it holds a single array, expected an .npz file")
        try:
            with zipfile.ZipFile(stream) as archive:
                yield archive, _members(archive, stream.seek(0, 2))
        except UnfitFileError:
            raise
        except Exception as error:  # zipfile, zlib and NumPy's reader of headers have no error in common
            raise UnfitFileError(f"it is damaged ({' '.join(str(error).split())})") from error


def _members(archive: zipfile.ZipFile, packed: int) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by the names of their arrays."""
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        raise UnfitFileError(f"it has {len(members):,} members, the limit is {_MOST_MEMBERS:,}")
    for member in members:
        if member.compress_type not in _METHODS or member.flag_bits & _ENCRYPTED:
            raise UnfitFileError(f"its member {member.filename[:50]} is encrypted, or packed as NumPy never does")
    total, most = sum(member.file_size for member in members), unpacked_limit(packed)
    if total > most:
        raise UnfitFileError(f"its {packed:,} bytes unpack to {total:,}, the limit is {most:,}; numpy.savez writes "
                             "a file that is not packed")
    return {member.filename.removesuffix(".npy"): member for member in members}


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(member) as stream:
        shape, by_columns, kind = _header(stream, name)
        if kind.hasobject or kind.kind not in _KINDS or kind.itemsize == 0:
            raise UnfitFileError(f"its array {name[:50]} is not a plain array: Python objects and records are never "
                                 "unpickled; save text as numpy.array(list_of_str), numbers as one array")
        count = _count(shape, name)
        held = member.file_size - stream.tell()
        if count * kind.itemsize != held:
            raise UnfitFileError(f"its array {name[:50]} should have {count * kind.itemsize:,} bytes and has {held:,}")
        values = np.empty(count, kind)
        _fill(values.view(np.uint8), stream)
    return values.reshape(shape, order="F" if by_columns else "C")


def _header(stream: IO[bytes], name: str) -> tuple[tuple[Any, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and type of an array."""
    version = np.lib.format.read_magic(stream)
    if version not in _HEADERS:
        raise UnfitFileError(f"its array {name[:50]} has a header of version {version}, expected 1.0 or 2.0")
    return _HEADERS[version](stream)


def _fill(target: np.ndarray, stream: IO[bytes]) -> None:
    """Read all that is left of a stream into an array of bytes; the stream checks its checksum at its end."""
    place = 0
    while chunk := stream.read(_CHUNK):
        target[place:place + len(chunk)] = np.frombuffer(chunk, np.uint8)
        place += len(chunk)
    if place < len(target):
        raise EOFError(f"ended after {place:,} of {len(target):,} bytes")


def _count(shape: tuple[Any, ...], name: str) -> int:
    whole = all(isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**63 for size in shape)
    if not whole or len(shape) > 32:
        raise UnfitFileError(f"its array {name[:50]} has the impossible shape {str(shape)[:50]}")
    return prod(shape)
