"""The few errors that Shiftscope raises on purpose, and the helpers that word them.

Every message is one clear sentence: the name, the value it had, what was expected, and what to do.
"""

import difflib
from collections.abc import Iterable


class ShiftscopeError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UsageError(ShiftscopeError):
    """A name or a value that the caller chose is not possible."""

    exit_code = 2


class DataError(ShiftscopeError):
    """A dataset or an image file is missing, corrupt or not what it claims to be."""

    exit_code = 3


class CheckpointError(ShiftscopeError):
    """A checkpoint or a run folder is missing, corrupt, from another version, or hostile."""

    exit_code = 3


class OutputError(ShiftscopeError):
    """A folder cannot be written, or the disk is full."""


class TrainingError(ShiftscopeError):
    """Training cannot go on, for instance because the loss is no longer finite."""


class GroupError(ShiftscopeError):
    """Processes that share the work cannot go on together, for one of them is gone."""

    exit_code = 5


class ThresholdError(ShiftscopeError):
    """A figure lies below what the caller demands."""

    exit_code = 4


class Interrupted(ShiftscopeError):
    """Work was stopped by a signal after its state was saved; `exit_code` is 130 or 143."""

    def __init__(self, message: str, exit_code: int = 130):
        super().__init__(message)
        self.exit_code = exit_code


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name, or nothing where none is near.

    >>> did_you_mean("two-ful", ["two-full", "two-conv"]), did_you_mean("x", ["two-full"])
    ("did you mean 'two-full'? ", '')
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the nearest known name, if any, and with all of them.

    >>> nearest("two-ful", ["two-full", "two-conv"])
    "did you mean 'two-full'? Known: two-conv, two-full"
    """
    names = sorted(known)
    return f"{did_you_mean(name, names)}Known: {', '.join(names)}"


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that nobody knows.

    >>> str(unknown("model", "cnn", ["two-full"]))
    "unknown model 'cnn': Known: two-full"
    """
    return UsageError(f"unknown {kind} {name!r}: {nearest(name, known)}")


def require(ok: bool, name: str, value: object, expected: str) -> None:
    """Raise a `UsageError` that names the setting, its value and what was expected.

    >>> require(False, "epochs", 0, "a whole number of at least 1")
    Traceback (most recent call last):
    shiftscope.errors.UsageError: epochs must be a whole number of at least 1, got 0
    """
    if not ok:
        raise UsageError(f"{name} must be {expected}, got {value!r}")
