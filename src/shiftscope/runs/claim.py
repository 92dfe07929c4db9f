"""Exclusive access of one process to a run folder, and the files that it may write, replace and remove."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from shiftscope import files
from shiftscope.errors import OutputError, UsageError
from shiftscope.runs.file_names import run_files
from shiftscope.runs.lock import LOCK, lock_folder
from shiftscope.runs.manifest import MANIFEST, link_above, read_manifest, write_manifest

MARKER = "env.json"
REPORT = "report.html"
IMAGES = "images.csv"
"""Table of the audited images; release 0.1 did not write it."""

_LARGEST_MARKER = 16 * 2**20

_PAGE = b'<meta name="generator" content="Shiftscope">'
"""Text near the start of each report."""


class Claim:
    """Gives one process exclusive access to a run folder, and protects files of others.

    Args:
        path: the folder, which may not exist yet.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock: FileLock | None = None
        self._written: set[str] = set()
        self._identity: tuple[int, ...] | None = None
        """Identity of the folder and its lock while it is claimed."""

    def check(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Raise an error if the folder cannot be used for a run; nothing is written.

        Raises:
            UsageError: the folder contains a run or other files, and neither `resume` nor `overwrite` is set; files
            that
                Shiftscope did not write have names of run files; symbolic links point out of the folder.
            OutputError: the folder cannot be read.
        """
        try:
            self._check(resume=resume, overwrite=overwrite)
        except OSError as error:
            raise OutputError(f"cannot read {self.path}: {error.strerror}; choose another folder with --out") from error

    def _check(self, *, resume: bool, overwrite: bool) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UsageError(f"--out {self.path} is a file; choose a folder")
        owned = self._owned()
        if owned is None:
            self._check_new()
            return
        if (self.path / MARKER).is_file() and not (resume or overwrite):
            raise UsageError(f"--out {self.path} already contains a run; continue it with --resume, replace it with "
                             "--overwrite, or choose another folder")
        link = next((link for name in sorted(owned) if (link := link_above(self.path, name))), None)
        if link is not None:
            raise UsageError(f"{link} is a symbolic link, which is not followed; replace it with the folder itself, or "
                             "choose another folder with --out")
        self._check_strangers(owned)

    def _owned(self) -> set[str] | None:
        """Return the relative paths of files that Shiftscope wrote; None if the folder does not contain a run."""
        manifest = read_manifest(self.path)
        if manifest is not None:
            return set(manifest.files)
        environment = self._environment()
        if os.path.lexists(self.path / MANIFEST) or not {"schema_version", "command", "settings"} <= environment.keys():
            return None
        return {name for name in run_files(self.path, environment) if files.is_plain(self.path / name)}

    def _environment(self) -> dict[str, Any]:
        """Return the content of `env.json`; empty if it is missing or damaged."""
        path = self.path / MARKER
        try:
            plain = files.is_plain(path, most_bytes=_LARGEST_MARKER)
            found = json.loads(path.read_text(encoding="utf-8")) if plain else None
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _check_new(self) -> None:
        """Raise a `UsageError` if the folder contains anything but the remains of a run that was killed at its
        start."""
        manifest = self.path / MANIFEST
        if os.path.lexists(manifest) and (self.path / MARKER).is_file():
            raise UsageError(f"{manifest} is damaged or was written by another release or program, so the files of the "
                             "run are unknown; choose another folder with --out")
        ours = {LOCK} | {path.name for name in (MANIFEST, MARKER) for path in files.partial_files(self.path / name)}
        if any(entry.name not in ours for entry in self.path.iterdir()):
            raise UsageError(f"--out {self.path} is not empty and does not contain a run; choose an empty folder")

    def _check_strangers(self, owned: set[str]) -> None:
        """Raise a `UsageError` if a file that Shiftscope did not write has the name of a run file."""
        known = run_files(self.path, self._environment()) | {IMAGES}
        strange = sorted(name for name in known if not self._may_replace(name, owned))
        if strange:
            raise UsageError(f"{self.path / strange[0]} has the name of a run file but was not written by Shiftscope; "
                             "move it out of the folder, or choose another folder with --out")

    def _may_replace(self, name: str, owned: set[str]) -> bool:
        path = self.path / name
        if not os.path.lexists(path):
            return True
        return files.is_plain(path) and (name in owned or (name == REPORT and _is_page(path)))

    def begin(self, *, resume: bool = False, overwrite: bool = False, check: Callable[[], None] | None = None,
              note: Callable[[str], None] | None = None) -> None:
        """Claim the folder for a run until `release` is called.

        Every file that this process then writes in the folder is listed in its manifest. A write fails if it would
        replace a file that Shiftscope did not write, or if the folder was removed or renamed.

        Args:
            resume: continue the run in the folder.
            overwrite: remove the files of the run in the folder.
            check: called before and after the folder is locked; raises an error if the run cannot start.
            note: called with a warning if the file system does not support locks.

        Raises:
            UsageError: see `check`; also if another process has claimed the folder.
            OutputError: the folder cannot be written.
        """
        def check_all() -> None:
            self.check(resume=resume, overwrite=overwrite)
            if check is not None:
                check()

        check_all()
        if self._identity is None:
            self._enter(note or (lambda _: None))
        try:
            check_all()  # again, now that no other process writes here
            self._take_over(overwrite)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Allow other processes to write into the folder."""
        if self._identity is not None:
            files.remove_guard(self._before_write)
            self._identity = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _enter(self, note: Callable[[str], None]) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self.path, note)
        except Timeout as error:
            raise UsageError(f"--out {self.path} is in use by {self._user()}; wait until it ends, stop it, or choose "
                             "another folder") from error
        except OSError as error:
            raise OutputError(f"cannot write into {self.path}: {error.strerror}; choose another folder with "
                              "--out") from error
        self._identity = self._identify()
        files.add_guard(self._before_write)

    def _user(self) -> str:
        """Return a description of the process that holds the lock."""
        for _ in range(20):  # the process writes its number just after it locks the folder
            manifest = read_manifest(self.path)
            if manifest is not None and (manifest.host != socket.gethostname() or _lives(manifest.pid)):
                here = manifest.host == socket.gethostname()
                return f"process {manifest.pid}{'' if here else f' on {manifest.host}'}"
            time.sleep(0.05)
        return "another process"

    def _take_over(self, overwrite: bool) -> None:
        """Write the manifest, and remove partial files of a killed process and files to be replaced."""
        self._written = self._owned() or set()
        write_manifest(self.path, self._written)
        try:
            for name in (MANIFEST, MARKER, *self._written):
                for path in files.partial_files(self.path / name):
                    path.unlink(missing_ok=True)
            if overwrite:
                self._clear()
        except OSError as error:
            raise OutputError(f"cannot clear {self.path}: {error.strerror}; choose another folder") from error

    def _clear(self) -> None:
        """Remove the files that the run wrote, `env.json` last, so that the folder stays a run if this is
        interrupted."""
        for name in sorted(self._written, key=lambda name: (name == MARKER, name)):
            path = self.path / name
            if files.is_plain(path):
                path.unlink()
            for folder in (self.path / parent for parent in Path(name).parents if parent != Path()):
                with contextlib.suppress(OSError):  # it contains other files, or is already removed
                    folder.rmdir()
        self._written = set()
        write_manifest(self.path, self._written)

    # ------------------------------------------------------------------ each write

    def _before_write(self, path: Path) -> None:
        """Add a file to the manifest before it is written; raise an `OutputError` if it must not be written."""
        try:
            name = path.absolute().relative_to(self.path.absolute()).as_posix()
        except ValueError:
            return
        if self._identify() != self._identity:
            raise OutputError(f"the folder {self.path} was removed or renamed (or its file {LOCK}) during the run, so "
                              "nothing more is written; run the command again, with --resume if the folder still "
                              "exists")
        if name == MANIFEST:
            return
        link = link_above(self.path, name)
        if link is not None or not self._may_replace(name, self._written):
            raise OutputError(f"cannot write {path}: {link or path} was not written by Shiftscope; move it out of the "
                              "folder and continue with --resume")
        if name not in self._written:
            self._written.add(name)
            write_manifest(self.path, self._written)

    def _identify(self) -> tuple[int, ...]:
        """Return device and inode numbers of the folder and its lock; an empty tuple if they do not exist."""
        try:
            found = [self.path.stat()] + ([(self.path / LOCK).stat()] if self._lock is not None else [])
        except OSError:
            return ()
        return tuple(number for status in found for number in (status.st_dev, status.st_ino))


def _is_page(path: Path) -> bool:
    """Return True if a file is a report written by Shiftscope."""
    try:
        with path.open("rb") as stream:
            return _PAGE in stream.read(2000)
    except OSError:
        return False


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # a process of another user
        return True
    return pid > 0
