"""Devices by name, and TF32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from shiftscope.errors import UsageError, unknown


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is a CUDA GPU if available, else the CPU.

    Raises:
        UsageError: if the name is unknown or the device is not available.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.partition(":")[0]
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in available:
        raise unknown("device", name, ["auto", *available])
    if not available[kind]:
        raise UsageError(f"device {name!r} is not available here: PyTorch finds no such device; choose auto or cpu, or "
                         "install a PyTorch build for it")
    return torch.device(name)


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 for convolutions and matrix products on NVIDIA GPUs inside the `with` block.

    TF32 has 10 of the 23 fraction bits of float32. By default PyTorch allows it for convolutions only.

    >>> with tf32(allowed=True):
    ...     torch.backends.cuda.matmul.allow_tf32
    True
    """
    backends: Any = torch.backends
    try:
        _ = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
        switches, name, value = (backends.cudnn, backends.cuda.matmul), "allow_tf32", allowed
    except RuntimeError:  # PyTorch refuses to read the older names once the newer ones were set
        switches = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
        name, value = "fp32_precision", "tf32" if allowed else "ieee"
    before = [getattr(switch, name) for switch in switches]
    try:
        for switch in switches:
            setattr(switch, name, value)
        yield
    finally:
        for switch, old in zip(switches, before, strict=True):
            setattr(switch, name, old)
