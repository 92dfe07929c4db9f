"""`manifest.json`: the files in a run folder that Shiftscope wrote. Only these are ever replaced or removed."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from shiftscope import files

MANIFEST = "manifest.json"

_MOST_BYTES = 16 * 2**20
"""Size limit. A run with 1,000 models lists about 50,000 files in 3 MB."""


class Manifest(msgspec.Struct, kw_only=True):
    """Content of `manifest.json`."""

    schema_version: Literal[1] = 1
    kind: Literal["shiftscope-manifest"] = "shiftscope-manifest"
    pid: int
    """Number of the last process that wrote into the folder."""
    host: str
    """Name of the machine of that process."""
    files: list[str]
    """Paths relative to the folder, separated by "/"."""


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, without paths outside the folder; None if it is missing or invalid."""
    path = folder / MANIFEST
    try:
        if not files.is_plain(path, most_bytes=_MOST_BYTES):
            return None
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return msgspec.structs.replace(found, files=[name for name in found.files if stays_inside(name)])


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write the manifest of a folder."""
    made = Manifest(pid=os.getpid(), host=socket.gethostname(), files=sorted(names))
    files.write_json(folder / MANIFEST, msgspec.to_builtins(made))


def stays_inside(name: str) -> bool:
    """Return True if a name from a manifest is a relative path inside the folder.

    >>> stays_inside("figures/curves.png"), stays_inside("../thesis.tex"), stays_inside("/etc/passwd")
    (True, False, False)
    """
    return all(part not in ("", ".", "..") and not set(part) & set('\\:\0') for part in name.split("/"))


def link_above(folder: Path, name: str) -> Path | None:
    """Return the first symbolic link among the parent folders of the file `name` below `folder`, or None."""
    path = folder
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink():
            return path
    return None
