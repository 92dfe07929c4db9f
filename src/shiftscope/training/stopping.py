"""Ways to stop a training between steps: a time limit, and a flag that Ctrl-C and SIGTERM set.

An exception inside an optimizer step would leave it half applied. So the first signal sets the flag; a second Ctrl-C
stops immediately, without saving.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class StopFlag:
    """True once a signal, or a call of `ask`, has requested a stop."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """Exit code of the process: 130 for Ctrl-C, 143 for SIGTERM."""
        return EXIT_CODES.get(signal.Signals(self.signal), 1) if self.signal is not None else 0

    def ask(self, signal_number: int = signal.SIGINT) -> None:
        """Request a stop after the current step."""
        self.signal = signal_number

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.signal is not None and signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        self.ask(signal_number)

    @contextmanager
    def listening(self) -> Iterator["StopFlag"]:
        """Catch SIGINT and SIGTERM within the block; outside of the main thread this does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in EXIT_CODES}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Clock:
    """Measures wall time from its creation.

    Args:
        limit: seconds until the time is up; None: no limit.
    """

    def __init__(self, limit: float | None = None):
        self.limit, self.begun = limit, time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the start."""
        return time.perf_counter() - self.begun

    def is_up(self) -> bool:
        """Return True if the limit is reached."""
        return self.limit is not None and self.seconds() >= self.limit
