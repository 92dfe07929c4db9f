"""Reads IDX files, the format of MNIST and its kin: a magic number, the sizes, then raw bytes."""

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from shiftscope.errors import DataError
from shiftscope.files import memory, open_regular, reason
from shiftscope.npz import unpacked_limit

_UNSIGNED_BYTES = 0x08  # the format's code for the type of its values
_GZIP_MAGIC = b"\x1f\x8b"
REMEDY = "replace it by a good copy"


def read_bytes(path: Path, dimensions: int, remedy: str = REMEDY) -> bytes:
    """Return the content of an IDX file, unpacked where it is gzipped: at most one byte more than its header promises.

    Args:
        path: the file; whether it is gzipped shows in its first bytes, and a name on .gz promises it.
        dimensions: how many sizes the header must hold, see `parse`.
        remedy: what the error tells the user to do.

    Raises:
        DataError: missing, no regular file, unreadable, gzipped badly, no IDX file, or larger than its packed size
            allows.
    """
    try:
        with open_regular(path, memory()) as stream:
            size = stream.seek(0, 2)
            stream.seek(0)
            packed = stream.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            stream.seek(0)
            if path.suffix == ".gz" and not packed:
                raise DataError(f"{path} is named as a gzip file but does not begin as one; {remedy}")
            source: Any = gzip.GzipFile(fileobj=stream) if packed else stream
            return _content(source, unpacked_limit(size) if packed else size, path, dimensions, remedy)
    except EOFError as error:
        raise DataError(f"{path} is truncated: its gzip data ends too early; {remedy}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is no valid gzip file: {error}; {remedy}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}; {remedy}") from error


def _content(source: IO[bytes], most: int, path: Path, dimensions: int, remedy: str) -> bytes:
    header = source.read(_header_length(dimensions))
    promised = prod(_sizes(header, path, dimensions, remedy))
    if promised + len(header) > most and isinstance(source, gzip.GzipFile):
        raise DataError(f"{path} unpacks to {promised:,} values, as its header says, the limit for a file of its size "
                        f"is {most:,}; {remedy}")
    return header + source.read(min(promised, most) + 1)


def parse(content: bytes, path: Path, dimensions: int, remedy: str = REMEDY) -> np.ndarray:
    """Return the values of an IDX file, uint8, writable.

    Args:
        content: the unpacked file.
        path: its name, for the errors.
        dimensions: how many sizes the header must hold: 3 for images (N, h, w), 1 for labels (N,).
        remedy: what the error tells the user to do.

    Raises:
        DataError: another magic number, or more or fewer values than the header says.

    Example:
        >>> parse(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]), Path("labels"), 1)
        array([5, 7], dtype=uint8)
    """
    sizes, start = _sizes(content, path, dimensions, remedy), _header_length(dimensions)
    promised, held = prod(sizes), len(content) - start
    if held != promised:
        problem, found = ("is truncated", f"{held:,}") if held < promised else ("is too long", "more")
        raise DataError(f"{path} {problem}: its header promises {' x '.join(map(str, sizes))} = {promised:,} values, "
                        f"it holds {found}; {remedy}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy()


def read_idx(path: Path | str, dimensions: int, remedy: str = REMEDY) -> np.ndarray:
    """Return the values of an IDX file, plain or gzipped, uint8; see `parse` for arguments and errors."""
    path = Path(path)
    return parse(read_bytes(path, dimensions, remedy), path, dimensions, remedy)


def _header_length(dimensions: int) -> int:
    return 4 + 4 * dimensions


def _sizes(content: bytes, path: Path, dimensions: int, remedy: str) -> list[int]:
    """Return the sizes in the header of an IDX file."""
    expected = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if content[:4] != expected:
        raise DataError(f"{path} is no IDX file of unsigned bytes with {dimensions} dimension(s): it begins with "
                        f"{content[:4].hex()!r}, expected {expected.hex()!r}; {remedy}")
    length = _header_length(dimensions)
    if len(content) < length:
        raise DataError(f"{path} is truncated: it ends within its header; {remedy}")
    return [int.from_bytes(content[at:at + 4], "big") for at in range(4, length, 4)]
