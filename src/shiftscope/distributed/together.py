"""Functions that all processes of a group call together: one process leads, the others follow.

Only the first process runs a command: it reads flags and folders, decides, shows progress, writes files. When it calls
a function decorated with `@together`, the other processes call it with the same arguments and compute their part. So
they need no shared file system, and everything around the heavy work is done once.
"""

import functools
import importlib
import inspect
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from torch.distributed.distributed_c10d import Store

from shiftscope.distributed.group import Group, group, lost_process_errors, receive, send, use_group
from shiftscope.errors import GroupError, ShiftscopeError, UsageError

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE = timedelta(seconds=10)
"""An error that does not occur in all processes within this time is local to some of them and ends the work."""

_END = "end"


class Team:
    """A group with one leader and followers.

    Args:
        own: rank of this process and size of the group.
        store: the shared store of `torch.distributed`.
        stop: flag that followers check between steps.
    """

    def __init__(self, own: Group, store: Store, stop: Any):
        self.group, self.store, self.stop = own, store, stop
        self.calls, self.broken = 0, False

    def lead(self, function: Callable[..., R], arguments: dict[str, Any], local: tuple[str, ...]) -> R:
        """Call a function here and in all followers, which do not get the arguments named in `local`."""
        if self.broken:
            raise GroupError("the processes that share the work are out of step after an earlier error; run the "
                             "command again")
        shared = {name: value for name, value in arguments.items() if name not in local}
        try:
            send((f"{function.__module__}:{function.__qualname__}", shared))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(f"{function.__name__} cannot be shared among processes because an argument cannot be sent "
                             f"to them ({' '.join(str(error).split())}); define models and functions at the top level "
                             "of a module, or use one process") from error
        return self._call(function, arguments)

    def follow(self) -> None:
        """Call what the leader calls, until it releases the followers.

        Raises:
            GroupError: if the leader is gone.
            ShiftscopeError: for an error that occurred in this process only.
        """
        while (message := receive()) != _END:
            name, arguments = message
            module, _, attribute = name.partition(":")
            function = inspect.unwrap(getattr(importlib.import_module(module), attribute))
            if "stop" in inspect.signature(function).parameters:
                arguments["stop"] = self.stop
            try:
                self._call(function, arguments)
            except ShiftscopeError:
                if self.broken:
                    raise

    def release(self) -> None:
        """End the work of the followers."""
        if not self.broken:
            send(_END)

    def _call(self, function: Callable[..., R], arguments: dict[str, Any]) -> R:
        self.calls += 1
        try:
            with use_group(self.group), lost_process_errors():
                return function(**arguments)
        except BaseException as error:
            shared = isinstance(error, ShiftscopeError) and not isinstance(error, GroupError)
            self.broken |= not (shared and self._occurred_in_all())
            raise

    def _occurred_in_all(self) -> bool:
        """Return True if this call failed in all processes, which are then still in step."""
        key = f"shiftscope/failed/{self.calls}"
        try:
            self.store.set(f"{key}/{self.group.rank}", "")
            self.store.wait([f"{key}/{rank}" for rank in range(self.group.size)], PATIENCE)
        except RuntimeError:  # timeout, or the store is gone
            return False
        return True

    def is_first_to_report(self) -> bool:
        """Return True if no other process has reported a failure; one message is enough."""
        try:
            return self.store.add("shiftscope/spoken", 1) == 1
        except RuntimeError:  # the store ended with the first process
            return self.group.rank <= 1


_team: Team | None = None


def use_team(team: Team | None) -> None:
    """Share calls of functions decorated with `@together` in this team; None: share nothing."""
    global _team
    _team = team


def together(*local: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function that all processes of a group call together.

    Args:
        local: names of arguments that only the leading process gets: progress, folders, callbacks.

    Example:
        >>> @together("progress")
        ... def twice(number, progress=None):
        ...     return 2 * number
        >>> twice(4)
        8
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def shared(*args: P.args, **kwargs: P.kwargs) -> R:
            if _team is None or group().size > 1:
                return function(*args, **kwargs)
            return _team.lead(function, inspect.signature(function).bind(*args, **kwargs).arguments, local)

        return shared

    return decorate
