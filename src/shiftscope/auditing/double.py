"""A model in float64: it shows whether a difference is one of rounding."""

import copy

import torch
from torch import nn

from shiftscope.models.forward import device_and_dtype


def in_double(model: nn.Module) -> nn.Module | None:
    """Return a copy of a model that computes in float64, None where there is none.

    There is none for a model that computes in float64 already, on devices without float64, and for one that cannot be
    copied.

    Example:
        >>> copied = in_double(nn.Linear(2, 1))
        >>> copied is not None and copied.weight.dtype
        torch.float64
        >>> in_double(nn.Linear(2, 1).double()) is None
        True
    """
    device, dtype = device_and_dtype(model)
    if dtype == torch.float64 or device.type == "mps":
        return None
    if not any(value.is_floating_point() for value in (*model.parameters(), *model.buffers())):
        return None  # nothing in it says which type it computes in
    try:
        return copy.deepcopy(model).double()
    except Exception:  # a model of others may raise anything: the question then stays open
        return None
