"""Memory of forward passes: how much one takes, and chunks that get smaller when memory runs out."""

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from shiftscope.errors import ShiftscopeError
from shiftscope.modules import out_of_memory

OVERHEAD = 2
"""A forward pass holds this many times the memory of its largest operation (residual branches, workspaces)."""

_METADATA = ("__get__", "data_ptr")  # these functions allocate nothing


class MemoryChunks:
    """Splits `count` items into chunks; a chunk that runs out of memory is repeated at half the size.

    Iterate over the object and enter each item with `with`: it gives the slice of the current chunk. A chunk counts as
    done when its block ends without an error.

    Args:
        count: number of items.
        size: items per chunk.
        multiple: chunks hold a multiple of this many items; a chunk of one multiple is not halved.
        message: text of the `ShiftscopeError` for a smallest chunk that does not fit (default: its own error).

    Attributes:
        size: current number of items per chunk.

    Example:
        >>> done, chunks = [], MemoryChunks(5, size=4)
        >>> for chunk in chunks:
        ...     with chunk as rows:
        ...         if rows.stop - rows.start > 2:
        ...             raise MemoryError
        ...         done.append(list(range(rows.start, rows.stop)))
        >>> done, chunks.size
        ([[0, 1], [2, 3], [4]], 2)
    """

    def __init__(self, count: int, size: int, *, multiple: int = 1, message: str | None = None):
        self.count, self.size, self.multiple, self.message = count, size, multiple, message
        self.start = 0

    def __iter__(self) -> Iterator["MemoryChunks"]:
        while self.start < self.count:
            size = self.size
            yield self
            if self.size < size and torch.cuda.is_initialized():  # the error has released its tensors by now
                torch.cuda.empty_cache()

    def __enter__(self) -> slice:
        self.rows = slice(self.start, min(self.start + self.size, self.count))
        return self.rows

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> bool:
        if error is None:
            self.start = self.rows.stop
            return False
        if not isinstance(error, MemoryError | RuntimeError) or not out_of_memory(error):
            return False
        groups = (self.rows.stop - self.rows.start) // self.multiple
        if groups > 1:
            self.size = (groups + 1) // 2 * self.multiple
        elif self.message is not None:
            raise ShiftscopeError(self.message) from error
        return groups > 1


class MemoryFootprint(TorchFunctionMode):
    """Measures the operation with the largest inputs and outputs inside a `with` block.

    Args:
        excluded: tensors that do not count: weights do not grow with the batch.

    Attributes:
        bytes: memory of that operation's tensors.

    Example:
        >>> with MemoryFootprint() as footprint:
        ...     _ = torch.ones(4, 3).double()
        >>> footprint.bytes
        144
    """

    def __init__(self, excluded: Iterable[torch.Tensor] = ()):
        super().__init__()
        self.excluded, self.bytes = list(excluded), 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") not in _METADATA:
            sizes = {tensor.data_ptr(): min(tensor.nbytes, tensor.untyped_storage().nbytes())  # fewer if expanded
                     for tensor in _tensors((args, result)) if _has_memory(tensor)}
            excluded = {tensor.data_ptr() for tensor in self.excluded}  # read now: a change of layout moves weights
            self.bytes = max(self.bytes, sum(size for address, size in sizes.items() if address not in excluded))
        return result


def _has_memory(tensor: torch.Tensor) -> bool:
    """Return False for tensors without an address: sparse ones, and those inside `torch.vmap`."""
    try:
        return tensor.layout == torch.strided and tensor.data_ptr() is not None
    except RuntimeError:
        return False


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
