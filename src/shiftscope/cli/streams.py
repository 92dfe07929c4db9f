"""Standard streams that work even if they are closed or full, or cannot encode a character."""

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from shiftscope.errors import OutputError

ESCAPE = "shiftscope-escape"
"""Error handler for characters that an encoding lacks: bytes of file names are kept, others become escapes."""


def _encode_with_escapes(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start:error.end]
    parts = (bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff"
             else letter.encode("ascii", "backslashreplace") for letter in found)
    return b"".join(parts), error.end


codecs.register_error(ESCAPE, _encode_with_escapes)


class _Raw(io.RawIOBase):
    """A raw stream that writes to another one."""

    def __init__(self, raw: Any):
        self.raw = raw

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.raw.fileno()

    def isatty(self) -> bool:
        return self.raw.isatty()


class _Results(_Raw):
    """Standard output; a failed write raises an `OutputError`."""

    def write(self, data: Any) -> int | None:
        try:
            return self.raw.write(data)
        except BrokenPipeError:  # the reader closed the pipe
            raise
        except OSError as error:
            raise OutputError(f"cannot write to standard output: {error.strerror}; send it to another file or program"
                              ) from error


class _Messages(_Raw):
    """Standard error; a failed write is ignored, because a message must not stop the work."""

    def write(self, data: Any) -> int | None:
        with contextlib.suppress(OSError):
            return self.raw.write(data)
        return len(data)


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Make the standard streams of the process usable for the duration of the block; replaced ones are unchanged.

    A closed stream is opened on the null device. Otherwise a file opened later would get its number, and with it the
    output of libraries.
    """
    _open_missing()
    before = sys.stdin, sys.stdout, sys.stderr
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, before[1], _Results, ESCAPE)
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
    """Return a text stream like `before` that writes through a stream of class `kind`."""
    if before is None:
        raw, encoding = io.FileIO(number, "w", closefd=False), "utf-8"
    else:
        before.flush()
        raw, encoding = getattr(before.buffer, "raw", before.buffer), before.encoding  # the latter with `python -u`
    return io.TextIOWrapper(io.BufferedWriter(kind(raw)), encoding=encoding, errors=errors,
                            line_buffering=number == 2 or raw.isatty(),
                            write_through=before is not None and before.write_through)


def discard_results() -> None:
    """Redirect standard output to the null device, including its buffer."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
