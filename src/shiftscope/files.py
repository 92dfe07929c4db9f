"""Atomic writes (temporary file, fsync, rename), and reads with a size limit that never block.

After a crash or on a full disk, the old file is unchanged.
"""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from shiftscope.errors import OutputError
from shiftscope.text import valid_unicode

_SUFFIX = ".part"

_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
          stat.S_IFBLK: "a device", stat.S_IFDIR: "a folder"}

_MIN_LIMIT = 2**20
"""Bytes that are read of files that report a smaller size, such as growing files and files in /proc."""


class UnfitFileError(OSError):
    """The file is not a regular file, exceeds its size limit, or has unexpected content.

    The message is a phrase about the file for the caller's sentence.
    """


def open_regular(path: Path | str, limit: int) -> BinaryIO:
    """Open a regular file for reading, without blocking on named pipes.

    Args:
        path: the file; symbolic links are followed.
        limit: the largest size in bytes.

    Raises:
        OSError: if the file is missing or cannot be opened.
        UnfitFileError: if it is a pipe, socket, device or folder, or larger than `limit`.

    Example:
        >>> open_regular("/", 100)
        Traceback (most recent call last):
        shiftscope.files.UnfitFileError: it is a folder, expected a regular file
    """
    return os.fdopen(regular_handle(path, limit), "rb")


def regular_handle(path: Path | str, limit: int) -> int:
    """Return the file descriptor of a regular file; arguments and errors are those of `open_regular`."""
    _check_regular(Path(path).stat(), limit)  # opening a device may have side effects
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        _check_regular(os.fstat(handle), limit)
    except OSError:
        os.close(handle)
        raise
    return handle


def memory() -> int:
    """Return the bytes of memory of this machine, the limit for files that are read as a whole."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return 2**36


def read_regular(path: Path | str, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; errors are those of `open_regular`."""
    with open_regular(path, limit) as stream:
        most = min(limit, max(os.fstat(stream.fileno()).st_size, _MIN_LIMIT))
        content = stream.read(most + 1)
    if len(content) > most:
        raise UnfitFileError(f"it holds more than {most:,} bytes, which is the limit")
    return content


def reason(error: OSError) -> str:
    """Return the reason why a file could not be read.

    >>> reason(FileNotFoundError(2, "No such file or directory")), reason(UnfitFileError("it is a folder"))
    ('No such file or directory', 'it is a folder')
    """
    return error.strerror or str(error)


def _check_regular(status: os.stat_result, limit: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
        raise UnfitFileError(f"it is {kind}, expected a regular file")
    if status.st_size > limit:
        raise UnfitFileError(f"it holds {status.st_size:,} bytes, the limit for such a file is {limit:,}")


Guard = Callable[[Path], None]
"""Called with the path of each file before it is written; raises if writing is not allowed."""

_guards: list[Guard] = []


def add_guard(guard: Guard) -> None:
    """Call `guard` before each write of this process."""
    _guards.append(guard)


def remove_guard(guard: Guard) -> None:
    """Undo `add_guard`."""
    _guards.remove(guard)


def _check_guards(path: Path) -> None:
    for guard in list(_guards):
        guard(path)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Replace `path` with `data` atomically; errors are those of `replacing`."""
    with replacing(path) as handle:
        write_all(handle, data)


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[int]:
    """Yield the descriptor of a new file that replaces `path` when the block ends.

    After an error or a Ctrl-C within the block, it is deleted and `path` is unchanged.

    Raises:
        OutputError: if the folder cannot be written, the disk is full, or a guard forbids it.
    """
    path = Path(path)
    _check_guards(path)
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
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise _explain(path, error) from error
        raise


@contextlib.contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Provide a temporary folder beside `path`, which is renamed to `path` when the block ends.

    After an error or a Ctrl-C within the block, nothing of it is left.

    Raises:
        OutputError: if `path` exists, the folder around it cannot be written, or the disk is full.
    """
    path, part = Path(path), None
    _check_guards(path)
    try:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "it exists already")
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=_SUFFIX, dir=path.parent))
        yield part
        for file in part.rglob("*"):
            if file.is_dir():
                continue
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o777 & ~mask)  # the mode of mkdtemp, 0700, would hide results from others
        part.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _explain(path, error) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def write_all(handle: int, data: bytes | memoryview) -> None:
    """Write all of `data` at the current position of `handle`."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view):]


def append_text(path: Path, text: str) -> None:
    """Append UTF-8 `text` to a file and flush it to the disk; not atomic. Errors are those of `replacing`."""
    _check_guards(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise _explain(path, error) from error


def partial_files(path: Path) -> list[Path]:
    """Return the temporary files of `path` that killed processes left."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(_SUFFIX)}")  # as mkstemp names them
    try:
        others = [other for other in path.parent.iterdir() if pattern.fullmatch(other.name)]
    except OSError:
        return []
    return [other for other in others if is_plain(other)]


def is_plain(path: Path, *, most_bytes: int | None = None) -> bool:
    """Return True if `path` itself is a regular file (not a symbolic link) of at most this size."""
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
        os.fchmod(handle, 0o666 & ~mask)  # mkstemp uses 0600


def _sync_folder(folder: Path) -> None:
    """Make the rename durable (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(path: Path, error: OSError) -> OutputError:
    """Return the error of a failed write; raise the guard's if the folder was removed or renamed meanwhile."""
    _check_guards(path)
    return OutputError(f"cannot write {path}: {reason(error)}; free some space or choose another folder")


def write_text(path: Path | str, text: str) -> None:
    """Replace `path` with UTF-8 `text` atomically."""
    write_bytes(path, valid_unicode(text).encode())


def plain(value: Any) -> Any:
    """Return `value` as plain JSON: tuples become lists, nonfinite numbers null, NumPy scalars numbers.

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
    """Replace `path` with `value` as JSON atomically."""
    write_text(path, to_json(value))
