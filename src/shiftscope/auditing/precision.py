"""Whole float32 on GPUs while an audit runs, and random numbers that leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_arithmetic(device: torch.device, seed: int) -> Iterator[None]:
    """Compute convolutions and products in whole float32, not in TF32, and let a model draw seeded random numbers.

    TF32 keeps 10 of the 23 bits: cuDNN's default for convolutions, too coarse to tell two engines apart by. The
    settings and the random state are restored afterwards.
    """
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    gpus = [device] if device.type == "cuda" else []
    try:
        for backend in backends:
            backend.allow_tf32 = False
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed
