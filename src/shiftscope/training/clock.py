"""Time and memory of a training: told after a few steps, and limited where the settings say so."""

import math
import sys
import time

import torch

from shiftscope.progress import duration

WARM_UP = 3
"""Steps before the measurement: the first ones allocate memory and choose kernels."""

MEASURED = 2.0
"""Seconds of steps to measure, and at least as many steps as of warm-up: short enough to be told early, long enough
that single slow steps do not matter."""

WORTH_TELLING = 10.0
"""Seconds below which an estimate is not worth a line."""

FORWARD_SHARE = 1 / 3
"""Time of showing an image to the model, as a share of training on it: backward costs about twice as much."""


class Clock:
    """Counts the wall time of one call of `train`.

    Args:
        limit: seconds after which time is up; None: never.
    """

    def __init__(self, limit: float | None = None):
        self.limit, self.begun = limit, time.perf_counter()

    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.perf_counter() - self.begun

    def is_up(self) -> bool:
        """Return whether the limit is reached."""
        return self.limit is not None and self.seconds() >= self.limit


class Forecast:
    """Measures the first steps of a call of `train`, then says once how long the rest takes.

    Args:
        steps: steps that are left, in this epoch and all later ones.
        epochs: epochs that are left, begun ones included.
        validation: size of the validation split as a share of the training images.
        device: where the model computes.
    """

    def __init__(self, steps: int, epochs: int, validation: float, device: torch.device):
        self.steps, self.epochs, self.validation, self.device = steps, epochs, validation, device
        self.done, self.begun, self.told = 0, math.inf, False

    def step(self) -> str | None:
        """Count one step; return the sentence when it is due, once, and only where the training is a long one."""
        self.done += 1
        if self.told or self.done < WARM_UP:
            return None
        if self.done == WARM_UP:
            self.begun = self._now()
            return None
        measured = self.done - WARM_UP
        if measured < WARM_UP or time.perf_counter() - self.begun < MEASURED:
            return None
        self.told = True
        return self._sentence((self._now() - self.begun) / measured)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _sentence(self, each: float) -> str | None:
        left = (self.steps - self.done) * each * (1 + FORWARD_SHARE * self.validation)
        if left < WORTH_TELLING:
            return None
        plural = "epoch" if self.epochs == 1 else "epochs"
        memory = peak_memory(self.device)
        used = "" if memory is None else f", {memory / 2**20:,.0f} MiB of memory"
        return f"about {duration(left)} min for {self.epochs} {plural}{used}" if left < 3600 else \
            f"about {duration(left)} h for {self.epochs} {plural}{used}"


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes used so far: of a CUDA device by torch, else by the process; None where unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
