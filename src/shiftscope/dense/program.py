"""A list of steps from input tensors to results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftscope.dense.field import Field

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
        dtype, device: of all values.
        inputs: number of input tensors, which have the first slots; steps may overwrite them.

    Attributes:
        floats: number of values of the largest tensor for one image.
    """

    def __init__(self, dtype: torch.dtype, device: torch.device, inputs: int = 1):
        self.dtype, self.device, self.inputs = dtype, device, inputs
        self.steps: list[Step] = []
        self.floats = 0

    def append(self, sources: Sequence[int], compute: Compute, *, in_place: Compute | None = None,
               fresh: bool = True) -> int:
        """Append a step and return the slot of its result."""
        self.steps.append(Step(self.inputs + len(self.steps), tuple(sources), compute, in_place, fresh))
        return self.steps[-1].slot

    def add(self, like: Field, sources: Sequence[Field], compute: Compute, *, in_place: Compute | None = None,
            fresh: bool = True, **changes: Any) -> Field:
        """Append a step and return its result: the field `like`, with `changes`, in a new slot."""
        slot = self.append([source.slot for source in sources], compute, in_place=in_place, fresh=fresh)
        result = replace(like, slot=slot, **changes)
        self.floats = max(self.floats, result.values)
        return result

    def compiled(self, results: Sequence[int]) -> Callable[..., list[torch.Tensor]]:
        """Return the function from the inputs to the results; it releases tensors early."""
        needed, plan = set(results), []
        for step in reversed(self.steps):
            if step.slot in needed:
                plan.insert(0, step)
                needed.update(step.sources)
        last = {slot: step.slot for step in plan for slot in step.sources} | dict.fromkeys(results)
        viewed = {source for step in plan if not step.fresh for source in step.sources}
        fresh = {*range(self.inputs), *(step.slot for step in plan if step.fresh)} - viewed
        calls = []
        for step in plan:
            done = tuple({source for source in step.sources if last[source] == step.slot})
            owned = bool(step.sources) and step.sources[0] in fresh and step.sources[0] in done
            calls.append((step.slot, step.sources, step.in_place if owned and step.in_place else step.compute, done))

        def run(*inputs: torch.Tensor) -> list[torch.Tensor]:
            slots = dict(enumerate(inputs))
            for slot, sources, compute, done in calls:
                slots[slot] = compute(*(slots[source] for source in sources))
                for source in done:
                    del slots[source]
            return [slots[slot] for slot in results]

        return run


Rule = Callable[[Program, dict[str, Any], Shape], Field]
"""Adds an operation to the program, from its arguments (with fields as inputs) and the shape of its result."""
