"""Whole float32 on GPUs while an audit runs, and random numbers that leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from shiftscope.devices import tf32


@contextmanager
def exact_arithmetic(device: torch.device, seed: int) -> Iterator[None]:
    """Compute convolutions and products in whole float32, not in TF32, and let a model draw seeded random numbers.

    TF32 keeps 10 of the 23 bits: cuDNN's default for convolutions, too coarse to tell two engines apart by. The
    settings and the random state are restored afterwards.
    """
    gpus = [device] if device.type == "cuda" else []
    with tf32(allowed=False), torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield
