"""Several processes that work on one thing: which of them this one is, and how they put together what each found.

Everything here is for functions that all processes of a group call together, see `together.py`. Outside of these a
process is alone: the first of one, and nothing is exchanged.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from shiftscope.errors import GroupError, ShiftscopeError

T = TypeVar("T")

_LOST = ("closed by peer", "reset by peer", "broken pipe", "gloo/transport", "nccl")
"""Words by which errors of `torch.distributed` tell that another process is gone, in small letters."""


@dataclass(frozen=True)
class Group:
    """Processes that work together.

    Work is cut into chunks, whose boundaries do not depend on the number of processes, and dealt out in turn.

    Example:
        >>> [chunk for chunk in range(5) if Group(rank=1, size=2).owns(chunk)], Group().first
        ([1, 3], True)
    """

    rank: int = 0
    """Number of this process, from 0 on."""
    size: int = 1
    """How many processes there are."""

    @property
    def first(self) -> bool:
        """Whether this is the process that shows progress and writes files."""
        return self.rank == 0

    def owns(self, chunk: int) -> bool:
        """Return whether this process does the chunk of that number."""
        return chunk % self.size == self.rank


_ALONE = Group()
_current = _ALONE


def group() -> Group:
    """Return the group that works together right here.

    >>> group()
    Group(rank=0, size=1)
    """
    return _current


@contextmanager
def working_in(here: Group) -> Iterator[None]:
    """Work together meanwhile."""
    global _current
    before, _current = _current, here
    try:
        yield
    finally:
        _current = before


@contextmanager
def in_step() -> Iterator[None]:
    """Let processes of a script of your own work together: each of them calls the same functions within the block.

    After `torch.distributed.init_process_group`; all get the same results, the first one writes the files. The
    command line needs none of this, see `together.py`.
    """
    with working_in(Group(rank=dist.get_rank(), size=dist.get_world_size())), noticing_loss():
        yield


@contextmanager
def noticing_loss() -> Iterator[None]:
    """Say it in one sentence where the other processes can no longer be reached.

    Raises:
        GroupError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or any(word in str(error).lower() for word in _LOST):
            raise GroupError("another of the processes that share the work has ended, so this one stops as well; "
                             "checkpoints and results that were saved before stand: start the command again, with "
                             "--resume where it has that") from error
        raise


def total(values: torch.Tensor) -> torch.Tensor:
    """Add up a tensor over the group, in place, and return it.

    >>> total(torch.tensor([1, 2]))
    tensor([1, 2])
    """
    if _current.size > 1:
        dist.all_reduce(values)
    return values


def gathered(value: T) -> list[T]:
    """Return what each process of the group has, the first one's first.

    >>> gathered("a")
    ['a']
    """
    if _current.size == 1:
        return [value]
    found: list[Any] = [None] * _current.size
    dist.all_gather_object(found, value)
    return found


def from_first(make: Callable[[], T]) -> T:
    """Return what `make` gives in the first process; the others do not call it. What it raises, all raise.

    >>> from_first(lambda: 3)
    3
    """
    if _current.size == 1:
        return make()
    if not _current.first:
        kind, value = hear()
        if kind == "error":
            raise value
        return value
    try:
        value = make()
    except ShiftscopeError as error:
        tell(("error", error))
        raise
    tell(("value", value))
    return value


def tell(value: Any) -> None:
    """Send an object to all other processes, tensors included; they must `hear` it."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with noticing_loss():
        dist.broadcast_object_list([buffer.getvalue()], src=0, device=torch.device("cpu"))


def hear() -> Any:
    """Return what the first process tells; tensors that lie on its GPU come to this process's own."""
    told: list[Any] = [None]
    with noticing_loss():
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    return torch.load(io.BytesIO(told[0]), map_location=_own_device, weights_only=False)


def _own_device(storage: Any, location: str) -> Any:
    return storage.cuda(torch.cuda.current_device()) if location.startswith("cuda") else storage
