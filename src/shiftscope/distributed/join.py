"""Joining the group that `torchrun` started this process for."""

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from shiftscope.distributed.group import Group, gathered, noticing_loss, working_in
from shiftscope.distributed.together import Team, use_team
from shiftscope.errors import GroupError, UsageError

FOUND = timedelta(seconds=60)
"""Time for all processes to find each other."""

WAIT = timedelta(days=7)
"""Followers wait so long for the leader's next call: the end of a process is noticed by its closed connection."""


@contextmanager
def joined(stop: Any) -> Iterator[Team]:
    """Be one of the processes that `torchrun`'s variables speak of: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT.

    On GPUs, each process takes the one of its LOCAL_RANK.

    Args:
        stop: asked by followers whether they were told to stop.

    Raises:
        UsageError: a port in use; more processes than GPUs.
        GroupError: the others were not found in time.
    """
    store, here = _meet()
    backend = "cpu:gloo,cuda:nccl" if _take_gpu() else "gloo"
    dist.init_process_group(backend, store=store, rank=here.rank, world_size=here.size, timeout=WAIT)
    team = Team(here, store, stop)
    try:
        use_team(team)
        yield team
    finally:
        use_team(None)
        if not team.broken:
            dist.destroy_process_group()


def check_alike(team: Team, told: Sequence[str], version: str) -> None:
    """Raise a `UsageError` in all processes where one was given other arguments or runs other versions."""
    versions = {"shiftscope": version, "torch": torch.__version__, "python": platform.python_version()}
    with working_in(team.group), noticing_loss():
        found = gathered((versions, list(told)))
    first_versions, first_told = found[0]
    for rank, (others, words) in enumerate(found):
        for name, value in others.items():
            if value != first_versions[name]:
                raise UsageError(f"process {rank} runs {name} {value} and process 0 {name} {first_versions[name]}: "
                                 "install the same versions for all processes")
        if words != first_told:
            raise UsageError(f"process {rank} was given `shiftscope {' '.join(words)}` and process 0 `shiftscope "
                             f"{' '.join(first_told)}`: start all processes with the same arguments")


def _meet() -> tuple[Store, Group]:
    where = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
    try:
        store, rank, size = next(iter(rendezvous("env://", timeout=FOUND)))
    except ValueError as error:
        raise UsageError("the variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT must be those that torchrun "
                         f"sets: {' '.join(str(error).split())}") from error
    except RuntimeError as error:
        if "EADDRINUSE" in str(error) or "already in use" in str(error):
            raise UsageError(f"the port of {where} is in use: choose another one with MASTER_PORT, or torchrun's "
                             "--master-port") from error
        raise GroupError(f"the processes did not find each other at {where} within {FOUND.seconds} seconds "
                         f"({' '.join(str(error).split())[:160]}): check MASTER_ADDR and MASTER_PORT, and that all "
                         "were started") from error
    return store, Group(rank=rank, size=size)


def _take_gpu() -> bool:
    """Take this process's GPU where there are any; return whether there are."""
    if not torch.cuda.is_available():
        return False
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= there:
        raise UsageError(f"process {local} of this machine finds no GPU of its own, there are {there}: start at most "
                         f"{there} processes, or hide the GPUs with CUDA_VISIBLE_DEVICES= to share the processor")
    torch.cuda.set_device(local)
    return True
