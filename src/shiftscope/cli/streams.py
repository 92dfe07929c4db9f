"""Standard input, output and error as a command needs them: also where they are closed, full, or lack a letter."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from shiftscope.errors import OutputError

ANY_LETTER = "shiftscope-any-letter"
"""Name of the way to encode what an encoding lacks: bytes of file names as they are, other letters as escapes."""


def _encode_any(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start:error.end]
    parts = (bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff"
             else letter.encode("ascii", "backslashreplace") for letter in found)
    return b"".join(parts), error.end


codecs.register_error(ANY_LETTER, _encode_any)


class _Raw(io.RawIOBase):
    """Writes to the raw stream `raw`."""

    def __init__(self, raw: Any):
        self.raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.raw.fileno()

    def isatty(self) -> bool:
        return self.raw.isatty()


class _Results(_Raw):
    """Standard output: says so where it cannot be written."""

    def write(self, data: Any) -> int | None:
        try:
            return self.raw.write(data)
        except BrokenPipeError:  # the reader has seen enough
            raise
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror}; send it to another file or program"
                              ) from error


class _Messages(_Raw):
    """Standard error: what cannot be written is lost, for no message is worth the work that it is about."""

    def write(self, data: Any) -> int | None:
        with contextlib.suppress(OSError):
            return self.raw.write(data)
        return len(data)


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Make the process's own standard streams usable meanwhile; ones that the caller has replaced stay as they are.

    A stream that is closed is opened on the null device, so that no file that is opened later gets its number and,
    with it, what a library prints.
    """
    _open_missing()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, before[1], _Results, ANY_LETTER)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, before[2], _Messages, "backslashreplace")
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


def _open_missing() -> None:
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):  # so writing to 1 fails, to 2 does not
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)


def _stream(number: int, before: Any, kind: type[_Raw], errors: str) -> io.TextIOWrapper:
    """Return a text stream like `before`, which it writes to by way of `kind`."""
    if before is None:
        raw, encoding = io.FileIO(number, "w", closefd=False), "utf-8"
    else:
        before.flush()
        raw, encoding = getattr(before.buffer, "raw", before.buffer), before.encoding  # the latter with `python -u`
    return io.TextIOWrapper(io.BufferedWriter(kind(raw)), encoding=encoding, errors=errors,
                            line_buffering=number == 2 or raw.isatty(),
                            write_through=before is not None and before.write_through)


def discard_results() -> None:
    """Send what standard output still holds, and all that follows, to the null device."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
