"""Processor load of other programs."""

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.record import Load

SAMPLE_SECONDS = 1.0
"""Length of the measurement before a benchmark: 100 ticks per core, enough to detect a load of 5 %."""

_IDLE = (3, 4)  # columns "idle" and "iowait" of /proc/stat
_COUNTED = 8  # up to "steal"; the "guest" columns after it are included in "user"


@dataclass(frozen=True)
class Counters:
    """Seconds since the start of the machine or of this process; only differences are meaningful."""

    total: float
    """All cores, busy or idle."""
    busy: float
    own: float
    """Of this process and of its ended child processes, all threads."""


def read_counters(stat: Path = Path("/proc/stat")) -> Counters | None:
    """Return the counters of the cores that this process may use; None if the system does not provide them."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        usable = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        rows = [line.split() for line in stat.read_text(encoding="ascii").splitlines() if line.startswith("cpu")]
        ticks = [[int(word) for word in row[1:1 + _COUNTED]] for row in rows if row[0] in usable]
        total = sum(map(sum, ticks))
        idle = sum(row[column] for row in ticks for column in _IDLE)
        second = os.sysconf("SC_CLK_TCK")
        if total:
            return Counters(total / second, (total - idle) / second, sum(os.times()[:4]))
    return None


def others(begin: Counters | None, end: Counters | None) -> float | None:
    """Return the fraction of all cores that other programs used between two readings.

    Example:
        >>> round(others(Counters(100, 50, 7), Counters(104, 53, 9)), 3)
        0.25
    """
    if begin is None or end is None or end.total <= begin.total:
        return None
    foreign = (end.busy - begin.busy) - (end.own - begin.own)
    return min(max(foreign / (end.total - begin.total), 0.0), 1.0)


class LoadWatch:
    """Measures the load of other programs before and during a benchmark.

    Args:
        read: function that returns the counters.
        wait: function that waits during the measurement before the benchmark.
    """

    def __init__(self, read: Callable[[], Counters | None] = read_counters, wait: Callable[[float], None] = time.sleep):
        self._read = read
        begin = read()
        if begin is not None:
            wait(SAMPLE_SECONDS)
        self._begin = read()
        self.before = others(begin, self._begin) if begin is not None else _load_average()
        self.source = ("processor time of others on the usable cores (/proc/stat)" if begin is not None else
                       "load average of the last minute" if self.before is not None else "unknown")

    def load(self) -> Load:
        """Return the load of other programs before and since; call it after our own processes have ended."""
        return {"before": self.before, "during": others(self._begin, self._read()), "source": self.source}


def _load_average() -> float | None:
    with contextlib.suppress(OSError, AttributeError):
        return min(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)
    return None
