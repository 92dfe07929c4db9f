"""Where dataset files lie: a folder the caller names, the one of SHIFTSCOPE_DATA_DIR, the user's cache folder."""

import os
from pathlib import Path

import platformdirs

DATA_DIR_VARIABLE = "SHIFTSCOPE_DATA_DIR"
"""Environment variable that names the folder of the dataset files."""


def cache_folder() -> Path:
    """Return the user's cache folder for Shiftscope; it need not exist."""
    return platformdirs.user_cache_path("shiftscope", appauthor=False)


def search_folders(data_dir: Path | str | None, name: str) -> list[Path]:
    """Return the folders in which the files of dataset `name` are looked for, first come first used.

    >>> search_folders("pictures", "fashion-mnist")[0].name
    'pictures'
    """
    named = [data_dir, os.environ.get(DATA_DIR_VARIABLE)]
    return [Path(folder).expanduser() for folder in named if folder] + [cache_folder() / name]
