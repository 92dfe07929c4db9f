"""Finished images of an audit, stored as it goes in a subfolder of its results, so that it can be continued.

The subfolder holds `audit.json`, which describes the audit and is never changed, one file of arrays for each block of
images, `results.json` with the names of the results that the command writes at its end, and a lock. Each file is
written atomically and holds the number of the audit, so that only files of this audit are read and removed.
"""

import contextlib
import io
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from filelock import FileLock, Timeout

from shiftscope import files
from shiftscope.errors import OutputError, UsageError, quoted
from shiftscope.npz import read_arrays
from shiftscope.reading import read_json
from shiftscope.runs.lock import LOCK, lock_folder

FOLDER = "unfinished-audit"
KIND = "unfinished-audit"
HEADER, RESULTS = "audit.json", "results.json"

EVERY, FRACTION, LONGEST = 2.0, 0.02, 60.0
"""Images are stored when this many seconds, or this fraction of the time so far if it is longer, have passed since the
last time; at the latest after the third number of seconds."""

_BLOCK = re.compile(r"images-(\d{9})\.npz")


class _Header(TypedDict):
    schema_version: int
    kind: str
    release: str
    number: str
    model: str
    images: str
    settings: dict[str, Any]


class _Results(TypedDict):
    number: str
    names: list[str]


class UnfinishedAudit:
    """Stores the images of one audit and gives them to the command that continues it.

    Args:
        out: folder for the results of the audit; the subfolder `unfinished-audit` is used.
        resume: continue the audit there, if there is one.
        overwrite: replace the audit there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as out, UnfinishedAudit(Path(out)) as audit:
        ...     found = audit.identify("model", "images", {"seed": 0})
        ...     audit.add(0, {"classes": np.zeros((4, 9), np.uint8)})
        ...     audit.finish()
        ...     found, sorted(os.listdir(out))
        ([], [])
    """

    def __init__(self, out: Path, *, resume: bool = False, overwrite: bool = False):
        self.path, self.resume, self.overwrite = out / FOLDER, resume, overwrite
        self._lock: FileLock | None = None
        self._number = secrets.token_hex(8)
        self._begun = self._stored = time.monotonic()
        self._is_new = False
        """True from the creation of the folder's audit until its first images are stored."""

    @property
    def exists(self) -> bool:
        """True if the folder holds an audit of this or another release."""
        return self._header() is not None

    def check(self) -> None:
        """Raise a `UsageError` if the folder cannot be used; nothing is changed."""
        if os.path.lexists(self.path) and (self.path.is_symlink() or not self.path.is_dir()):
            raise UsageError(f"{self.path} is not a folder, and finished images of the audit are stored there; move "
                             "it, or choose another folder with --out")
        if not self.path.exists():
            return
        if not self.exists:
            ours = {LOCK} | {path.name for path in files.partial_files(self.path / HEADER)}
            if any(entry.name not in ours for entry in self.path.iterdir()):
                raise UsageError(f"{self.path} is not empty and was not written by Shiftscope; move it, or choose "
                                 "another folder with --out")
        elif not (self.resume or self.overwrite):
            raise UsageError(f"{self.path} holds an unfinished audit; continue it with --resume, replace it with "
                             "--overwrite, or choose another folder with --out")

    def begin(self, note: Callable[[str], None] = lambda _: None) -> None:
        """Lock the folder until `release` is called; with `overwrite`, remove the audit in it.

        Raises:
            UsageError: see `check`; also if another process uses the folder.
            OutputError: the folder cannot be written.
        """
        self.check()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.path, note)
            self.check()  # again, now that no other process writes here
            if self.overwrite and self.exists:
                self._number = self._header()["number"]  # type: ignore[index]
                self._clear()
                self._number = secrets.token_hex(8)
        except Timeout as error:
            raise UsageError(f"the audit in {self.path} is in use by another process; wait until it ends, or choose "
                             "another folder with --out") from error
        except OSError as error:
            self.release()
            raise OutputError(f"cannot write into {self.path}: {files.reason(error)}; choose another folder") from error
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Allow other processes to use the folder."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> "UnfinishedAudit":
        self.begin()
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_new:  # nothing to continue
            self.finish()
        elif self._lock is not None and not self.exists:
            self._remove_folder()
        self.release()

    def identify(self, model: str, images: str, settings: Mapping[str, Any]) -> list[dict[str, np.ndarray]]:
        """Describe the audit; return the blocks of images that an earlier command stored, in order, without gaps.

        Args:
            model: hash of the model.
            images: hash of the images.
            settings: plain JSON, all that results depend on.

        Raises:
            UsageError: the audit in the folder is another one; the message names the difference.
        """
        header = self._header()
        now = files.plain({"schema_version": 1, "kind": KIND, "release": version("shiftscope"), "number": self._number,
                           "model": model, "images": images, "settings": dict(settings)})
        if header is None:
            self._is_new = True
            files.write_json(self.path / HEADER, now)
            return []
        different = _difference(header, now)
        if different:
            raise UsageError(f"{self.path} holds an unfinished audit {different}; repeat its command with --resume, or "
                             "replace it with --overwrite")
        self._number = header["number"]
        return self._blocks()

    def add(self, begin: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Store the results of a block of images.

        Args:
            begin: index of the first one.
            arrays: by name; "classes" has one row per image.
        """
        buffer = io.BytesIO()
        np.savez(buffer, **{"number": np.array(self._number), **arrays})  # pyright: ignore[reportArgumentType]
        files.write_bytes(self.path / f"images-{begin:09}.npz", buffer.getvalue())
        self._stored, self._is_new = time.monotonic(), False

    @property
    def is_due(self) -> bool:
        """True if images should be stored now."""
        now = time.monotonic()
        return now - self._stored >= min(LONGEST, max(EVERY, FRACTION * (now - self._begun)))

    def restart(self) -> None:
        """Remove all stored images."""
        for path in self._own_blocks():
            path.unlink(missing_ok=True)

    def list_results(self, names: Iterable[str]) -> None:
        """Store the names of the files that the command is about to write into the folder of results."""
        names = sorted({*names, *self.results()})
        (self.path / RESULTS).unlink(missing_ok=True)
        files.write_json(self.path / RESULTS, {"number": self._number, "names": names})

    def results(self) -> set[str]:
        """Return the names of results that the command, or the one that it continues, may have written."""
        header = self._header()
        try:
            found = read_json(self.path / RESULTS, _Results)
        except (OSError, OutputError):
            return set()
        return set(found["names"]) if self.resume and header and found["number"] == header["number"] else set()

    def finish(self) -> None:
        """Remove the stored images and the folder, unless it holds other files."""
        self._clear()
        self._is_new = False
        self._remove_folder()

    def _remove_folder(self) -> None:
        """Remove the lock and the folder, unless it holds other files."""
        with contextlib.suppress(OSError):
            (self.path / LOCK).unlink()
        self.release()
        with contextlib.suppress(OSError):
            self.path.rmdir()

    def _clear(self) -> None:
        own = [*self._own_blocks(), self.path / RESULTS, self.path / HEADER]
        for path in [*(part for name in own for part in files.partial_files(name)), *own]:
            if files.is_plain(path):
                path.unlink(missing_ok=True)

    def _header(self) -> _Header | None:
        try:
            found = read_json(self.path / HEADER, _Header) if files.is_plain(self.path / HEADER) else None
        except OSError:
            return None
        return found if found is not None and found["kind"] == KIND else None

    def _block_paths(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if _BLOCK.fullmatch(path.name) and files.is_plain(path))
        except OSError:
            return []

    def _own_blocks(self) -> list[Path]:
        return [path for path in self._block_paths() if _number_of(path) in (self._number, None)]

    def _blocks(self) -> list[dict[str, np.ndarray]]:
        """Return the blocks up to the first gap or damaged file; blocks after it are removed."""
        blocks, done, complete = [], 0, True
        for path in self._block_paths():
            arrays = _arrays(path)
            complete = (complete and str(arrays.get("number")) == self._number and "classes" in arrays
                        and path.name == f"images-{done:09}.npz")
            if complete:
                blocks.append(arrays)
                done += len(arrays["classes"])
            elif str(arrays.get("number", self._number)) == self._number:
                path.unlink(missing_ok=True)
        return blocks


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except OSError:
        return {}


def _number_of(path: Path) -> str | None:
    """Return the number of the audit in a file of images; None if it is damaged."""
    arrays = _arrays(path)
    return str(arrays["number"]) if "number" in arrays else None


def _difference(before: _Header, now: Mapping[str, Any]) -> str:
    """Return the first difference of two audits as words that follow "an unfinished audit"; "" if there is none."""
    if before["release"] != now["release"]:
        return f"of release {quoted(before['release'])}, this is release {now['release']}"
    if before["model"] != now["model"]:
        return "of another model: weights or layers differ"
    for name, value in now["settings"].items():
        if before["settings"].get(name) != value:
            return f"with another {name}: {quoted(before['settings'].get(name))}, now {quoted(value)}"
    if before["images"] != now["images"]:
        return "of other images: pixels, labels or their order differ"
    return ""
