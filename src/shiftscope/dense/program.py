"""A list of steps from the pixels' field to the logits' field, fixed before the first image is seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from shiftscope.dense.field import Field, Windows

Compute = Callable[..., torch.Tensor]
Shape = tuple[int, ...]
"""Of an operation's result, as traced with `BATCH` images."""


@dataclass(frozen=True, eq=False)
class Step:
    """One computation: `compute` takes the tensors in the slots `sources`, its result goes into slot `slot`."""

    slot: int
    sources: tuple[int, ...]
    compute: Compute
    in_place: Compute | None
    """The same, allowed to write into its first source."""
    fresh: bool
    """Whether the result owns its memory."""


class Program:
    """Steps, in order. Rules add to it while they walk over a model's graph.

    Args:
        windows: whose logits it computes.
        dtype, device: of all numbers.
    """

    def __init__(self, windows: Windows, dtype: torch.dtype, device: torch.device):
        self.windows, self.dtype, self.device = windows, dtype, device
        self.steps: list[Step] = []
        self.floats = 0
        """Numbers of the largest tensor, for one image."""

    def add(self, like: Field, sources: Sequence[Field], compute: Compute, *, in_place: Compute | None = None,
            fresh: bool = True, **changes: Any) -> Field:
        """Append a step and return its result: the field `like`, with `changes`, in a slot of its own."""
        result = replace(like, slot=len(self.steps) + 1, **changes)
        slots = tuple(source.slot for source in sources)
        self.steps.append(Step(result.slot, slots, compute, in_place, fresh))
        self.floats = max(self.floats, result.channels * result.size[0] * result.size[1])
        return result

    def compiled(self, result: Field) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the function from the input's numbers to those of `result`; it lets go of tensors early."""
        last = {slot: step.slot for step in self.steps for slot in step.sources} | {result.slot: len(self.steps) + 1}
        seen_by_views = {source for step in self.steps if not step.fresh for source in step.sources}
        fresh = ({0} | {step.slot for step in self.steps if step.fresh}) - seen_by_views
        plan = [self._planned(step, last, fresh) for step in self.steps if step.slot in last]

        def run(data: torch.Tensor) -> torch.Tensor:
            slots = {0: data}
            for slot, sources, compute, done in plan:
                slots[slot] = compute(*(slots[source] for source in sources))
                for source in done:
                    del slots[source]
            return slots[result.slot]

        return run

    def _planned(self, step: Step, last: dict[int, int], fresh: set[int]) -> tuple[int, tuple[int, ...], Compute, Any]:
        done = tuple({source for source in step.sources if last[source] == step.slot})
        own = step.in_place is not None and step.sources[0] in fresh and step.sources[0] in done
        return step.slot, step.sources, step.in_place if own and step.in_place else step.compute, done


Rule = Callable[[Program, dict[str, Any], Shape], Field]
"""Adds to the program what an operation with these arguments does, fields in the place of its inputs."""
