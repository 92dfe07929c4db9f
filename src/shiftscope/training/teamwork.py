"""How the processes of a group share the steps of a training: each takes its part of every batch.

A batch holds the same images whatever the number of processes, and gradients are added up over all of it, by
`DistributedDataParallel`. So a training takes the same way with any number of processes, to rounding; only batch norm
differs, whose statistics are those of each process's part.
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
    """What a process does of a batch."""

    rows: slice
    weight: float
    """What the loss is multiplied by, against the mean over processes that follows; 0 for a row that is only there
    because every process must take part."""


class _Placed(nn.Module):
    """A model that is asked about placed images through `forward`, which `DistributedDataParallel` watches."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement, plan: Plan) -> torch.Tensor:
        return planned_outputs(self.model, images, offsets, placement, plan)


class _Compiled(nn.Module):
    """A compiled model. Canvases are laid outside of it, and a `forward_placed` of the model is not asked."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.compiled = compiled(model)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        with compiling():
            return self.compiled(pixels)


class Teamwork:
    """The training's side of the group it runs in; alone, it changes nothing.

    Args:
        model: as it is when the training begins: the others are given the first process's weights.
        plan: how steps are computed; it says whether the model is compiled.
        batch_size: images of a step, of all processes together.
        few: some images uint8 (B, C, h, w) on the model's device, to try it on.
        placement: where images may lie.

    Raises:
        UsageError: a batch has fewer images than there are processes.
    """

    def __init__(self, model: nn.Module, plan: Plan, batch_size: int, few: torch.Tensor, placement: Placement):
        self.group = group()
        require(batch_size >= self.group.size, "batch_size", batch_size,
                f"at least the number of processes, {self.group.size}, each of which takes a part of every batch")
        placed = _Placed(_Compiled(model) if plan.compiled else model)
        self.shared = None
        if self.group.size > 1:
            unused = not uses_all_parameters(model, few, placement, plan)
            self.shared = DistributedDataParallel(placed, find_unused_parameters=unused)
        self.whole = self.shared or placed

    def part(self, count: int) -> Part:
        """Return what this process does of a batch of `count` images.

        >>> plan, place = Plan(micro_batch=0, channels_last=False, threads=1), Placement(image=(1, 1), canvas=(2, 2))
        >>> Teamwork(nn.Linear(4, 1), plan, 8, torch.zeros(2, 1, 1, 1, dtype=torch.uint8), place).part(8)
        Part(rows=slice(0, 8, None), weight=1.0)
        """
        rank, size = self.group.rank, self.group.size
        rows = slice(count * rank // size, count * (rank + 1) // size)
        return Part(rows, float(size)) if rows.stop > rows.start else Part(slice(0, 1), 0.0)

    def seed(self, seed: int) -> int:
        """Return what dropout is seeded with in this process: each draws its own, the first as if it were alone."""
        return seed if self.group.first else hashing.stream(Stream.RANK, seed, self.group.rank)

    def outputs(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement, plan: Plan) -> torch.Tensor:
        """Return the model's outputs, see `planned_outputs`."""
        return self.whole(images, offsets, placement, plan)

    def summing(self, *, last: bool) -> AbstractContextManager[None]:
        """Add up gradients over the group only in the last micro-batch of a step."""
        return nullcontext() if self.shared is None or last else self.shared.no_sync()

    @contextmanager
    def unwarned(self) -> Iterator[None]:
        """Hide what DDP says of filters of one channel, whose two memory layouts are the same: nothing is slower."""
        with warnings.catch_warnings():
            if self.shared is not None:
                warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield

    def agree(self, *values: bool) -> list[bool]:
        """Return which of the values are true in any process."""
        return [bool(value) for value in total(torch.tensor(values, dtype=torch.int64)).tolist()]
