"""Predictions of a model for a set of images, each at one placement."""

from dataclasses import dataclass

import torch
from torch import nn

from shiftscope.data.base import ImageSet
from shiftscope.models.forward import evaluating, home, placed_outputs
from shiftscope.placement import Placement
from shiftscope.progress import Task

BATCH = 250
"""Images a forward pass: large enough for GPUs' and CPUs' matrix products, small enough for a laptop's memory."""


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
    """Ask the model, in eval mode, about every image of `images` at its offset.

    Args:
        offsets: int64 (N, 2), one an image.
        task: advanced by the number of images done.

    Returns:
        One class and one confidence an image, in order.
    """
    device, _ = home(model)
    found = []
    with evaluating(model):
        for begin in range(0, len(images), BATCH):
            indices = torch.arange(begin, min(begin + BATCH, len(images)))
            batch = images.gather(indices).to(device)
            outputs = placed_outputs(model, batch, offsets[begin:begin + BATCH].to(device), placement)
            found.append(answers(outputs))
            if task is not None:
                task.advance(len(indices))
    classes, confidence = (torch.cat(parts).cpu() for parts in zip(*found, strict=True))
    return Predictions(classes, confidence)
