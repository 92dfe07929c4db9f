"""Time and memory of a training run: time limit, time estimate, intervals between reads of the loss, kept memory."""

import ctypes
import functools
import math
import sys
import time

import torch

from shiftscope.progress import duration

WARM_UP = 3
"""Steps before the measurement; the first ones allocate memory and choose kernels."""

MEASURED = 2.0
"""Least seconds of measured steps (and at least `WARM_UP` steps), so that single slow steps do not matter."""

WORTH_SHOWING = 10.0
"""Shorter estimates, in seconds, are not shown."""

FORWARD_COST = 1 / 3
"""Time of a forward pass relative to a training step: backward costs about twice as much as forward."""

EVERY_STEPS, EVERY_SECONDS = 10, 1.0


class Clock:
    """The wall time of one call of `train`.

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


class Forecast:
    """Measures the first steps of a call of `train` and estimates the time left, once.

    Args:
        steps: remaining steps, in this epoch and all later ones.
        epochs: remaining epochs, started ones included.
        validation: size of the validation split relative to the training split.
        device: where the model computes.
    """

    def __init__(self, steps: int, epochs: int, validation: float, device: torch.device):
        self.steps, self.epochs, self.validation, self.device = steps, epochs, validation, device
        self.done, self.begun, self.finished = 0, math.inf, False

    def step(self) -> str | None:
        """Count one step; return the estimate when it is available, once, if the training is long."""
        self.done += 1
        if self.finished or self.done < WARM_UP:
            return None
        if self.done == WARM_UP:
            self.begun = self._now()
            return None
        measured = self.done - WARM_UP
        if measured < WARM_UP or time.perf_counter() - self.begun < MEASURED:
            return None
        self.finished = True
        return self._message((self._now() - self.begun) / measured)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _message(self, seconds_per_step: float) -> str | None:
        left = (self.steps - self.done) * seconds_per_step * (1 + FORWARD_COST * self.validation)
        if left < WORTH_SHOWING:
            return None
        memory = peak_memory(self.device)
        used = "" if memory is None else f", {memory / 2**20:,.0f} MiB of memory"
        return (f"about {duration(left)} {'min' if left < 3600 else 'h'} for {self.epochs} "
                f"{'epoch' if self.epochs == 1 else 'epochs'}{used}")


class ReadSchedule:
    """Decides after which steps loss and accuracy are read: on a GPU, each read waits for the device.

    On the CPU they are read after each step. On a GPU they are read at the end of an epoch and at most once per
    second, or, with several processes, which must read together, every tenth step.

    Example:
        >>> gpu = ReadSchedule(torch.device("cuda"), processes=2)
        >>> [step for step in range(1, 25) if gpu.is_due(step, of=24)]
        [10, 20, 24]
        >>> all(ReadSchedule(torch.device("cpu"), processes=1).is_due(step, of=24) for step in range(1, 25))
        True
    """

    def __init__(self, device: torch.device, processes: int):
        self.waits, self.alone, self.last = device.type != "cpu", processes == 1, time.perf_counter()

    def is_due(self, step: int, of: int) -> bool:
        """Return True if the sums are to be read after `step` of `of` steps of the epoch."""
        if not self.waits or step == of:
            return True
        if not self.alone:
            return step % EVERY_STEPS == 0
        due = time.perf_counter() - self.last >= EVERY_SECONDS
        if due:
            self.last = time.perf_counter()
        return due


def peak_memory(device: torch.device) -> int | None:
    """Return the peak number of bytes in use, of a CUDA device or else of the process; None if unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_THRESHOLD = 32 * 2**20  # glibc refuses more on 64-bit systems


@functools.cache
def keep_memory() -> bool:
    """Make the C library keep freed memory for reuse; once per process.

    By default, glibc returns large freed blocks to the system, and the next step pays a page fault for every 4 KiB:
    that doubles the time of a convolutional training step.

    Returns:
        True if it was possible (glibc on Linux).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    options = ((_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD), (_M_TRIM_THRESHOLD, 2**30), (_M_TOP_PAD, 64 * 2**20))
    return [mallopt(key, value) for key, value in options] == [1, 1, 1]
