"""Names of the form package.module:object, given by the caller and never read from a file."""

import importlib
import sys
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
    """Import package.module:object, looking in the current folder first.

    Raises:
        UsageError: the form is wrong, the module does not import, or it has no such object.

    Example:
        >>> resolve_object("math:pi") > 3
        True
    """
    if not is_object_name(name):
        raise UsageError(f"{name!r} must have the form package.module:object, for instance my_models:Net")
    module_name, _, attribute = name.partition(":")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        found: object = importlib.import_module(module_name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except ImportError as error:
        raise UsageError(f"cannot import {module_name!r} for {name!r}: {error}; looked in the current folder "
                         f"{folder} first") from error
    except AttributeError as error:
        raise UsageError(f"{name!r} names an object that is not there: {error}") from error
    finally:
        sys.path.remove(folder)
    return found
