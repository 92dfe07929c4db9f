"""Fetches one file from the first of several addresses that delivers it whole."""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from shiftscope import files
from shiftscope.errors import DataError
from shiftscope.files import UnfitFileError
from shiftscope.progress import Progress, Task

TIMEOUT = 20.0
"""Seconds of silence after which an address is given up."""


MOST_BYTES = 2**30
"""Size limit of a download."""


class _Bounded(io.BytesIO):
    """A buffer that takes up to `MOST_BYTES`: an address that never ends is given up."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MOST_BYTES:
            raise UnfitFileError(f"more than {MOST_BYTES:,} bytes")
        return super().write(data)


class _Meter:
    """What pooch takes for a progress bar, as a task of ours; the size is known once the answer has begun."""

    def __init__(self, progress: Progress, title: str):
        self.progress, self.title, self.total = progress, title, 0
        self.done = 0
        self.task: Task | None = None

    def update(self, count: int) -> None:
        if self.task is None:
            self.task = self.progress.task(self.title, self.total, unit="bytes")
        step = max(min(count, self.total - self.done), 0)
        self.done += step
        self.task.advance(step)

    def reset(self) -> None:
        """Do nothing: pooch resets and fills a bar at the end; ours counted every byte."""

    def close(self) -> None:
        if self.task is not None:
            self.task.close()
            self.task = None


def download(addresses: Sequence[str], path: Path, sha256: str, progress: Progress, *, remedy: str) -> None:
    """Write the file to `path`, whole and checked, or leave `path` as it was.

    Args:
        addresses: tried in this order.
        path: where the file goes; its folder is made where it is missing.
        sha256: what the file's SHA-256 must be.
        progress: shows bytes, and says where an address fails.
        remedy: what the error tells the user to do.

    Raises:
        DataError: every address failed, or delivered another file.
        OutputError: the folder cannot be written.
    """
    failures = []
    for address in addresses:
        try:
            content = _fetch(address, progress, path.name)
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            failures.append(f"{urlsplit(address).hostname}: {_reason(error)}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == sha256:
            files.write_bytes(path, content)
            return
        failures.append(f"{urlsplit(address).hostname}: delivered {len(content):,} bytes with another SHA-256")
    raise DataError(f"cannot fetch {path.name} ({'; '.join(failures)}); {remedy}")


def _fetch(address: str, progress: Progress, name: str) -> bytes:
    import pooch  # here, because it imports tqdm, which warns in notebooks without ipywidgets

    meter, buffer = _Meter(progress, f"fetching {name}"), _Bounded()
    bar: Any = meter  # pooch takes any object with these methods, its annotation says bool
    try:
        pooch.HTTPDownloader(progressbar=bar, chunk_size=2**16, timeout=TIMEOUT)(address, buffer, None)
    finally:
        meter.close()
    return buffer.getvalue()


def _reason(error: Exception) -> str:
    """Return a few words: the full text of a connection error is a page of nested objects."""
    if isinstance(error, UnfitFileError):
        return str(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    return f"HTTP status {status}" if status is not None else type(error).__name__
