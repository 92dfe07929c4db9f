"""The few errors that Shiftscope raises on purpose, and the helpers that word them.

Every message is one clear sentence: the name, the value it had, what was expected, and what to do.
"""

import difflib
import re
from collections.abc import Iterable

from shiftscope.text import valid_unicode

LONGEST = 399
"""Characters of a message at most: paths, names and other libraries' errors that it quotes may have any length."""

_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ADVICE = re.compile(r"please\b[^.;]*\b(issue|bug)\b|github\.com|TORCH_LOGS|TORCHDYNAMO_VERBOSE", re.IGNORECASE)
"""What PyTorch adds to its errors for its own developers. A sentence that holds it says nothing about the model."""


class ShiftscopeError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line returns for it.

    The middle of a sentence with more than `LONGEST` characters is left out; lines of code after it are kept.
    """

    exit_code = 1

    def __init__(self, message: str = ""):
        sentence, newline, code = message.partition("\n")
        super().__init__(shortened(sentence, LONGEST) + newline + code)


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


def shortened(text: str, most: int) -> str:
    """Return a text of at most `most` characters; of a longer one the middle is left out.

    >>> shortened("0123456789", 10), shortened("0123456789", 8)
    ('0123456789', '0123…789')
    """
    if len(text) <= most:
        return text
    return f"{text[:most // 2]}…{text[len(text) - (most - 1) // 2:]}"


def quoted(value: object) -> str:
    """Return how a value from a file is quoted in a message: as Python writes it, in at most 40 characters.

    >>> quoted("a" * 100)
    "'aaaaaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaaa'"
    """
    return shortened(repr(value), 40)


def brief(error: BaseException | str, limit: int = 200) -> str:
    """Return the text of another library's error on one line, at most `limit` characters long.

    Color codes and sentences such as "Please file an issue on GitHub" are left out. An error without a text gives the
    name of its class.

    Example:
        >>> brief(RuntimeError("cannot trace `x`.\\n  Please file an issue on GitHub."))
        'cannot trace `x`'
    """
    parts = [" ".join(part.split()) for part in re.split(r"(?<=[.!?])\s+|\n+", _COLORS.sub("", str(error)))]
    kept = " ".join(part for part in parts if not _ADVICE.search(part)) or _ADVICE.split(parts[0])[0]
    kept = kept.strip(" .,;:-")
    name = "" if isinstance(error, str) else type(error).__name__
    return kept[:limit].rstrip() or name


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


def some_of(names: Iterable[object], most: int = 6) -> str:
    """Return the first few names of a list and how many follow, for sentences that must stay short.

    >>> some_of("abcd", 2)
    'a, b and 2 more'
    """
    names = [_short(str(name)) for name in names]
    left = len(names) - most
    return ", ".join(names) if left <= 0 else f"{', '.join(names[:most])} and {left:,} more"


def _short(name: str) -> str:
    name = valid_unicode(name)
    return name if len(name) <= 40 else f"{name[:18]}...{name[-18:]}"


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that nobody knows.

    >>> str(unknown("model", "cnn", ["two-full"]))
    "unknown model 'cnn': Known: two-full"
    """
    return UsageError(f"unknown {kind} {name!r}: {nearest(name, known)}")
