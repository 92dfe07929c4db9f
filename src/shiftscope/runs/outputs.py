"""Folders that results and figures are written into, beside files of any origin, of which none is replaced unasked."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shiftscope import files
from shiftscope.errors import OutputError, UsageError
from shiftscope.results.base import ARRAYS_FILE, RESULT_FILE

_LARGEST_SUMMARY = 64 * 2**20


def figure_files(*names: str) -> list[str]:
    """Return the files of figures.

    >>> figure_files("curves")
    ['curves.png', 'curves.svg']
    """
    return [f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def record_files(*folders: str) -> list[str]:
    """Return the files of records in subfolders; "." is the folder itself.

    >>> record_files("units")
    ['units/result.json', 'units/arrays.npz']
    """
    return [(Path(folder) / name).as_posix() for folder in folders for name in (RESULT_FILE, ARRAYS_FILE)]


def require_writable(folder: Path) -> None:
    """Raise an `OutputError` where a folder can be neither written nor made; nothing is changed."""
    path = folder.absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise OutputError(f"cannot write into {folder}: {there} is not a folder; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {folder}: no permission to write into {there}; choose another folder")


def require_new(folder: Path, names: Iterable[str], *, overwrite: bool = False, summaries: Iterable[str] = ()) -> None:
    """Raise an error where a command cannot write its files into a folder; nothing is changed.

    Args:
        names: paths of the files, relative to the folder.
        overwrite: whether files may be replaced; folders never are.
        summaries: further files, JSON that may replace what an earlier call of the command wrote.

    Raises:
        UsageError: one of the files exists.
        OutputError: the folder cannot be written.
    """
    require_writable(folder)
    foreign = [name for name in summaries if not _is_summary(folder / name)]
    for name in (*names, *foreign):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            raise UsageError(f"{path} is a folder, and a file of this name is to be written: move it away, or choose "
                             "another folder with --out")
        if os.path.lexists(path) and not overwrite:
            raise UsageError(f"{path} already exists: replace it with --overwrite, or choose another folder with --out")


def _is_summary(path: Path) -> bool:
    """Whether a file is a JSON document of Shiftscope."""
    try:
        if not files.is_plain(path, most_bytes=_LARGEST_SUMMARY):
            return False
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"schema_version", "model"} <= found.keys()


@contextmanager
def new_files(folder: Path | None, names: Iterable[str] = (), *, overwrite: bool = False,
              summaries: Iterable[str] = ()) -> Iterator[None]:
    """Let a command write into a folder for the time of the block, without replacing files unless `overwrite` says so.

    Args:
        folder: None where the command writes nothing.
        names: the files as far as they are known, relative to the folder; checked first.
        overwrite, summaries: see `require_new`.

    Raises:
        UsageError, OutputError: see `require_new`; said before the block begins.
        OutputError: a file that the block writes exists already, or was created meanwhile.
    """
    if folder is None:
        yield
        return
    require_new(folder, names, overwrite=overwrite, summaries=summaries)
    inside = folder.absolute()
    made = {inside / name for name in summaries}

    def guard(path: Path) -> None:
        path = path.absolute()
        if not path.is_relative_to(inside) or path in made:
            return
        if os.path.lexists(path) and not overwrite:
            raise OutputError(f"cannot write {path}: it already exists; replace it with --overwrite, or choose another "
                              "folder with --out")
        made.add(path)

    files.add_guard(guard)
    try:
        yield
    finally:
        files.remove_guard(guard)
