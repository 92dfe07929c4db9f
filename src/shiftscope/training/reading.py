"""When a training reads what it counted: on a GPU each reading waits for the device, so there it is seldom."""

import time

import torch

EVERY_STEPS, EVERY_SECONDS = 10, 1.0


class Reading:
    """Says after which steps loss and accuracy are read.

    On the CPU, where nothing has to be waited for, after each. On a GPU at the end of an epoch, and within it at most
    once a second, or, with several processes, which must read together, every tenth step.

    Example:
        >>> gpu = Reading(torch.device("cuda"), processes=2)
        >>> [step for step in range(1, 25) if gpu.is_due(step, of=24)]
        [10, 20, 24]
        >>> all(Reading(torch.device("cpu"), processes=1).is_due(step, of=24) for step in range(1, 25))
        True
    """

    def __init__(self, device: torch.device, processes: int):
        self.waits, self.alone, self.last = device.type != "cpu", processes == 1, time.perf_counter()

    def is_due(self, step: int, of: int) -> bool:
        """Return whether to read now.

        Args:
            step: steps that are done of the epoch.
            of: steps of the epoch.
        """
        if not self.waits or step == of:
            return True
        if not self.alone:
            return step % EVERY_STEPS == 0
        due = time.perf_counter() - self.last >= EVERY_SECONDS
        if due:
            self.last = time.perf_counter()
        return due
