"""The error message and the exit code of a command that fails."""

import os
import sys
import traceback

from shiftscope.cli.sources import DEBUG_VARIABLE
from shiftscope.cli.streams import discard_results
from shiftscope.errors import Interrupted, OutputError, ShiftscopeError, UsageError
from shiftscope.text import printable


def explain(error: BaseException) -> int:
    """Print the error in one line on standard error and return the exit code."""
    code = _explain(error)
    try:
        sys.stdout.flush()
    except (OSError, OutputError):
        discard_results()  # otherwise the interpreter's last flush prints an error
    return code


def _explain(error: BaseException) -> int:
    from cyclopts import CycloptsError

    if isinstance(error, BrokenPipeError):  # the reader closed the pipe, as `| head` does
        return 1
    if isinstance(error, KeyboardInterrupt):
        return _print("interrupted", 130)
    if isinstance(error, Interrupted):
        return _print(str(error), error.exit_code)
    if isinstance(error, ShiftscopeError):
        return _print(f"error: {error}", error.exit_code)
    if isinstance(error, CycloptsError):
        return _print(f"error: {_parse_error(error)}", UsageError.exit_code)
    return _unexpected(error)


def _print(line: str, code: int) -> int:
    sys.stderr.write(printable(line) + "\n")
    return code


def _parse_error(error: Exception) -> str:
    """Return the message of cyclopts on one line, with the command for the help page."""
    from cyclopts import CycloptsError, UnusedCliTokensError

    message = " ".join(str(error).split())
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        message = f"unexpected argument {error.unused_tokens[0]!r}."
    words = error.command_chain if isinstance(error, CycloptsError) and error.command_chain else ()
    return f"{message} (see: {' '.join(['shiftscope', *words, '--help'])})"


def _unexpected(error: BaseException) -> int:
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error, file=sys.stderr)
        return 1
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return _print(f"error: {where}{error.strerror}", 1)
    text = " ".join(str(error).split())
    return _print(f"error: unexpected {type(error).__name__}: {text} ({DEBUG_VARIABLE}=1 shows the traceback)", 1)
