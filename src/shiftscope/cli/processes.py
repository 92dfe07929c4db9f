"""A command in several processes: the first one runs it, the others follow."""

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
"""Set where `--devices` started the processes: what ended one of them is then told by the one that started them."""

GRACE = 5.0
"""Seconds in which a process that receives SIGTERM may still report why the work ended."""


def processes_started() -> int:
    """Return how many processes `torchrun`, or another launcher of its kind, has started for this command."""
    size = os.environ.get("WORLD_SIZE", "1") if "RANK" in os.environ else "1"
    if not size.isdecimal() or int(size) < 1:
        raise UsageError(f"the variable WORLD_SIZE must be a whole number of at least 1, as torchrun sets it, got "
                         f"{size!r}")
    return int(size)


def is_one_of_several() -> bool:
    """Return whether this process shares its command with others."""
    return processes_started() > 1


def starts_several(devices: int) -> bool:
    """Return whether `--devices` asks for processes that are still to be started.

    Raises:
        UsageError: other ones were started than the option asks for.
    """
    started = processes_started()
    if devices > 1 and started not in (1, devices):
        raise UsageError(f"devices must be the number of processes that were started, {started}, got {devices}: leave "
                         "--devices out under torchrun")
    return devices > 1 and started == 1


def run_together(arguments: Sequence[str], command: Callable[[], int]) -> int:
    """Run a command as one of several processes and return the exit code: lead, or follow the one that does."""
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
    """End at once: taking down a group whose other processes are gone may abort the interpreter, or wait for them."""
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
    """Return the exit code; say what went wrong unless another process, or the one that started us, does."""
    told_by_launcher = isinstance(error, GroupError) and LAUNCHED in os.environ
    aloud = not told_by_launcher and team.is_first_to_report()
    with contextlib.nullcontext() if aloud else contextlib.redirect_stderr(io.StringIO()):
        return explain(error)
