"""Errors that Shiftscope raises on purpose, and helpers for their messages.

A message is one sentence: name, value, expectation, remedy.
"""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from shiftscope.text import valid_unicode

MAX_LENGTH = 399
"""Characters of a message at most; paths, names and quoted errors may have any length."""


class ShiftscopeError(Exception):
    """Base class of all errors raised on purpose; `exit_code` is the exit code of the command line.

    A sentence of more than `MAX_LENGTH` characters is shortened; lines of code after it are kept.
    """

    exit_code = 1

    def __init__(self, message: str = ""):
        sentence, newline, code = message.partition("\n")
        super().__init__(shortened(sentence, MAX_LENGTH) + newline + code)


class UsageError(ShiftscopeError):
    """A name or a value given by the caller is invalid."""

    exit_code = 2


class DataError(ShiftscopeError):
    """A dataset or an image file is missing or invalid."""

    exit_code = 3


class CheckpointError(ShiftscopeError):
    """A checkpoint or a run folder is missing, corrupt, malicious, or from another version."""

    exit_code = 3


class OutputError(ShiftscopeError):
    """A folder cannot be written, or the disk is full."""


class TrainingError(ShiftscopeError):
    """Training cannot continue, for instance because the loss is not finite."""


class GroupError(ShiftscopeError):
    """Processes that share work cannot continue because one of them is gone."""

    exit_code = 5


class ThresholdError(ShiftscopeError):
    """A figure is below the required threshold."""

    exit_code = 4


class Interrupted(ShiftscopeError):
    """Work was stopped by a signal after its state was saved; `exit_code` is 130 or 143."""

    def __init__(self, message: str, exit_code: int = 130):
        super().__init__(message)
        self.exit_code = exit_code


_LOST_PROCESS = ("closed by peer", "reset by peer", "broken pipe", "gloo/transport", "nccl", "remote worker crash")
"""Parts of error messages of `torch.distributed` if another process is gone, in lower case."""


def is_lost_process(error: BaseException) -> bool:
    """Return True if an error of `torch.distributed` says that another process is gone.

    >>> is_lost_process(RuntimeError("Connection closed by peer [127.0.0.1]")), is_lost_process(RuntimeError("shape"))
    (True, False)
    """
    return isinstance(error, RuntimeError) and any(part in str(error).lower() for part in _LOST_PROCESS)


def shortened(text: str, length: int) -> str:
    """Replace the middle of a text by an ellipsis if it has more than `length` characters.

    >>> shortened("0123456789", 10), shortened("0123456789", 8)
    ('0123456789', '0123…789')
    """
    if len(text) <= length:
        return text
    return f"{text[:length // 2]}…{text[len(text) - (length - 1) // 2:]}"


def quoted(value: object) -> str:
    """Return the `repr` of a value from a file, in at most 40 characters.

    >>> quoted("a" * 100)
    "'aaaaaaaaaaaaaaaaaaa…aaaaaaaaaaaaaaaaaa'"
    """
    return shortened(repr(value), 40)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest known name, or "".

    >>> did_you_mean("two-ful", ["two-full", "two-conv"]), did_you_mean("x", ["two-full"])
    ("did you mean 'two-full'? ", '')
    """
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint with the closest known name and with all known names.

    >>> nearest("two-ful", ["two-full", "two-conv"])
    "did you mean 'two-full'? Choose from two-conv, two-full"
    """
    names = sorted(known)
    hint = did_you_mean(name, names)
    return f"{hint}{'Choose' if hint else 'choose'} from {', '.join(names)}"


def some_of(names: Iterable[object], most: int = 6) -> str:
    """Return the first few names of a list and the number of the others.

    >>> some_of("abcd", 2)
    'a, b and 2 more'
    """
    names = [shortened(valid_unicode(str(name)), 40) for name in names]
    left = len(names) - most
    return ", ".join(names) if left <= 0 else f"{', '.join(names[:most])} and {left:,} more"


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name.

    >>> str(unknown("model", "cnn", ["two-full"]))
    "unknown model 'cnn'; choose from two-full"
    """
    hint = nearest(name, known)
    return UsageError(f"unknown {kind} {name!r}{';' if hint.startswith('choose') else ':'} {hint}")


def require(ok: bool, name: str, value: object, expected: str) -> None:
    """Raise a `UsageError` with name, value and expectation unless `ok`.

    >>> require(False, "epochs", 0, "an integer of at least 1")
    Traceback (most recent call last):
    shiftscope.errors.UsageError: epochs must be an integer of at least 1, got 0
    """
    if not ok:
        raise UsageError(f"{name} must be {expected}, got {value!r}")


# ---------------------------------------------------------------------- errors of other libraries and of user code

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_TRACEBACK = ("The following call raised this error", "User Stack", "Traceback (most recent", "Stack trace")
"""Text that precedes a traceback."""

_ADVICE = re.compile(
    r"TORCH_?|https?://|for more (information|debugging)|for extended logs|for C\+\+|if you suspect|refer to"
    r"|this is step|next steps|submit a PR|(file|create|open|report) an? (issue|bug)|exception summary"
    r"|consider using|^caused by|the error above|suggested fixes|if you would like|^debug `|modify the model"
    r"|stacktrace", re.IGNORECASE)
"""General advice for developers of PyTorch or direct users of it."""


def root_cause(error: BaseException) -> BaseException:
    """Follow `__cause__` to the first error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason_of(error: BaseException, length: int = 160) -> str:
    """Return the message of another library's error in one line, without escape codes and general advice.

    If it is longer than `length`, the first and the last informative sentence are kept.

    >>> reason_of(ValueError("\x1b[96mwrong shape\x1b[0m\\n\\nFor more information, see https://x.org"))
    'wrong shape'
    """
    text = _ANSI.sub("", str(error))
    for start in _TRACEBACK:
        text = text.partition(start)[0]
    lines = [" ".join(line.split()) for line in text.splitlines()]
    parts = [part for line in lines for part in re.split(r"(?<=[.!?])\s+", line)]
    kept = [part.lstrip("-# ").rstrip(". ") for part in parts if part.strip("-#^~ ") and not _ADVICE.search(part)]
    reason = "; ".join(kept) or next((line for line in lines if line), "no reason given")
    if len(reason) > length and len(kept) > 1:
        reason = f"{shortened(kept[0], length // 2 - 1)}; {shortened(kept[-1], length // 2 - 1)}"
    return shortened(reason, length)


def where_raised(error: BaseException, *, after: str | None = None) -> str:
    """Return function, file and line of the user's code that raised an error, or "".

    This is the innermost frame outside of PyTorch, Shiftscope and the standard library.

    Args:
        after: end of a file's path; only frames after the first one in that file count.
    """
    frames = [(frame, line, frame.f_code.co_filename) for frame, line in traceback.walk_tb(error.__traceback__)]
    if after is not None:
        calls = [i for i, (*_, file) in enumerate(frames) if file.replace(os.sep, "/").endswith(after)]
        frames = frames[calls[0]:] if calls else []
    for frame, line, file in reversed(frames):
        if _is_user_code(file):
            return f"in {frame.f_code.co_name} ({_short_path(file)}, line {line})"
    return ""


def _is_user_code(file: str) -> bool:
    if file.startswith("<") and not file.startswith("<ipython"):
        return False
    torch = sys.modules.get("torch")
    libraries = [__file__, os.__file__, *([torch.__file__] if torch is not None and torch.__file__ is not None else [])]
    roots = [f"{Path(library).parent}{os.sep}" for library in libraries]
    return not any(file.startswith(root) and "site-packages" not in file[len(root):] for root in roots)


def _short_path(file: str) -> str:
    """Return a path relative to the working folder; outside of it, a long path's last two parts."""
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file if len(file) <= 60 else str(Path("...", *path.parts[-2:]))
