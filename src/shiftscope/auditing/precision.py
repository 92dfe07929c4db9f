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
    switches, name, whole = _switches()
    before = [getattr(switch, name) for switch in switches]
    gpus = [device] if device.type == "cuda" else []
    try:
        for switch in switches:
            setattr(switch, name, whole)
        with torch.random.fork_rng(devices=gpus):
            torch.default_generator.manual_seed(seed)
            for gpu in gpus:
                with torch.cuda.device(gpu):
                    torch.cuda.manual_seed(seed)
            yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            setattr(switch, name, value)


def _switches() -> tuple[tuple[Any, ...], str, Any]:
    """Return where TF32 is allowed, by which attribute, and its value for whole float32.

    torch has two names for it, and refuses to read the older one once the newer was set.
    """
    backends: Any = torch.backends
    try:
        _ = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    except RuntimeError:
        return (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul), "fp32_precision", "ieee"
    return (backends.cudnn, backends.cuda.matmul), "allow_tf32", False
