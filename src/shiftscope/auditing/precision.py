"""Whole float32 on GPUs while an audit runs, and random numbers that leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from shiftscope.devices import tf32
from shiftscope.generators import seeded


@contextmanager
def exact_arithmetic(device: torch.device, seed: int) -> Iterator[None]:
    """Compute convolutions and products in whole float32, not in TF32, and let a model draw seeded random numbers.

    TF32 keeps 10 of the 23 bits: cuDNN's default for convolutions, too coarse to compare two engines. The settings and
    the generators of torch, NumPy and Python are restored afterwards.
    """
    with tf32(allowed=False), seeded([device], seed):
        yield
