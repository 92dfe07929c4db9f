"""The few errors that Shiftscope raises on purpose, and the helpers that word them.

Every message is one clear sentence: the name, the value it had, what was expected, and what to do.
"""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from shiftscope.text import valid_unicode

LONGEST = 399
"""Characters of a message at most: paths, names and other libraries' errors that it quotes may have any length."""



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


# ---------------------------------------------------------------------- errors of other people's code

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_ENDS = ("The following call raised this error", "User Stack", "Traceback (most recent", "Stack trace")
"""What follows is a traceback."""

_ADVICE = re.compile(
    r"TORCH_?|https?://|for more (information|debugging)|for extended logs|for C\+\+|if you suspect|refer to"
    r"|this is step|next steps|submit a PR|(file|create|open|report) an? (issue|bug)|exception summary"
    r"|consider using|^caused by|the error above|suggested fixes|if you would like|^debug `|modify the model"
    r"|stacktrace", re.IGNORECASE)
"""Advice for those who change PyTorch or call it directly."""


def root_cause(error: BaseException) -> BaseException:
    """Return the error that an error was raised from, in the end."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason_of(error: BaseException, most: int = 160) -> str:
    """Return what an error of other people's code says, in one line: no escape codes, no general advice.

    The first and the last informative line are kept where not all of them fit.

    Args:
        most: characters.

    >>> reason_of(ValueError("\x1b[96mwrong shape\x1b[0m\\n\\nFor more information, see https://x.org"))
    'wrong shape'
    """
    text = _ANSI.sub("", str(error))
    for end in _ENDS:
        text = text.partition(end)[0]
    lines = [" ".join(line.split()) for line in text.splitlines()]
    parts = [part for line in lines for part in re.split(r"(?<=[.!?])\s+", line)]
    kept = [part.lstrip("-# ").rstrip(". ") for part in parts if part.strip("-#^~ ") and not _ADVICE.search(part)]
    found = "; ".join(kept) or next((line for line in lines if line), "no reason given")
    if len(found) > most and len(kept) > 1:
        found = f"{_shortened(kept[0], most // 2)}; {_shortened(kept[-1], most // 2)}"
    return _shortened(found, most)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most - 3].rstrip()}..."


def where_raised(error: BaseException, *, after: str | None = None) -> str:
    """Return function, file and line of the caller's code that raised an error; "" where none of it was on the way.

    That is the innermost frame outside of PyTorch, Shiftscope and the standard library.

    Args:
        after: end of a file's path: only frames after the first one in that file count.
    """
    frames = [(frame, line, frame.f_code.co_filename) for frame, line in traceback.walk_tb(error.__traceback__)]
    if after is not None:
        calls = [i for i, (*_, file) in enumerate(frames) if file.replace(os.sep, "/").endswith(after)]
        frames = frames[calls[0]:] if calls else []
    for frame, line, file in reversed(frames):
        if _is_callers(file):
            return f"in {frame.f_code.co_name} ({_short_path(file)}, line {line})"
    return ""


def _is_callers(file: str) -> bool:
    """Return whether a file holds code of neither PyTorch nor Shiftscope nor the standard library nor none at all."""
    if file.startswith("<") and not file.startswith("<ipython"):
        return False
    return not any(file.startswith(root) and "site-packages" not in file[len(root):] for root in _roots())


def _roots() -> Iterator[str]:
    yield f"{Path(__file__).parent}{os.sep}"
    yield f"{Path(os.__file__).parent}{os.sep}"
    torch = sys.modules.get("torch")
    if torch is not None and torch.__file__ is not None:
        yield f"{Path(torch.__file__).parent}{os.sep}"


def _short_path(file: str) -> str:
    """Return a path relative to the working folder, or its last two parts where it lies elsewhere and is long."""
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file if len(file) <= 60 else str(Path("...", *path.parts[-2:]))
def require(ok: bool, name: str, value: object, expected: str) -> None:
    """Raise a `UsageError` that names the setting, its value and what was expected.

    >>> require(False, "epochs", 0, "a whole number of at least 1")
    Traceback (most recent call last):
    shiftscope.errors.UsageError: epochs must be a whole number of at least 1, got 0
    """
    if not ok:
        raise UsageError(f"{name} must be {expected}, got {value!r}")
