"""Start a command in several processes of this machine, as `torchrun` does, and join the group of such processes."""

import logging
import os
import platform
import signal
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.rendezvous import rendezvous

from shiftscope.distributed.group import Group, gathered, lost_process_errors, use_group
from shiftscope.distributed.together import Team, use_team
from shiftscope.errors import GroupError, UsageError
from shiftscope.resolve import safe_path

GRACE = 20
"""Seconds that the other processes have to end after one has died, or after Ctrl-C."""

JOIN_TIMEOUT = timedelta(seconds=60)

CALL_TIMEOUT = timedelta(days=7)
"""Followers wait this long for the leader's next call; if a process ends, its connection closes."""


def launch(arguments: Sequence[str], count: int, mark: str) -> int:
    """Run `shiftscope` with `arguments` in `count` processes and wait for them.

    Unless OMP_NUM_THREADS is set, the cores are divided among the processes.

    Args:
        mark: environment variable that is set for the processes.

    Returns:
        The exit code; if it is not 0, a process has reported why.

    Raises:
        GroupError: if a process was killed; the others are then ended.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    os.environ[mark] = "1"
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=count, run_id=uuid.uuid4().hex, max_restarts=0,
                          rdzv_backend="c10d", rdzv_endpoint="localhost:0", logs_specs=DefaultLogsSpecs(),
                          shutdown_timeout=GRACE)
    try:
        logging.disable()  # PyTorch's agent logs what is reported here
        with safe_path():
            elastic_launch(config, sys.executable)("-m", "shiftscope", *arguments)
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        code = reported_code(codes)
        if code is None:
            raise lost_process(codes, count) from error
        return code
    except SignalException as error:
        return 128 + error.sigval
    finally:
        logging.disable(logging.NOTSET)
        del os.environ[mark]
    return 0


def reported_code(codes: Mapping[int, int]) -> int | None:
    """Return the exit code of the first process that failed with its own message; None if a process was lost.

    Args:
        codes: exit codes by rank, of the processes that failed first; negative ones are signals.

    Example:
        >>> reported_code({0: 2, 1: 2}), reported_code({0: 5, 1: -9})
        (2, None)
    """
    if min(codes.values()) < 0:
        return None
    return next((code for _, code in sorted(codes.items()) if code != GroupError.exit_code), None)


def lost_process(codes: Mapping[int, int], count: int) -> GroupError:
    """Return the error that names which of `count` processes was lost, and how.

    >>> str(lost_process({0: -15, 1: -9, 2: 5}, 3)).partition(",")[0]
    'process 2 of 3 was ended by SIGKILL'
    """
    rank = min(codes, key=lambda each: (codes[each] >= 0, codes[each] == -signal.SIGTERM))  # SIGTERM ends the others
    number = -codes[rank]
    how = f"was ended by {signal.Signals(number).name}" if number > 0 else "lost its connection to the others"
    why = ", possibly because memory ran out" if number == signal.SIGKILL else ""
    return GroupError(f"process {rank + 1} of {count} {how}{why}, and the others were ended with it; saved checkpoints "
                      "and results are kept: run the command again, with --resume if it has that option")


@contextmanager
def join_group(stop: Any) -> Iterator[Team]:
    """Join the processes that RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT describe, as set by `torchrun`.

    With GPUs, each process takes the one of its LOCAL_RANK.

    Args:
        stop: flag that followers check between steps.

    Raises:
        UsageError: if the port is in use or there are more processes than GPUs.
        GroupError: if the other processes do not connect in time.
    """
    store, own = _connect()
    backend = "cpu:gloo,cuda:nccl" if _take_gpu() else "gloo"
    dist.init_process_group(backend, store=store, rank=own.rank, world_size=own.size, timeout=CALL_TIMEOUT)
    team = Team(own, store, stop)
    try:
        use_team(team)
        yield team
    finally:
        use_team(None)
        if not team.broken:
            dist.destroy_process_group()


def check_same_arguments(team: Team, arguments: Sequence[str], version: str) -> None:
    """Raise a `UsageError` in all processes if their arguments or versions differ."""
    versions = {"shiftscope": version, "torch": torch.__version__, "python": platform.python_version()}
    with use_group(team.group), lost_process_errors():
        every = gathered((versions, list(arguments)))
    first_versions, first_arguments = every[0]
    for rank, (others, words) in enumerate(every):
        for name, value in others.items():
            if value != first_versions[name]:
                raise UsageError(f"process {rank} runs {name} {value} and process 0 {name} {first_versions[name]}; "
                                 "install the same versions for all processes")
        if words != first_arguments:
            raise UsageError(f"process {rank} was started as `shiftscope {' '.join(words)}` and process 0 as "
                             f"`shiftscope {' '.join(first_arguments)}`; start all processes with the same arguments")


def _connect() -> tuple[Store, Group]:
    address = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=JOIN_TIMEOUT)))
    except ValueError as error:
        raise UsageError("the variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT must be those that torchrun "
                         f"sets: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise UsageError(f"the port of {address} is in use; choose another one with MASTER_PORT, or torchrun's "
                             "--master-port") from error
        raise GroupError(f"the processes did not connect at {address} within {JOIN_TIMEOUT.seconds} seconds "
                         f"({' '.join(str(error).split())[:160]}); check MASTER_ADDR and MASTER_PORT, and that all "
                         "were started") from error
    return store, Group(rank=rank, size=size)


def _take_gpu() -> bool:
    """Select this process's GPU; return False if there are none."""
    if not torch.cuda.is_available():
        return False
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= gpus:
        raise UsageError(f"process {local} of this machine has no GPU because there are {gpus}; start at most {gpus} "
                         "processes, or hide the GPUs with CUDA_VISIBLE_DEVICES= to use the CPU")
    torch.cuda.set_device(local)
    return True
