"""Starting a command in several processes of this machine, as `torchrun` does."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Mapping, Sequence

from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from shiftscope.errors import GroupError
from shiftscope.resolve import safe_path

GRACE = 20
"""Seconds that the others have to end after one has died, or after Ctrl-C."""


def launch(arguments: Sequence[str], count: int, mark: str) -> int:
    """Run `shiftscope` with `arguments` in `count` processes and wait for them.

    Where OMP_NUM_THREADS says nothing else, each computes with its share of the cores.

    Args:
        mark: variable that tells the processes that they were started here.

    Returns:
        The exit code; where it is not 0, a process has said why.

    Raises:
        GroupError: one was killed, and the others were ended.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ[mark] = "1"
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, max_restarts=0,
                          rdzv_backend="c10d", rdzv_endpoint="localhost:0", logs_specs=DefaultLogsSpecs(),
                          shutdown_timeout=GRACE)
    try:
        logging.disable()  # of PyTorch's agent, which tells in other words what is told here
        with safe_path():
            elastic_launch(config, sys.executable)("-m", "shiftscope", *arguments)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        told = told_code(codes)
        if told is None:
            raise lost_process(codes, count) from error
        return told
    except SignalException as error:
        return 128 + error.sigval
    finally:
        logging.disable(logging.NOTSET)
        del os.environ[mark]
    return 0


def told_code(codes: Mapping[int, int]) -> int | None:
    """Return the exit code of the first process that failed with a message of its own; None where one was lost.

    Args:
        codes: exit codes by number of the process, of those that failed first; negative ones are signals.

    Example:
        >>> told_code({0: 2, 1: 2}), told_code({0: 5, 1: -9})
        (2, None)
    """
    if min(codes.values()) < 0:
        return None
    return next((code for _, code in sorted(codes.items()) if code != GroupError.exit_code), None)


def lost_process(codes: Mapping[int, int], count: int) -> GroupError:
    """Return the error that says which of `count` processes was lost, and how.

    >>> str(lost_process({0: -15, 1: -9, 2: 5}, 3)).partition(",")[0]
    'process 2 of 3 was ended by SIGKILL'
    """
    rank = min(codes, key=lambda each: (codes[each] >= 0, codes[each] == -signal.SIGTERM))  # as the others are ended
    number = -codes[rank]
    how = f"was ended by {signal.Signals(number).name}" if number > 0 else "lost its connection to the others"
    why = ", perhaps for want of memory" if number == signal.SIGKILL else ""
    return GroupError(f"process {rank + 1} of {count} {how}{why}, and the others were ended with it; checkpoints and "
                      "results that were saved before stand: start the command again, with --resume where it has that")
