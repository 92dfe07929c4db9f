"""Reads IDX files, the format of MNIST and its kin: a magic number, the sizes, then raw bytes."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from shiftscope.errors import DataError

_UNSIGNED_BYTES = 0x08  # the format's code for the type of its values
_GZIP_MAGIC = b"\x1f\x8b"
REMEDY = "replace it by a good copy"


def read_bytes(path: Path, remedy: str = REMEDY) -> bytes:
    """Return the content of a file, unpacked where it is gzipped.

    Args:
        path: the file; whether it is gzipped shows in its first bytes, and a name on .gz promises it.
        remedy: what the error tells the user to do.

    Raises:
        DataError: missing, unreadable, or gzipped badly.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error
    packed = raw.startswith(_GZIP_MAGIC)
    if path.suffix == ".gz" and not packed:
        raise DataError(f"{path} is named as a gzip file but does not begin as one; {remedy}")
    if not packed:
        return raw
    try:
        return gzip.decompress(raw)
    except EOFError as error:
        raise DataError(f"{path} is truncated: its gzip data ends too early; {remedy}") from error
    except (OSError, zlib.error) as error:
        raise DataError(f"{path} is no valid gzip file: {error}; {remedy}") from error


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
    expected = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if content[:4] != expected:
        raise DataError(f"{path} is no IDX file of unsigned bytes with {dimensions} dimension(s): it begins with "
                        f"{content[:4].hex()!r}, expected {expected.hex()!r}; {remedy}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is truncated: it ends within its header; {remedy}")
    sizes = [int.from_bytes(content[at:at + 4], "big") for at in range(4, start, 4)]
    promised, held = int(np.prod(sizes, dtype=object)), len(content) - start
    if held != promised:
        problem = "is truncated" if held < promised else "is too long"
        raise DataError(f"{path} {problem}: its header promises {' x '.join(map(str, sizes))} = {promised:,} values, "
                        f"it holds {held:,}; {remedy}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(sizes).copy()


def read_idx(path: Path | str, dimensions: int, remedy: str = REMEDY) -> np.ndarray:
    """Return the values of an IDX file, plain or gzipped, uint8; see `parse` for arguments and errors."""
    path = Path(path)
    return parse(read_bytes(path, remedy), path, dimensions, remedy)
