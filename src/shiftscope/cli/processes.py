"""Run a command in several processes: the first one leads, the others follow."""

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

from shiftscope.cli.failures import explain
from shiftscope.errors import GroupError, UsageError

if TYPE_CHECKING:
    from shiftscope.distributed.together import Team

LAUNCHED = "_SHIFTSCOPE_LAUNCHED"
"""Variable in processes that `--devices` started; their launcher reports why one of them ended."""

GRACE = 5.0
"""Seconds in which a process that receives SIGTERM may still report why the work ended."""


def processes_started() -> int:
    """Return the number of processes that `torchrun` or a similar launcher started for this command."""
    size = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ else "1"
    if not size.isdecimal() or int(size) < 1:
        raise UsageError(f"the variable WORLD_SIZE must be an integer of at least 1, as torchrun sets it, got "
                         f"{size!r}")
    return int(size)


def is_one_of_several() -> bool:
    """Return True if this process shares its command with others."""
    return processes_started() > 1


def must_start_processes(devices: int) -> bool:
    """Return True if `--devices` requires processes that have not been started.

    Raises:
        UsageError: if another number of processes was started.
    """
    started = processes_started()
    if devices > 1 and started not in (1, devices):
        raise UsageError(f"devices must equal the number of started processes, {started}, got {devices}: omit "
                         "--devices under torchrun")
    return devices > 1 and started == 1


def run_together(arguments: Sequence[str], command: Callable[[], int]) -> int:
    """Run a command as one of several processes, as the leader or a follower, and return the exit code."""
    from shiftscope import __version__
    from shiftscope.distributed.launch import check_same_arguments, join_group
    from shiftscope.training.stopping import StopFlag

    flag, code = StopFlag(), 0
    with _grace_period(), join_group(flag) as team:
        try:
            check_same_arguments(team, arguments, __version__)
            if team.group.first:
                code = _lead(team, command)
            else:
                with flag.listening():
                    team.follow()
        except (Exception, KeyboardInterrupt) as error:
            code = _explain_once(error, team)
        if team.broken:
            _leave(code)
    return code


@contextlib.contextmanager
def _grace_period() -> Iterator[None]:
    """End within `GRACE` seconds of SIGTERM instead of immediately.

    When one process dies, torchrun sends SIGTERM to the others within a tenth of a second. Without the delay, they
    could be gone before they report it.
    """

    def end_later(signal_number: int, frame: object) -> None:
        timer = threading.Timer(GRACE, os._exit, (128 + signal_number,))
        timer.daemon = True
        timer.start()

    before = signal.signal(signal.SIGTERM, end_later)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(code: int) -> NoReturn:
    """Exit immediately: closing a group whose other processes ended may abort the interpreter, or block."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _lead(team: "Team", command: Callable[[], int]) -> int:
    try:
        code = command()
        sys.stdout.flush()
    finally:
        team.release()
    return code


def _explain_once(error: BaseException, team: "Team") -> int:
    """Return the exit code; print the error unless another process or the launcher prints it."""
    printed_by_launcher = isinstance(error, GroupError) and LAUNCHED in os.environ
    must_print = not printed_by_launcher and team.is_first_to_report()
    with contextlib.nullcontext() if must_print else contextlib.redirect_stderr(io.StringIO()):
        return explain(error)
