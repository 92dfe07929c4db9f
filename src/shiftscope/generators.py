"""Seeds for the random generators that models draw from. Shiftscope's own random numbers come from `hashing`."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_generators(device: torch.device, seed: int) -> None:
    """Seed the generators of the CPU and of `device`, like `torch.manual_seed` for all devices.

    `torch.manual_seed` would format a stack trace for each kind of missing GPU, which takes a fifth of a training step
    of the perceptron.

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


def seed_all(devices: Iterable[torch.device], seed: int) -> None:
    """Seed the generators of the CPU, of `devices`, of Python and of NumPy."""
    for device in list(devices) or [torch.device("cpu")]:
        seed_generators(device, seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


@contextmanager
def seeded(devices: Iterable[torch.device], seed: int) -> Iterator[None]:
    """Seed the generators of torch, NumPy and Python within the block; restore them afterwards, also after an error.

    Args:
        devices: devices whose generators are seeded besides that of the CPU.
        seed: any integer.

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
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=gpus):
        seed_all(gpus, seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
