"""Writes that either happen whole or not at all: temporary file, fsync, rename.

A reader never sees half a file, whatever kills the writer; a full disk leaves the old file as it was.
"""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shiftscope.errors import OutputError
from shiftscope.text import valid_unicode

_SUFFIX = ".part"


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace `path` with `data`, whole or not at all.

    Raises:
        OutputError: the folder cannot be written or the disk is full; `path` is then unchanged.
    """
    with replacing(path) as handle:
        write_all(handle, data)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[int]:
    """Give the handle of a new file, open for writing and reading; it replaces `path` when the block ends.

    After an error or a Ctrl-C within the block nothing of it is left, and `path` is unchanged.

    Raises:
        OutputError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent)
    except OSError as error:
        raise _explain(path, error) from error
    try:
        try:
            yield handle
            _finish(handle)
        finally:
            os.close(handle)
        Path(name).replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise _explain(path, error) from error
        raise
    _sync_folder(path.parent)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all of `data` where the file of `handle` stands."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view):]


def remove_partial(folder: Path) -> None:
    """Remove temporary files below `folder` that a killed writer left behind."""
    for path in folder.rglob(f".*{_SUFFIX}"):
        path.unlink(missing_ok=True)


def _finish(handle: int) -> None:
    os.fsync(handle)
    if os.name == "posix":
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)  # mkstemp's 0600 would hide results from others


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system allows it (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(path: Path, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {path}: {reason}; free some space or choose another folder")


def write_text(path: Path | str, text: str) -> None:
    """Replace `path` with UTF-8 `text`, whole or not at all."""
    write_bytes(path, valid_unicode(text).encode())


def plain(value: Any) -> Any:
    """Return `value` as plain JSON: tuples as lists, numbers that are not finite as null, numpy scalars as numbers, and
    text as valid Unicode.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, dict):
        return {valid_unicode(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | Path):
        return valid_unicode(str(value))
    if value is None or isinstance(value, bool | int):
        return value
    return plain(value.tolist())  # numpy


def to_json(value: Any) -> str:
    """Return indented JSON text of `value`."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path | str, value: Any) -> None:
    """Replace `path` with `value` as JSON, whole or not at all."""
    write_text(path, to_json(value))
