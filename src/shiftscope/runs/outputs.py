"""Writing results and figures into folders without replacing existing files by accident."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shiftscope import files
from shiftscope.errors import OutputError, UsageError
from shiftscope.results.base import ARRAYS_FILE, RESULT_FILE
from shiftscope.results.image_table import is_image_table

_LARGEST_SUMMARY = 64 * 2**20


def figure_files(*names: str) -> list[str]:
    """Return the file names of figures.

    >>> figure_files("curves")
    ['curves.png', 'curves.svg']
    """
    return [f"{name}.{kind}" for name in names for kind in ("png", "svg")]


def record_files(*folders: str) -> list[str]:
    """Return the file names of results in subfolders; "." is the folder itself.

    >>> record_files("units")
    ['units/result.json', 'units/arrays.npz']
    """
    return [(Path(folder) / name).as_posix() for folder in folders for name in (RESULT_FILE, ARRAYS_FILE)]


def require_writable(folder: Path) -> None:
    """Raise an `OutputError` if a folder can be neither written nor created; nothing is changed."""
    path = folder.absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise OutputError(f"cannot write into {folder}: {there} is not a folder; choose another folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write into {folder}: no permission to write into {there}; choose another folder")


def require_new(folder: Path, names: Iterable[str], *, overwrite: bool = False, summaries: Iterable[str] = ()) -> None:
    """Raise an error if a command cannot write its files into a folder; nothing is changed.

    Args:
        names: paths of the files, relative to the folder.
        overwrite: if True, existing files may be replaced; folders never are.
        summaries: further JSON files, which may replace those of an earlier call of the command.

    Raises:
        UsageError: one of the files exists.
        OutputError: the folder cannot be written.
    """
    require_writable(folder)
    foreign = [name for name in summaries if not _is_summary(folder / name)]
    for name in (*names, *foreign):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            raise UsageError(f"{path} is a folder, and a file with this name must be written; move the folder, or "
                             "choose another folder with --out")
        if os.path.lexists(path) and not overwrite:
            raise UsageError(f"{path} already exists; replace it with --overwrite, or choose another folder with --out")


def require_new_table(path: Path, *, overwrite: bool = False) -> None:
    """Raise an error if the table of images cannot be written to a file, see `require_new_file`."""
    require_new_file(path, "the table of images", "images.csv", is_image_table, overwrite=overwrite)


def require_new_file(path: Path, title: str, example: str, is_ours: Callable[[Path], bool], *,
                     overwrite: bool = False) -> None:
    """Raise an error if a file cannot be written; nothing is changed.

    Args:
        title, example: name of the file's content in messages, and of a file with it.
        is_ours: returns True if Shiftscope wrote a file with such content.

    Raises:
        UsageError: the file exists and is not replaced: without `overwrite`, or if Shiftscope did not write it.
        OutputError: its folder cannot be written.
    """
    require_writable(path.parent)
    if path.is_dir():
        raise UsageError(f"{title} {path} is a folder; give the file to write, for instance {path / example}")
    if os.path.lexists(path) and not (overwrite and is_ours(path)):
        how = "it was not written by Shiftscope, so move it" if overwrite else "replace it with --overwrite"
        raise UsageError(f"{title} {path} already exists; {how}, or choose another file")


def _is_summary(path: Path) -> bool:
    """Return True if a file is a JSON document written by Shiftscope."""
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
    """Protect existing files in a folder while a command writes into it, unless `overwrite` is set.

    Args:
        folder: None if the command writes nothing.
        names: paths relative to the folder that are known in advance; they are checked first.
        overwrite, summaries: see `require_new`.

    Raises:
        UsageError, OutputError: see `require_new`; raised before the block is entered.
        OutputError: a file that the block writes already exists.
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
