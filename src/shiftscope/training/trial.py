"""A short timed trial of the micro-batch size for this machine, model and image size.

The result is stored in the user's cache folder, so that a machine chooses once and later runs with the same seed are
bit-identical. On two cores with 2 MiB of second-level cache each, 32 to 125 images per pass differ by less than 5 % for
the course's convnet, and 8 take 40 % longer. The trial is for machines with less cache.
"""

import copy
import hashlib
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import platformdirs
import torch
from torch import nn

from shiftscope import files
from shiftscope.errors import OutputError
from shiftscope.reading import read_json
from shiftscope.training.plan import Plan

REPAYS = 60.0
"""Shorter trainings, in seconds by the given plan, get no trial; from here on, a gain of 5 % repays it."""

BUDGET = 2.0
"""Seconds after which no further candidate is tried."""

CLEARLY = 0.95
"""A candidate must take at most this fraction of the plan's own time; smaller gains are noise."""

CACHE_VERSION = 1

Pass = Callable[[nn.Module, Plan], None]
"""One forward and backward pass over a training batch, in the plan's micro-batches."""


def tried_plan(model: nn.Module, plan: Plan, batch: int, steps: int, shape: tuple[int, ...],
               one_batch: Pass) -> tuple[Plan, str | None]:
    """Return the plan with the fastest micro-batch, and a note if it was measured or read from the cache.

    Only plans that split batches on the CPU are tried, on a copy of the model.

    Args:
        batch: images per optimizer step.
        steps: optimizer steps of the training.
        shape: (C, H, W) of the canvases.
        one_batch: computes the gradients of one batch.
    """
    sizes = candidates(plan, batch)
    if not sizes:
        return plan, None
    key = _key(model, plan, batch, shape)
    cached = _read().get(key)
    if cached in sizes:
        note = f"micro-batches of {cached} images, by an earlier trial on this machine"
        return replace(plan, micro_batch=cached), note
    try:
        twin = copy.deepcopy(model)
    except Exception:  # a user's model may raise anything
        return plan, None
    seconds = _measure(twin.train(), plan, sizes, steps, one_batch)
    if min(seconds.values(), default=math.inf) == math.inf:
        return plan, None
    best = choose(seconds, sizes[0])
    _remember(key, best)
    failed = ", ".join(str(size) for size, value in seconds.items() if value == math.inf)
    return replace(plan, micro_batch=best), f"micro-batches of {best} images, by a trial on this machine" + (
        f" ({failed} failed, out of memory perhaps)" if failed else "")


def candidates(plan: Plan, batch: int) -> list[int]:
    """Return the sizes to try, the plan's own first; none if the plan does not split batches.

    >>> candidates(Plan(micro_batch=125, channels_last=True, threads=2), 250)
    [125, 62, 32]
    """
    own = min(plan.micro_batch, batch)
    return [own, *(size for size in (own // 2, own // 4 + 1) if size >= 1 and size != own)] if own else []


def choose(seconds: dict[int, float], own: int) -> int:
    """Return the fastest size; the plan's own unless another is clearly faster or the own one failed (infinity).

    >>> choose({125: 1.0, 62: 0.97}, 125), choose({125: 1.0, 62: 0.9}, 125), choose({125: math.inf, 62: 9.0}, 125)
    (125, 62, 62)
    """
    best = min(seconds, key=lambda size: seconds[size])
    return best if seconds[best] <= CLEARLY * seconds[own] else own


def _measure(model: nn.Module, plan: Plan, sizes: list[int], steps: int, one_batch: Pass) -> dict[int, float]:
    """Return seconds per batch by size, infinity if out of memory; empty if the training is short."""
    seconds: dict[int, float] = {}
    begun = time.perf_counter()
    for size in sizes:
        try:
            taken = _least_of_two(model, replace(plan, micro_batch=size), one_batch)
        except (MemoryError, RuntimeError):  # torch's allocator raises RuntimeError or a child of it
            taken = math.inf
        finally:
            model.zero_grad(set_to_none=True)
        if size == sizes[0] and taken * steps < REPAYS:
            return {}
        seconds[size] = taken
        if time.perf_counter() - begun > BUDGET:
            break
    return seconds


def _least_of_two(model: nn.Module, plan: Plan, one_batch: Pass) -> float:
    one_batch(model, plan)  # the first pass allocates
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        one_batch(model, plan)
        taken.append(time.perf_counter() - begun)
    return min(taken)


# ---------------------------------------------------------------------- the cache

class _Cache(TypedDict):
    schema_version: int
    micro_batch: dict[str, int]


def cache_file() -> Path:
    """Return the file of stored trials; it may not exist."""
    return platformdirs.user_cache_path("shiftscope", appauthor=False) / "trials.json"


def _key(model: nn.Module, plan: Plan, batch: int, shape: tuple[int, ...]) -> str:
    """Return a hash of all that a trial depends on: machine, torch, model, batch, image size, plan."""
    shapes = [(name, tuple(value.shape), str(value.dtype)) for name, value in model.named_parameters()]
    machine = (platform.node(), platform.machine(), os.cpu_count(), torch.backends.cpu.get_cpu_capability())
    identity = (machine, torch.__version__, type(model).__name__, shapes, batch, shape, plan)
    return hashlib.sha256(repr(identity).encode()).hexdigest()[:32]


def _read() -> dict[str, int]:
    """Return the stored trials; none if the file is missing, corrupt or from another version."""
    try:
        stored = read_json(cache_file(), _Cache)
    except OSError:
        return {}
    return stored["micro_batch"] if stored["schema_version"] == CACHE_VERSION else {}


def _remember(key: str, size: int) -> None:
    try:
        files.write_json(cache_file(), {"schema_version": CACHE_VERSION, "micro_batch": _read() | {key: size}})
    except OutputError:  # read-only home: the next training tries again
        return
