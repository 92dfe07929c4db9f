"""The right of one process to write into a run folder, and what it may write, replace and remove there."""

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
from shiftscope.runs.lock import LOCK, lock_folder
from shiftscope.runs.manifest import MANIFEST, link_above, read_manifest, write_manifest
from shiftscope.runs.release_0_1 import run_files

MARKER = "env.json"
REPORT = "report.html"

_LARGEST_MARKER = 16 * 2**20

_PAGE = b'<meta name="generator" content="Shiftscope">'
"""What a report holds among its first bytes."""


class Claim:
    """Makes sure that a run folder is written by one process, which touches no files but those that Shiftscope wrote.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock: FileLock | None = None
        self._written: set[str] = set()
        self._identity: tuple[int, ...] | None = None
        """Of the folder and its lock, while it is claimed."""

    def check(self, *, resume: bool = False, overwrite: bool = False) -> None:
        """Say why the folder cannot be used for a run, if so; nothing is written.

        Raises:
            UsageError: it holds a run or other files, and neither `resume` nor `overwrite` was given; files that
                Shiftscope did not write have the names of those of a run; symbolic links lead out of it.
            OutputError: it cannot be read.
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
            raise UsageError(f"--out {self.path} already holds a run: say --resume to go on with it, --overwrite to "
                             "replace it, or choose another folder")
        link = next((link for name in sorted(owned) if (link := link_above(self.path, name))), None)
        if link is not None:
            raise UsageError(f"{link} is a symbolic link, which is not followed: replace it by the folder itself, or "
                             "choose another folder with --out")
        self._check_strangers(owned)

    def _owned(self) -> set[str] | None:
        """Return the files that Shiftscope wrote, by their paths in the folder; None where the folder is no run's."""
        manifest = read_manifest(self.path)
        if manifest is not None:
            return set(manifest.files)
        environment = self._environment()
        if os.path.lexists(self.path / MANIFEST) or not {"schema_version", "command", "settings"} <= environment.keys():
            return None
        return {name for name in run_files(self.path, environment) if files.is_plain(self.path / name)}

    def _environment(self) -> dict[str, Any]:
        """Return what `env.json` holds; nothing where it is missing or damaged."""
        path = self.path / MARKER
        try:
            plain = files.is_plain(path, most_bytes=_LARGEST_MARKER)
            found = json.loads(path.read_text(encoding="utf-8")) if plain else None
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def _check_new(self) -> None:
        """Raise a `UsageError` unless all that is here was left by a process that was killed as it began a run."""
        manifest = self.path / MANIFEST
        if os.path.lexists(manifest) and (self.path / MARKER).is_file():
            raise UsageError(f"{manifest} is damaged, or another release or program wrote it, so the files of the run "
                             "are not known: choose another folder with --out")
        ours = {LOCK} | {path.name for name in (MANIFEST, MARKER) for path in files.partial_files(self.path / name)}
        if any(entry.name not in ours for entry in self.path.iterdir()):
            raise UsageError(f"--out {self.path} is not empty and holds no run; choose a new or an empty folder")

    def _check_strangers(self, owned: set[str]) -> None:
        """Raise a `UsageError` where another's file has the name of one that the run writes."""
        known = run_files(self.path, self._environment())
        strange = sorted(name for name in known if not self._may_replace(name, owned))
        if strange:
            raise UsageError(f"{self.path / strange[0]} has the name of a file of the run but was not written by it: "
                             "move it out of the folder, or choose another folder with --out")

    def _may_replace(self, name: str, owned: set[str]) -> bool:
        path = self.path / name
        if not os.path.lexists(path):
            return True
        return files.is_plain(path) and (name in owned or (name == REPORT and _is_page(path)))

    def begin(self, *, resume: bool = False, overwrite: bool = False, check: Callable[[], None] | None = None,
              note: Callable[[str], None] | None = None) -> None:
        """Make the folder ready for a run and keep other processes out of it, until `release`, or say why not.

        Until then every file that this process writes below the folder is listed in its manifest, and a write fails
        where it would replace a file that Shiftscope did not write, or where the folder was removed or renamed.

        Args:
            resume: go on with the run that is there.
            overwrite: remove the files of the run that is there.
            check: called before and after the folder is locked; raises where the run must not go on.
            note: called with a warning where the file system has no locks.

        Raises:
            UsageError: see `check`; another process writes into it.
            OutputError: it cannot be written.
        """
        def look() -> None:
            self.check(resume=resume, overwrite=overwrite)
            if check is not None:
                check()

        look()
        if self._identity is None:
            self._enter(note or (lambda _: None))
        try:
            look()  # nobody else writes here any more
            self._take_over(overwrite)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let other processes write into the folder."""
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
            raise UsageError(f"--out {self.path} is in use by {self._user()}: wait until it ends, stop it, or choose "
                             "another folder") from error
        except OSError as error:
            raise OutputError(f"cannot write into {self.path}: {error.strerror}; choose another folder with "
                              "--out") from error
        self._identity = self._identify()
        files.add_guard(self._before_write)

    def _user(self) -> str:
        """Return the process that holds the lock, in words."""
        for _ in range(20):  # it writes its number right after it has locked the folder
            manifest = read_manifest(self.path)
            if manifest is not None and (manifest.host != socket.gethostname() or _lives(manifest.pid)):
                here = manifest.host == socket.gethostname()
                return f"process {manifest.pid}{'' if here else f' on {manifest.host}'}"
            time.sleep(0.05)
        return "another process"

    def _take_over(self, overwrite: bool) -> None:
        """Write the manifest, and remove what a killed process left half-written, and what is to be replaced."""
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
        """Remove what a run wrote, and nothing else; `env.json` last, so that a kill leaves a run to be replaced."""
        for name in sorted(self._written, key=lambda name: (name == MARKER, name)):
            path = self.path / name
            if files.is_plain(path):
                path.unlink()
            for folder in (self.path / parent for parent in Path(name).parents if parent != Path()):
                with contextlib.suppress(OSError):  # other files are in it, or it is gone
                    folder.rmdir()
        self._written = set()
        write_manifest(self.path, self._written)

    # ------------------------------------------------------------------ each write

    def _before_write(self, path: Path) -> None:
        """List a file in the manifest before it is written; raise an `OutputError` where it must not be."""
        try:
            name = path.absolute().relative_to(self.path.absolute()).as_posix()
        except ValueError:
            return
        if self._identify() != self._identity:
            raise OutputError(f"the folder {self.path} was removed or renamed (or its file {LOCK} was) during the run: "
                              "nothing more is written; run the command again, with --resume if the folder still "
                              "exists")
        if name == MANIFEST:
            return
        link = link_above(self.path, name)
        if link is not None or not self._may_replace(name, self._written):
            raise OutputError(f"cannot write {path}: {link or path} was not put there by Shiftscope; move it out of "
                              "the folder, and go on with --resume")
        if name not in self._written:
            self._written.add(name)
            write_manifest(self.path, self._written)

    def _identify(self) -> tuple[int, ...]:
        """Return what tells this folder and its lock from any others; nothing where they are gone."""
        try:
            found = [self.path.stat()] + ([(self.path / LOCK).stat()] if self._lock is not None else [])
        except OSError:
            return ()
        return tuple(number for status in found for number in (status.st_dev, status.st_ino))


def _is_page(path: Path) -> bool:
    """Whether a file is a report that Shiftscope wrote."""
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
    except OSError:  # it is another user's
        return True
    return pid > 0
