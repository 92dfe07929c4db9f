"""`manifest.json`: the files in a run folder that Shiftscope wrote. No other file there is replaced or removed."""

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from shiftscope import files

MANIFEST = "manifest.json"

_MOST_BYTES = 16 * 2**20
"""No manifest is larger: a run with 1,000 models lists some 50,000 files in 3 MB."""


class Manifest(msgspec.Struct, kw_only=True):
    """What `manifest.json` holds."""

    schema_version: Literal[1] = 1
    kind: Literal["shiftscope-manifest"] = "shiftscope-manifest"
    pid: int
    """Number of the process that wrote into the folder last."""
    host: str
    """Name of its machine."""
    files: list[str]
    """Paths relative to the folder, parts separated by "/"."""


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, without names that lead out of it; None where it is missing or not valid."""
    path = folder / MANIFEST
    try:
        if not files.is_plain(path, most_bytes=_MOST_BYTES):
            return None
        found = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return msgspec.structs.replace(found, files=[name for name in found.files if stays_inside(name)])


def write_manifest(folder: Path, names: Iterable[str]) -> None:
    """Write the manifest of a folder in which this process writes."""
    made = Manifest(pid=os.getpid(), host=socket.gethostname(), files=sorted(names))
    files.write_json(folder / MANIFEST, msgspec.to_builtins(made))


def stays_inside(name: str) -> bool:
    """Return whether a name from a manifest is a plain relative path.

    >>> stays_inside("figures/curves.png"), stays_inside("../thesis.tex"), stays_inside("/etc/passwd")
    (True, False, False)
    """
    return all(part not in ("", ".", "..") and not set(part) & set('\\:\0') for part in name.split("/"))


def link_above(folder: Path, name: str) -> Path | None:
    """Return the first symbolic link among the folders between `folder` and the file `name` in it."""
    path = folder
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink():
            return path
    return None
