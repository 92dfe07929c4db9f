"""IDX files, the format of MNIST and its successors: a magic number, sizes, then unsigned bytes; plain or gzipped."""

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from shiftscope.files import UnfitFileError, memory, open_regular
from shiftscope.npz import unpacked_limit

_GZIP = b"\x1f\x8b"
_UNSIGNED_BYTES = 8
_MAX_DIMENSIONS = 3


def read_unpacked(path: Path, most: int) -> bytes:
    """Return the content of a file, unpacked if it is gzipped, but at most `most` + 1 bytes.

    Raises:
        OSError: if the file is missing, unreadable, not a regular file, larger than `most`, or damaged.
    """
    with open_regular(path, most) as stream:
        return _read(_unpacking(stream), most + 1)


def read_idx(path: Path) -> np.ndarray:
    """Return the values of an IDX file of unsigned bytes, (N,) or (N, height, width).

    Raises:
        OSError: as `read_unpacked`, or if the file is not an IDX file of unsigned bytes. The sizes in its header are
            compared with the size of the file before memory is allocated.
    """
    with open_regular(path, memory()) as file:
        size = file.seek(0, 2)
        stream = _unpacking(file)
        header = _read(stream, 4)
        if len(header) < 4 or header[:2] != bytes(2):
            raise UnfitFileError("it does not begin as an IDX file")
        if header[2] != _UNSIGNED_BYTES or not 1 <= header[3] <= _MAX_DIMENSIONS:
            raise UnfitFileError(f"it holds values of type {header[2]:#04x} in {header[3]} dimensions, expected "
                                 "unsigned bytes (0x08) in 1 or 3 dimensions")
        sizes = np.frombuffer(_read(stream, 4 * header[3]).ljust(4 * header[3], b"\xff"), ">u4").tolist()
        count = prod(sizes)
        limit = size if stream is file else unpacked_limit(size)
        if count > limit:
            raise UnfitFileError(f"its header announces {count:,} bytes, and its {size:,} bytes hold at most {limit:,}")
        values = _read(stream, count + 1)
    if len(values) != count:
        found = f"{len(values):,}" if len(values) < count else "more"
        raise UnfitFileError(f"its header announces {count:,} bytes, and it holds {found}")
    return np.frombuffer(values, np.uint8).reshape(sizes)


def parse_idx(content: bytes) -> np.ndarray:
    """Return the values of a verified IDX file of unsigned bytes: magic number, sizes, values.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 5, 7]))
    array([5, 7], dtype=uint8)
    """
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + sizes.nbytes).reshape(sizes).copy()


def _unpacking(stream: IO[bytes]) -> IO[bytes]:
    """Return the stream, or a stream of its unpacked content if it is gzipped."""
    stream.seek(0)
    gzipped = stream.read(2) == _GZIP
    stream.seek(0)
    return gzip.GzipFile(fileobj=stream) if gzipped else stream  # pyright: ignore[reportReturnType]


def _read(stream: IO[bytes], count: int) -> bytes:
    try:
        return stream.read(count)
    except (EOFError, zlib.error) as error:  # EOFError: truncated gzip data
        raise UnfitFileError(str(error)) from error
