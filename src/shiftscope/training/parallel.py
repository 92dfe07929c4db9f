"""Training steps shared by the processes of a group: each computes a part of every batch.

A batch holds the same images for any number of processes, and `DistributedDataParallel` sums gradients over all of it.
So the number of processes changes a training only by rounding. The exception is batch norm, whose statistics are those
of each process's part.
"""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from shiftscope import hashing
from shiftscope.distributed import group, total
from shiftscope.errors import require
from shiftscope.hashing import Stream
from shiftscope.placement import Placement
from shiftscope.training.plan import Plan, compiled, compiling, planned_outputs, uses_all_parameters


@dataclass(frozen=True)
class Part:
    """The part of a batch that one process computes."""

    rows: slice
    weight: float
    """Factor of the loss that cancels the mean over processes; 0 for a row that only keeps the process in step."""


class _Placed(nn.Module):
    """A model with placement inside `forward`, which `DistributedDataParallel` hooks into."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement, plan: Plan) -> torch.Tensor:
        return planned_outputs(self.model, images, offsets, placement, plan)


class _Compiled(nn.Module):
    """A compiled model. It takes whole canvases: a `forward_placed` of the model is not used."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.compiled = compiled(model)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        with compiling():
            return self.compiled(pixels)


class ParallelModel:
    """A model that is trained by the current group of processes; with one process, it is the model itself.

    Args:
        model: the model at the start; all processes get the first one's weights.
        plan: how steps are computed, compilation included.
        batch_size: images per step, over all processes.
        images: some images uint8 (B, C, h, w) on the model's device, for trial passes.
        placement: where images may be placed.

    Raises:
        UsageError: if a batch has fewer images than there are processes.
    """

    def __init__(self, model: nn.Module, plan: Plan, batch_size: int, images: torch.Tensor, placement: Placement):
        self.group = group()
        require(batch_size >= self.group.size, "batch_size", batch_size,
                f"at least the number of processes, {self.group.size}, each of which computes a part of every batch")
        placed = _Placed(_Compiled(model) if plan.compiled else model)
        self.shared = None
        if self.group.size > 1:
            unused = not uses_all_parameters(model, images, placement, plan)
            self.shared = DistributedDataParallel(placed, find_unused_parameters=unused)
        self.outputs = self.shared or placed
        """Called as `planned_outputs`, without the model."""

    def part(self, count: int) -> Part:
        """Return this process's part of a batch of `count` images.

        >>> plan, place = Plan(micro_batch=0, channels_last=False, threads=1), Placement(image=(1, 1), canvas=(2, 2))
        >>> ParallelModel(nn.Linear(4, 1), plan, 8, torch.zeros(2, 1, 1, 1, dtype=torch.uint8), place).part(8)
        Part(rows=slice(0, 8, None), weight=1.0)
        """
        rank, size = self.group.rank, self.group.size
        rows = slice(count * rank // size, count * (rank + 1) // size)
        return Part(rows, float(size)) if rows.stop > rows.start else Part(slice(0, 1), 0.0)

    def dropout_seed(self, seed: int) -> int:
        """Return this process's own dropout seed; the first process keeps `seed`."""
        return seed if self.group.first else hashing.stream(Stream.RANK, seed, self.group.rank)

    def gradient_sync(self, *, last: bool) -> AbstractContextManager[None]:
        """Sum gradients over the group in the last micro-batch of a step only."""
        return nullcontext() if self.shared is None or last else self.shared.no_sync()

    @contextmanager
    def without_stride_warning(self) -> Iterator[None]:
        """Hide DDP's warning about filters with one channel, whose two memory layouts are identical."""
        with warnings.catch_warnings():
            if self.shared is not None:
                warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield

    def any_process(self, *values: bool) -> list[bool]:
        """Return, for each value, True if it is true in any process of the group."""
        return [bool(value) for value in total(torch.tensor(values, dtype=torch.int64)).tolist()]
