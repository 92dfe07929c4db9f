"""How much memory a model's forward pass takes, measured rather than guessed."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

HELD = 2
"""Times the hungriest operation's memory: room for what a model holds beside it (residual branches, workspaces)."""

_ASKING = ("__get__", "data_ptr")  # of a tensor: no memory is taken


class Footprint(TorchFunctionMode):
    """Measures the function with the largest inputs and outputs that torch calls inside a `with` block.

    Attributes:
        bytes: of that operation's tensors, those of `kept` left out: weights do not grow with the batch.

    Example:
        >>> with Footprint() as footprint:
        ...     _ = torch.ones(4, 3).double()
        >>> footprint.bytes
        144
    """

    def __init__(self, kept: Iterable[torch.Tensor] | None = None):
        super().__init__()
        self.kept = list(kept or ())
        self.bytes = 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") not in _ASKING:
            sizes = {item.data_ptr(): _held(item) for item in _flat((args, result)) if _has_memory(item)}
            kept = {tensor.data_ptr() for tensor in self.kept}  # now: another memory layout moves weights
            self.bytes = max(self.bytes, sum(size for address, size in sizes.items() if address not in kept))
        return result


def _held(tensor: torch.Tensor) -> int:
    """Return the bytes behind a tensor: fewer than its own where it visits some of them several times."""
    return min(tensor.nbytes, tensor.untyped_storage().nbytes())


def _has_memory(tensor: torch.Tensor) -> bool:
    """Return whether a tensor has memory of its own: inside `torch.vmap` it stands for a part of another one."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return False
    return True


def _flat(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        if value.layout == torch.strided:  # others have no address
            yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
