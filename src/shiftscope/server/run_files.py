"""Read access of the live page to one run folder: regular files inside it only."""

import os
import re
import stat
from pathlib import Path
from typing import Any

from shiftscope.errors import CheckpointError, UsageError, did_you_mean
from shiftscope.files import UnfitFileError
from shiftscope.migration import migrate
from shiftscope.reading import decode
from shiftscope.results import SCHEMA_VERSION
from shiftscope.runs import RunFolder

FIGURE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.(png|svg)")
"""Allowed names of figures, as made by `runs.slug`."""

MAX_BYTES = 64 * 2**20
"""Largest file that is read. A report has about 3 MB, a log of ten thousand epochs about 2 MB."""

_WRITTEN = ("*", "figures/*", "results/*/*/*", "checkpoints/*/*")
_MAX_ENTRIES = 5000  # in case the folder contains other files


class RunFiles:
    """Reads files of one run folder; missing files, large files and links that leave the folder are ignored.

    Args:
        path: the run folder. The run may begin later, and the folder may disappear and come back.

    Attributes:
        begun: True once the folder has contained a run.

    Raises:
        CheckpointError: if the path is a file, or a folder with files of others, in which no run can begin.

    Example:
        >>> RunFiles("nowhere").begun
        False
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise CheckpointError(f"{path} is a file, not a run: pass the folder that the run writes to (--out)")
        self.begun = RunFolder(self.path).holds_run
        if not self.begun:
            self._require_usable()
        self.locate()

    def _require_usable(self) -> None:
        try:
            RunFolder(self.path).check()
        except UsageError as error:
            raise CheckpointError(f"{self.path} is not a run because it has no env.json, and it contains other files: "
                                  "pass the folder that `shiftscope run` or `shiftscope train` writes to (--out)"
                                  ) from error

    def locate(self) -> None:
        """Resolve the path again: before the run begins, it may become a link to another folder."""
        self.root = self.path.resolve()
        self.name = self.root.name

    def waiting_note(self) -> str | None:
        """Return a sentence that the run has not begun, with a similar name if there is one; None if it has."""
        if self.begun:
            return None
        parent = self.path.parent
        siblings = [entry.name for entry in parent.iterdir()] if parent.is_dir() and not self.path.exists() else []
        hint = did_you_mean(self.path.name, siblings)
        return f"there is no run at {self.path} yet, so the page waits for it to begin; {hint}Ctrl-C ends the wait"

    def find(self, *parts: str) -> Path | None:
        """Return the resolved path of a regular file inside the folder, else None."""
        try:
            path = self.root.joinpath(*parts).resolve(strict=True)
            return path if path.is_relative_to(self.root) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # a name with a NUL, a loop of links
            return None

    def read(self, *parts: str) -> bytes | None:
        """Return the content of a file."""
        path = self.find(*parts)
        if path is None:
            return None
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
                             | getattr(os, "O_BINARY", 0))
            with os.fdopen(handle, "rb") as stream:
                status = os.fstat(handle)
                return stream.read() if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES else None
        except OSError:
            return None

    def text(self, *parts: str) -> str | None:
        """Return the content of a text file; invalid UTF-8 is replaced."""
        content = self.read(*parts)
        return None if content is None else content.decode("utf-8", errors="replace")

    def document(self, *parts: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return the content of a JSON file, and a message if it cannot be used; both are None if it is missing."""
        text, name = self.text(*parts), "/".join(parts)
        if text is None:
            return None, None
        try:
            values = decode(text)
        except UnfitFileError:
            values = None
        if not isinstance(values, dict):
            return None, f"{name} is ignored because it is not a JSON object."
        values = migrate(values)
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            shown = str(version) if len(str(version)) <= 20 else str(version)[:20] + "…"
            return None, (f"{name} has schema version {shown}, this release reads version {SCHEMA_VERSION}; "
                          "it is ignored. Use the release that wrote it.")
        return values, None

    def time(self, *parts: str) -> float | None:
        """Return the modification time of a file in seconds since 1970."""
        path = self.find(*parts)
        try:
            return path.stat().st_mtime if path is not None else None
        except OSError:
            return None

    def figures(self) -> dict[str, float]:
        """Return names and modification times of the figures, the oldest first; an SVG only if there is no PNG."""
        try:
            names = [entry.name for entry in os.scandir(self.root / "figures")
                     if FIGURE_NAME.fullmatch(entry.name)][:_MAX_ENTRIES]
        except OSError:
            return {}
        pngs = {name for name in names if name.endswith(".png")}
        shown = pngs | {name for name in names if f"{name[:-4]}.png" not in pngs}
        times = {name: time for name in shown if (time := self.time("figures", name)) is not None}
        return dict(sorted(times.items(), key=lambda item: (item[1], item[0])))

    def traces(self) -> tuple[tuple[str, int, int], ...]:
        """Return (path, size, time in nanoseconds) of all files of the run: changes with every write."""
        traces: list[tuple[str, int, int]] = []
        for path in (path for pattern in _WRITTEN for path in self.root.glob(pattern)):
            try:
                status = path.lstat()
            except OSError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                traces.append((str(path.relative_to(self.root)), status.st_size, status.st_mtime_ns))
            if len(traces) >= _MAX_ENTRIES:
                break
        return tuple(sorted(traces))
