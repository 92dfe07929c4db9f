"""Import objects named package.module:object. Such names come from the caller, never from a file."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from shiftscope.errors import UsageError

HUBS = ("torchvision", "timm", "hf")
"""Prefixes of models by name, see `shiftscope.models.hubs`; objects of these packages are in submodules."""


def is_object_name(name: str) -> bool:
    """Return True if `name` has the form package.module:object.

    >>> is_object_name("my_models:Net"), is_object_name("two-full"), is_object_name("folder:pictures")
    (True, False, False)
    >>> is_object_name("timm:resnet18"), is_object_name("timm.models:resnet18")
    (False, True)
    """
    module, colon, attribute = name.partition(":")
    if not colon or module in ("folder", "npz", "packed", *HUBS):
        return False
    return all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def resolve_object(name: str) -> object:
    """Import package.module:object, from installed packages or else from the current folder.

    The current folder is searched last, so that files like `random.py` in it do not replace other modules.

    Raises:
        UsageError: if the form is wrong, the import fails, or the module has no such object.

    Example:
        >>> resolve_object("math:pi") > 3
        True
    """
    if not is_object_name(name):
        raise UsageError(f"{name!r} must have the form package.module:object, for instance my_models:Net")
    module_name, _, attribute = name.partition(":")
    with _current_folder_last() as folder:
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise UsageError(f"cannot import {module_name!r} for {name!r}: {error}; searched the installed "
                             f"packages and the current folder {folder}") from error
        found: object = module
        try:
            for part in attribute.split("."):
                found = getattr(found, part)
        except AttributeError as error:
            where = getattr(module, "__file__", None) or "built into Python"
            raise UsageError(f"{name!r} does not exist: {error} ({where})") from error
    return found


@contextlib.contextmanager
def _current_folder_last() -> Iterator[str]:
    """Append the current folder to the import path within the block."""
    folder = str(Path.cwd())
    added = folder not in sys.path and "" not in sys.path
    if added:
        sys.path.append(folder)
    try:
        yield folder
    finally:
        if added and folder in sys.path:
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Remove the current folder from the import path of Python processes that are started within the block."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
