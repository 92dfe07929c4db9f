"""The generators of random numbers that models draw from, seeded and left as they were.

What Shiftscope itself draws comes from `hashing`.
"""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the generators of the CPU and of `device`, as `torch.manual_seed` does for all devices.

    Asked at every step: `torch.manual_seed` formats a stack trace for each kind of GPU that is not there, which takes
    a fifth of the perceptron's step.

    >>> seed_generators(torch.device("cpu"), 3)
    >>> a = torch.rand(1)
    >>> torch.manual_seed(3).initial_seed(), bool(a == torch.rand(1))
    (3, True)
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def seeded(devices: Iterable[torch.device], seed: int) -> Iterator[None]:
    """Seed the generators of torch, NumPy and Python meanwhile; afterwards they are as they were, also after an error.

    A model that draws random numbers, from whichever of them, draws the same ones each time.

    Args:
        devices: whose generators are seeded besides that of the CPU.
        seed: any whole number.

    Example:
        >>> before = random.getstate()
        >>> with seeded([], 3):
        ...     a = torch.rand(1), np.random.rand(), random.random()
        >>> with seeded([], 3):
        ...     a == (torch.rand(1), np.random.rand(), random.random()), random.getstate() == before
        (True, False)
        >>> random.getstate() == before
        True
    """
    gpus = [device for device in set(devices) if device.type == "cuda"]
    python, numpy = random.getstate(), np.random.get_state()  # the generator that models draw from
    with torch.random.fork_rng(devices=gpus):
        for device in (torch.device("cpu"), *gpus):
            seed_generators(device, seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
