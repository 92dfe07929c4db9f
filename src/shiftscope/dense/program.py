"""A list of steps from the field of the pixels to the field of the outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftscope.dense.field import Field, Windows

Compute = Callable[..., torch.Tensor]
Shape = tuple[int, ...]
"""Shape of an operation's result for a batch of `graph.BATCH` images."""


@dataclass(frozen=True, eq=False)
class Step:
    """One computation: `compute` takes the tensors in the slots `sources`; its result is stored in `slot`."""

    slot: int
    sources: tuple[int, ...]
    compute: Compute
    in_place: Compute | None
    """The same computation, which may overwrite its first source."""
    fresh: bool
    """True if the result owns its memory."""


class Program:
    """Steps in order. Rules add steps while a model's graph is traversed.

    Args:
        windows: windows whose outputs are computed.
        dtype, device: of all values.

    Attributes:
        floats: number of values of the largest tensor for one image.
    """

    def __init__(self, windows: Windows, dtype: torch.dtype, device: torch.device):
        self.windows, self.dtype, self.device = windows, dtype, device
        self.steps: list[Step] = []
        self.floats = 0

    def add(self, like: Field, sources: Sequence[Field], compute: Compute, *, in_place: Compute | None = None,
            fresh: bool = True, **changes: Any) -> Field:
        """Append a step and return its result: the field `like`, with `changes`, in a new slot."""
        result = replace(like, slot=len(self.steps) + 1, **changes)
        self.steps.append(Step(result.slot, tuple(source.slot for source in sources), compute, in_place, fresh))
        self.floats = max(self.floats, result.channels * result.size[0] * result.size[1])
        return result

    def compiled(self, result: Field) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function from the values of the input to those of `result`; it releases tensors early."""
        last = {slot: step.slot for step in self.steps for slot in step.sources} | {result.slot: len(self.steps) + 1}
        viewed = {source for step in self.steps if not step.fresh for source in step.sources}
        fresh = ({0} | {step.slot for step in self.steps if step.fresh}) - viewed
        plan = []
        for step in (step for step in self.steps if step.slot in last):
            done = tuple({source for source in step.sources if last[source] == step.slot})
            owned = step.sources[0] in fresh and step.sources[0] in done
            plan.append((step.slot, step.sources, step.in_place if owned and step.in_place else step.compute, done))

        def run(data: torch.Tensor) -> torch.Tensor:
            slots = {0: data}
            for slot, sources, compute, done in plan:
                slots[slot] = compute(*(slots[source] for source in sources))
                for source in done:
                    del slots[source]
            return slots[result.slot]

        return run


Rule = Callable[[Program, dict[str, Any], Shape], Field]
"""Adds an operation to the program, from its arguments (with fields as inputs) and the shape of its result."""
