"""Folders of dataset files, and downloads that are verified by their SHA-256."""

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from shiftscope.errors import DataError
from shiftscope.files import UnfitFileError
from shiftscope.progress import Progress, Task

DATA_DIR_VARIABLE = "SHIFTSCOPE_DATA_DIR"
"""Environment variable with the folder of the dataset files."""

MAX_BYTES = 2**30
"""Size limit of a download."""

TIMEOUT = 20.0
"""Seconds without data after which an address is given up."""


def cache_folder() -> Path:
    """Return the user's cache folder for Shiftscope, which may not exist."""
    return platformdirs.user_cache_path("shiftscope", appauthor=False)


def search_folders(data_dir: Path | str | None, name: str) -> list[Path]:
    """Return the folders that are searched for the files of dataset `name`, in this order.

    In a named folder that holds a folder `name`, only the latter is searched: several datasets have equal file names.

    >>> search_folders("images", "fashion-mnist")[0].name
    'images'
    """
    named = [data_dir, os.environ.get(DATA_DIR_VARIABLE)]
    folders = [Path(folder).expanduser() for folder in named if folder]
    own = [folder / name if (folder / name).is_dir() else folder for folder in folders]
    return [*own, cache_folder() / name]


class _ProgressBar:
    """Progress bar for pooch. It also enforces `MAX_BYTES`; the size is known when the response has begun."""

    def __init__(self, progress: Progress, title: str):
        self.progress, self.title = progress, title
        self.total = self.received = self.shown = 0
        self.task: Task | None = None

    def update(self, count: int) -> None:
        self.task = self.task or self.progress.task(self.title, self.total, unit="bytes")
        self.received += count
        if max(self.received, self.total) > MAX_BYTES:
            raise UnfitFileError(f"more than {MAX_BYTES:,} bytes")
        step = max(min(self.received, self.total) - self.shown, 0)
        self.shown += step
        self.task.advance(step)

    def reset(self) -> None:
        self.received = 0

    def close(self) -> None:
        if self.task is not None:
            self.task.close()
            self.task = None


def download(addresses: Sequence[str], path: Path, sha256: str, progress: Progress, *, remedy: str) -> None:
    """Download a file to `path`; a failed download leaves nothing there.

    Args:
        addresses: tried in this order.
        path: the file; its folder is created if necessary.
        sha256: expected SHA-256 of the file.
        progress: shows the number of bytes.
        remedy: end of the error message.

    Raises:
        DataError: if every address failed or delivered another file.
    """
    failures = []
    for address in addresses:
        try:
            _fetch(address, path, sha256, progress)
        except (OSError, ValueError) as error:  # the errors of requests are OSErrors; ValueError: another SHA-256
            failures.append(f"{urlsplit(address).hostname}: {_reason(error)}")
        else:
            return
    raise DataError(f"cannot fetch {path.name} ({'; '.join(failures)}); {remedy}")


def _fetch(address: str, path: Path, sha256: str, progress: Progress) -> None:
    import pooch  # here because it imports tqdm, which warns in notebooks without ipywidgets

    with closing(_ProgressBar(progress, f"fetching {path.name}")) as bar, _quiet(pooch.get_logger()):
        shown: Any = bar  # the annotations of pooch are too narrow here
        downloader: Any = pooch.HTTPDownloader(progressbar=shown, chunk_size=2**16, timeout=TIMEOUT)
        pooch.retrieve(address, known_hash=f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=downloader)
    path.chmod(0o644)  # pooch creates files that only their owner can read


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """Return a short reason: the full text of a connection error is a page of nested objects."""
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "delivered a file with another SHA-256"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is not None:
        return f"HTTP status {status}"
    return str(error) if isinstance(error, UnfitFileError | PermissionError) else type(error).__name__
