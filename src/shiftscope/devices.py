"""Choosing a device by name."""

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
