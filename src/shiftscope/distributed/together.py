"""Functions that all processes of a group call together: one process leads, the others follow it.

Only the first process runs a command: it reads flags and folders, decides, shows progress, writes files. Where it calls
a function that is marked `@together`, it tells the others, which call it as well with the same arguments and do their
part. So no file system need be shared, and whatever a command does around its heavy work is done once.
"""

import functools
import importlib
import inspect
import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

from torch.distributed.distributed_c10d import Store

from shiftscope.distributed.group import Group, group, hear, noticing_loss, tell, working_in
from shiftscope.errors import GroupError, ShiftscopeError, UsageError

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE = timedelta(seconds=10)
"""An error that does not arise in all processes within this time is one of single processes, and ends the work."""

_END = "end"


class Team:
    """The processes of a group in their parts of leader and followers.

    Args:
        here: which process this is.
        store: the processes' common store of `torch.distributed`.
        stop: asked by followers whether they were told to stop.
    """

    def __init__(self, here: Group, store: Store, stop: Any):
        self.group, self.store, self.stop = here, store, stop
        self.calls, self.broken = 0, False

    def lead(self, function: Callable[..., R], arguments: dict[str, Any], alone: tuple[str, ...]) -> R:
        """Call a function here and in all followers, which are not given the arguments named in `alone`."""
        if self.broken:
            raise GroupError("the processes that share the work are no longer in step after an earlier error: start "
                             "the command again")
        told = {name: value for name, value in arguments.items() if name not in alone}
        try:
            tell((f"{function.__module__}:{function.__qualname__}", told))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(f"{function.__name__} cannot be shared among processes, for an argument cannot be sent to "
                             f"them ({' '.join(str(error).split())}): define models and functions at the top of a "
                             "module, or use one process") from error
        return self._call(function, arguments)

    def follow(self) -> None:
        """Do what the leader asks for, until it says that all is done.

        Raises:
            GroupError: the leader is gone.
            ShiftscopeError: an error that arose here alone.
        """
        while (heard := hear()) != _END:
            name, arguments = heard
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
        """Let the followers go, at the end of the leader's work."""
        if not self.broken:
            tell(_END)

    def _call(self, function: Callable[..., R], arguments: dict[str, Any]) -> R:
        self.calls += 1
        try:
            with working_in(self.group), noticing_loss():
                return function(**arguments)
        except BaseException as error:
            if isinstance(error, ShiftscopeError) and not isinstance(error, GroupError):
                self._settle()
            else:
                self.broken = True
            raise

    def _settle(self) -> None:
        """Find out whether an error arose in all processes: then they are still in step."""
        key = f"shiftscope/failed/{self.calls}"
        try:
            self.store.set(f"{key}/{self.group.rank}", "")
            self.store.wait([f"{key}/{rank}" for rank in range(self.group.size)], PATIENCE)
        except RuntimeError:  # time is up, or the store is gone
            self.broken = True

    def may_speak(self) -> bool:
        """Return whether this process is the first that has something to say about a failure: one message is enough."""
        try:
            return self.store.add("shiftscope/spoken", 1) == 1
        except RuntimeError:  # the store went down with the first process
            return self.group.rank <= 1


_team: Team | None = None


def use_team(team: Team | None) -> None:
    """Let functions marked `@together` be shared from now on; None: no longer."""
    global _team
    _team = team


def together(*alone: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function that all processes of a group call together.

    Args:
        alone: names of arguments that concern the leading process alone: progress, folders, callbacks.

    Example:
        >>> @together("progress")
        ... def twice(number, progress=None):
        ...     return 2 * number
        >>> twice(4)
        8
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def shared(*args: P.args, **kwargs: P.kwargs) -> R:
            if _team is None or group().size > 1:
                return function(*args, **kwargs)
            return _team.lead(function, inspect.signature(function).bind(*args, **kwargs).arguments, alone)

        return shared

    return mark
