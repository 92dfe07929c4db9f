"""Predictions of a model for a set of images, each at one placement."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from shiftscope.data.base import ImageSet
from shiftscope.distributed import group, total
from shiftscope.hooks import channels_last
from shiftscope.models.forward import evaluating, home, placed_outputs
from shiftscope.placement import Placement
from shiftscope.progress import Task

BATCH = 125
"""Images a forward pass: large enough for GPUs' and CPUs' matrix products, small enough for a CPU's caches."""


@dataclass(frozen=True)
class Predictions:
    """What a model answered for N images, on the CPU."""

    classes: torch.Tensor
    """int64 (N,), -1 where an output is not finite."""
    confidence: torch.Tensor
    """float32 (N,), softmax probability of the predicted class; 0 where an output is not finite."""

    def right(self, labels: torch.Tensor) -> torch.Tensor:
        """Return bool (N,): predicted class equals label."""
        return self.classes == labels


def answers(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return class (-1 where not finite) and softmax confidence of each row of outputs (B, K).

    >>> answers(torch.tensor([[0.0, 0.0], [float("nan"), 1.0]]))
    (tensor([ 0, -1]), tensor([0.5000, 0.0000]))
    """
    confidence, classes = outputs.float().softmax(1).max(1)
    finite = outputs.isfinite().all(1)
    return classes.masked_fill(~finite, -1), confidence.masked_fill(~finite, 0)


def predict(model: nn.Module, images: ImageSet, offsets: torch.Tensor, placement: Placement, *,
            task: Task | None = None) -> Predictions:
    """Ask the model, in eval mode, about every image at its offset; a group of processes shares the batches.

    Args:
        offsets: int64 (N, 2), one an image.
        task: advanced by the number of images done.

    Returns:
        One class and one confidence an image, in order.
    """
    device, _ = home(model)
    here, count = group(), len(images)
    classes = torch.zeros(count, dtype=torch.int64, device=device)
    confidence = torch.zeros(count, device=device)

    def ask(begin: int, end: int, last: bool) -> torch.Tensor:
        batch = images.gather(torch.arange(begin, end)).to(device)
        return placed_outputs(model, batch, offsets[begin:end].to(device), placement, channels_last=last)

    with evaluating(model), _layout(model, lambda: ask(0, min(2, len(images)), True)) as last:
        for begin in range(BATCH * here.rank, count, BATCH * here.size):
            end = min(begin + BATCH, count)
            classes[begin:end], confidence[begin:end] = answers(ask(begin, end, last))
            if task is not None:
                task.advance(min(BATCH * here.size, count - BATCH * (begin // BATCH - here.rank)))
    return Predictions(total(classes).cpu(), total(confidence).cpu())


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
