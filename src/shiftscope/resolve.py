"""Names of the form package.module:object, given by the caller and never read from a file."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from shiftscope.errors import UsageError


def is_object_name(name: str) -> bool:
    """Return whether `name` has the form package.module:object.

    >>> is_object_name("my_models:Net"), is_object_name("two-full"), is_object_name("folder:pictures")
    (True, False, False)
    """
    module, colon, attribute = name.partition(":")
    if not colon or module in ("folder", "npz", "packed"):
        return False
    return all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


def resolve_object(name: str) -> object:
    """Import package.module:object: a module of Python or of an installed package, else of the current folder.

    The current folder comes last, so that a file like `random.py` or `torch.py` in it replaces no other module.

    Raises:
        UsageError: the form is wrong, the module does not import, or it has no such object.

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
            raise UsageError(f"cannot import {module_name!r} for {name!r}: {error}; looked among the installed "
                             f"packages and in the current folder {folder}") from error
        found: object = module
        try:
            for part in attribute.split("."):
                found = getattr(found, part)
        except AttributeError as error:
            where = getattr(module, "__file__", None) or "a part of Python"
            raise UsageError(f"{name!r} names an object that is not there: {error} ({where})") from error
    return found


@contextlib.contextmanager
def _current_folder_last() -> Iterator[str]:
    """Let imports look into the current folder, after all other places."""
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
    """Let Python processes that are started meanwhile look for modules in no current folder: by itself, Python looks
    there first."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
