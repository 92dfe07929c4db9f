"""The files of a run folder that the live page may read: plain files that truly lie in it."""

import os
import re
import stat
from pathlib import Path
from typing import Any

from shiftscope.errors import CheckpointError, did_you_mean
from shiftscope.files import UnfitFileError
from shiftscope.migration import migrate
from shiftscope.reading import decode
from shiftscope.results import SCHEMA_VERSION
from shiftscope.runs import RunFolder

PICTURE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}\.(png|svg)")
"""What a figure may be called: `runs.slug` makes such names."""

MOST_BYTES = 64 * 2**20
"""The largest file that is read: a report has three megabytes, a log of ten thousand epochs two."""

_WRITTEN = ("*", "figures/*", "results/*/*/*", "checkpoints/*/*")
_FEW = 5000  # entries that are looked at, in a folder that someone filled with other things


class RunFiles:
    """Reads from one run folder and nowhere else; whatever is missing, too large or a link that leaves it is not there.

    Args:
        path: the run folder. It may vanish and come back meanwhile.

    Raises:
        CheckpointError: there is no run.

    Example:
        >>> RunFiles("nowhere")
        Traceback (most recent call last):
        shiftscope.errors.CheckpointError: there is no run at nowhere: give the folder that the run writes into (--out)
    """

    def __init__(self, path: Path | str):
        path = Path(path)
        if not path.exists():
            siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            hint = did_you_mean(path.name, siblings) or "give the folder that the run writes into (--out)"
            raise CheckpointError(f"there is no run at {path}: {hint.strip()}")
        if not path.is_dir():
            raise CheckpointError(f"{path} is a file, not a run: give the folder that the run writes into (--out)")
        if not RunFolder(path).holds_run:
            raise CheckpointError(f"{path} holds no run, for it has no env.json: give the folder that "
                                  "`shiftscope run` or `shiftscope train` writes into (--out)")
        self.root = path.resolve()
        self.name = self.root.name

    def find(self, *parts: str) -> Path | None:
        """Return the path of a plain file, with all links followed; None where it is none or lies elsewhere."""
        try:
            path = self.root.joinpath(*parts).resolve(strict=True)
            return path if path.is_relative_to(self.root) and path.is_file() else None
        except (OSError, ValueError, RuntimeError):  # a name with a NUL, a loop of links
            return None

    def read(self, *parts: str) -> bytes | None:
        """Return what a file holds."""
        path = self.find(*parts)
        if path is None:
            return None
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
                             | getattr(os, "O_BINARY", 0))
            with os.fdopen(handle, "rb") as stream:
                status = os.fstat(handle)
                return stream.read() if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_BYTES else None
        except OSError:
            return None

    def text(self, *parts: str) -> str | None:
        """Return what a text file holds; bytes that are no UTF-8 are marked."""
        found = self.read(*parts)
        return None if found is None else found.decode("utf-8", errors="replace")

    def document(self, *parts: str) -> tuple[dict[str, Any] | None, str | None]:
        """Return what a JSON file holds, and the sentence on why it cannot be used; both None where there is none."""
        text, name = self.text(*parts), "/".join(parts)
        if text is None:
            return None, None
        try:
            values = decode(text)
        except UnfitFileError:
            values = None
        if not isinstance(values, dict):
            return None, f"{name} cannot be read, for it holds no JSON object; it is left out."
        values = migrate(values)
        version = values.get("schema_version")
        if version != SCHEMA_VERSION:
            return None, (f"{name} has schema version {_short(version)}, this release reads version {SCHEMA_VERSION}; "
                          "it is left out. Use the release that wrote it.")
        return values, None

    def time(self, *parts: str) -> float | None:
        """Return when a file was last written, in seconds since 1970."""
        path = self.find(*parts)
        try:
            return path.stat().st_mtime if path is not None else None
        except OSError:
            return None

    def figures(self) -> dict[str, float]:
        """Return the names of the figures, in the order in which they were drawn, with the time of each."""
        try:
            names = [entry.name for entry in os.scandir(self.root / "figures") if PICTURE.fullmatch(entry.name)][:_FEW]
        except OSError:
            return {}
        pngs = {name for name in names if name.endswith(".png")}
        shown = pngs | {name for name in names if f"{name[:-4]}.png" not in pngs}  # the SVG only where there is no PNG
        times = {name: time for name in shown if (time := self.time("figures", name)) is not None}
        return dict(sorted(times.items(), key=lambda item: (item[1], item[0])))

    def traces(self) -> tuple[tuple[str, int, int], ...]:
        """Return (path, size, time in nanoseconds) of all that a run writes: it changes whenever the run goes on."""
        found = []
        for pattern in _WRITTEN:
            for path in self.root.glob(pattern):
                try:
                    status = path.lstat()
                except OSError:
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    found.append((str(path.relative_to(self.root)), status.st_size, status.st_mtime_ns))
                if len(found) >= _FEW:
                    return tuple(sorted(found))
        return tuple(sorted(found))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 20 else text[:20] + "…"
