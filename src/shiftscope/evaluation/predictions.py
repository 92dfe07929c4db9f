"""Predictions of a model for a set of images, each at one placement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from shiftscope.data.base import ImageSet
from shiftscope.distributed import group, total
from shiftscope.hooks import channels_last
from shiftscope.models.forward import device_and_dtype, evaluating, placed_outputs
from shiftscope.outputs import as_floats, classify, top_two
from shiftscope.placement import Placement
from shiftscope.progress import Task

BATCH = 125
"""Images a forward pass: large enough for GPUs' and CPUs' matrix products, small enough for a CPU's caches."""


@dataclass(frozen=True)
class Predictions:
    """The predictions of a model for N images, on the CPU."""

    classes: torch.Tensor
    """int64 (N,), -1 where the prediction is non-finite."""
    confidence: torch.Tensor
    """float32 (N,), probability of the predicted class; 0 where the prediction is non-finite."""
    gaps: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    """float64 (N,), the largest output less the second largest: 0 is an exact tie, NaN non-finite."""

    def right(self, labels: torch.Tensor) -> torch.Tensor:
        """Return bool (N,): predicted class equals label."""
        return self.classes == labels

    def ties(self, tolerance: float) -> dict[str, int]:
        """Return the number of exact ties, and of near ties: gaps above 0 and at most `tolerance`."""
        return {"exact_ties": int((self.gaps == 0).sum()),
                "ties": int(((self.gaps > 0) & (self.gaps <= tolerance)).sum())}


def predict(model: nn.Module, images: ImageSet, offsets: torch.Tensor, placement: Placement, *,
            output_type: str = "logits", task: Task | None = None) -> Predictions:
    """Ask the model, in eval mode, about every image at its offset; a group of processes shares the batches.

    Args:
        offsets: int64 (N, 2), one an image.
        output_type: what the model returns, see `outputs.probabilities`.
        task: advanced by the number of images done.

    Returns:
        One class and one confidence an image, in order.
    """
    device, _ = device_and_dtype(model)
    here, count = group(), len(images)
    classes = torch.zeros(count, dtype=torch.int64, device=device)
    confidence = torch.zeros(count, device=device)
    gaps = torch.zeros(count, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)

    def ask(begin: int, end: int, last: bool) -> torch.Tensor:
        batch = images.gather(torch.arange(begin, end)).to(device)
        return placed_outputs(model, batch, offsets[begin:end].to(device), placement, channels_last=last)

    with evaluating(model), _layout(model, lambda: ask(0, min(2, len(images)), True)) as last:
        for begin in range(BATCH * here.rank, count, BATCH * here.size):
            end = min(begin + BATCH, count)
            outputs = as_floats(ask(begin, end, last))
            classes[begin:end], confidence[begin:end] = classify(outputs, output_type)
            _, best, second = top_two(outputs)
            gaps[begin:end] = best.to(gaps.dtype) - second
            if task is not None:
                task.advance(min(BATCH * here.size, count - BATCH * (begin // BATCH - here.rank)))
    return Predictions(total(classes).cpu(), total(confidence).cpu(), total(gaps).cpu().double())


@contextmanager
def _layout(model: nn.Module, trial: Callable[[], object]) -> Iterator[bool]:
    """Keep a convnet's filters channels last where it takes such pictures, which a `view` of its own may not.

    Args:
        trial: asks the model about a few pictures in that layout.

    Yields:
        Whether pictures shall be channels last.
    """
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        yield False
        return
    with channels_last(model):
        try:
            trial()
            taken = True
        except RuntimeError:  # an error that has other causes comes again in the usual layout
            taken = False
        if taken:
            yield True
    if not taken:
        yield False
