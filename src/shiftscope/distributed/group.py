"""Groups of processes that share work, and the exchange of data between them.

All processes of a group must call these functions together, see `together.py`. Outside of such calls a process is a
group of one, and nothing is exchanged.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from shiftscope.errors import GroupError, ShiftscopeError, is_lost_process

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """Processes that share work.

    Work is split into chunks that do not depend on the number of processes and are assigned in turn.

    Example:
        >>> [chunk for chunk in range(5) if Group(rank=1, size=2).owns(chunk)], Group().first
        ([1, 3], True)
    """

    rank: int = 0
    """Index of this process."""
    size: int = 1
    """Number of processes."""

    @property
    def first(self) -> bool:
        """True for the process that shows progress and writes files."""
        return self.rank == 0

    def owns(self, chunk: int) -> bool:
        """Return True if this process computes the chunk with that index."""
        return chunk % self.size == self.rank


_current = Group()


def group() -> Group:
    """Return the current group.

    >>> group()
    Group(rank=0, size=1)
    """
    return _current


@contextmanager
def use_group(current: Group) -> Iterator[None]:
    """Make `current` the current group within the block."""
    global _current
    before, _current = _current, current
    try:
        yield
    finally:
        _current = before


@contextmanager
def in_step() -> Iterator[None]:
    """Share work between the processes of a script: each of them calls the same functions within the block.

    Call `torch.distributed.init_process_group` before. All processes get the same results; the first one writes files.
    The command line does not need this, see `together.py`.
    """
    with use_group(Group(rank=dist.get_rank(), size=dist.get_world_size())), lost_process_errors():
        yield


@contextmanager
def lost_process_errors() -> Iterator[None]:
    """Raise a `GroupError` if another process of the group is gone."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or is_lost_process(error):
            raise GroupError("another of the processes that share the work has ended, so this one stops as well; saved "
                             "checkpoints and results are kept: run the command again, with --resume if it has that "
                             "option") from error
        raise


def total(values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over the group, in place, and return it.

    >>> total(torch.tensor([1, 2]))
    tensor([1, 2])
    """
    if _current.size > 1:
        dist.all_reduce(values)
    return values


def gathered(value: T) -> list[T]:
    """Return the values of all processes of the group, by rank.

    >>> gathered("a")
    ['a']
    """
    if _current.size == 1:
        return [value]
    values: list[Any] = [None] * _current.size
    dist.all_gather_object(values, value)
    return values


def from_first(compute: Callable[[], T]) -> T:
    """Call `compute` in the first process only; all processes return its result or raise its error.

    >>> from_first(lambda: 3)
    3
    """
    if _current.size == 1:
        return compute()
    if not _current.first:
        kind, value = receive()
        if kind == "error":
            raise value
        return value
    try:
        value = compute()
    except ShiftscopeError as error:
        send(("error", error))
        raise
    send(("value", value))
    return value


def send(value: Any) -> None:
    """Send an object, tensors included, from the first process to all others, which must call `receive`."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with lost_process_errors():
        dist.broadcast_object_list([buffer.getvalue()], src=0, device=torch.device("cpu"))


def receive() -> Any:
    """Return the object that the first process sends; its GPU tensors move to this process's GPU."""
    buffers: list[Any] = [None]
    with lost_process_errors():
        dist.broadcast_object_list(buffers, src=0, device=torch.device("cpu"))
    return torch.load(io.BytesIO(buffers[0]), map_location=_own_device, weights_only=False)


def _own_device(storage: Any, location: str) -> Any:
    return storage.cuda(torch.cuda.current_device()) if location.startswith("cuda") else storage
