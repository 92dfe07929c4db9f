"""Writes that either happen whole or not at all: temporary file, fsync, rename.

A reader never sees half a file, whatever kills the writer; a full disk leaves the old file as it was.
"""

import contextlib
import json
import math
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shiftscope.errors import OutputError

_SUFFIX = ".part"

Guard = Callable[[Path], None]
"""Called with the path of each file before it is written; raises where it may not be."""

_guards: list[Guard] = []


def add_guard(guard: Guard) -> None:
    """Call `guard` before each write of this process, until `remove_guard`."""
    _guards.append(guard)


def remove_guard(guard: Guard) -> None:
    """Undo `add_guard`."""
    _guards.remove(guard)


def _ask_guards(path: Path) -> None:
    for guard in list(_guards):
        guard(path)


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
        OutputError: the folder cannot be written, the disk is full, or a guard forbids it.
    """
    path = Path(path)
    _ask_guards(path)
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


def append_text(path: Path, text: str) -> None:
    """Append UTF-8 `text` to a file and flush it to the disk; a kill may leave a part of `text`.

    Raises:
        OutputError: the folder cannot be written, the disk is full, or a guard forbids it.
    """
    _ask_guards(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise _explain(path, error) from error


def partial_files(path: Path) -> list[Path]:
    """Return the temporary files of `path` that killed writers left beside it."""
    made = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")  # as mkstemp names them
    try:
        found = [other for other in path.parent.iterdir() if made.fullmatch(other.name)]
    except OSError:
        return []
    return [other for other in found if is_plain(other)]


def is_plain(path: Path, *, most_bytes: int | None = None) -> bool:
    """Return whether `path` is a regular file itself: no symbolic link, folder or device, and of at most this size."""
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and (most_bytes is None or status.st_size <= most_bytes)


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
    write_bytes(path, text.encode())


def plain(value: Any) -> Any:
    """Return `value` as plain JSON: tuples as lists, numbers that are not finite as null, numpy scalars as numbers.

    >>> plain({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Path):
        return str(value)
    return plain(value.tolist())  # numpy


def to_json(value: Any) -> str:
    """Return indented JSON text of `value`."""
    return json.dumps(plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path | str, value: Any) -> None:
    """Replace `path` with `value` as JSON, whole or not at all."""
    write_text(path, to_json(value))
