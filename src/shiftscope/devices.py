"""Choosing a device by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from shiftscope.errors import UsageError, unknown


def resolve_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" is a CUDA GPU where there is one, else the CPU.

    Raises:
        UsageError: an unknown name, or a device that this machine lacks.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.partition(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in present:
        raise unknown("device", name, ["auto", *present])
    if not present[kind]:
        raise UsageError(f"device {name!r} is not available here: PyTorch sees no such device; choose auto or cpu, or "
                         "install a PyTorch build for it")
    return torch.device(name)


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Let NVIDIA GPUs compute convolutions and products in TF32 meanwhile, or forbid it; other devices have none.

    TF32 keeps 10 of the 23 bits of a float32's fraction. torch allows it for convolutions alone, unless told otherwise.

    >>> with tf32(allowed=True):
    ...     torch.backends.cuda.matmul.allow_tf32
    True
    """
    switches, name, value = _switches(allowed)
    before = [getattr(switch, name) for switch in switches]
    try:
        for switch in switches:
            setattr(switch, name, value)
        yield
    finally:
        for switch, old in zip(switches, before, strict=True):
            setattr(switch, name, old)


def _switches(allowed: bool) -> tuple[tuple[Any, ...], str, Any]:
    """Return where TF32 is allowed or not, by which attribute and value.

    torch has two names for it, and refuses to read the older one once the newer was set.
    """
    backends: Any = torch.backends
    try:
        _ = backends.cudnn.allow_tf32, backends.cuda.matmul.allow_tf32
    except RuntimeError:
        newer = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
        return newer, "fp32_precision", "tf32" if allowed else "ieee"
    return (backends.cudnn, backends.cuda.matmul), "allow_tf32", allowed
