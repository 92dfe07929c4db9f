"""Predictions of a model for a set of images, one placement per image."""

from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import nn

from shiftscope.data.base import ImageSet
from shiftscope.distributed import group, total
from shiftscope.evaluation.brute import has_convolutions
from shiftscope.hooks import channels_last
from shiftscope.models.forward import check_model, device_and_dtype, evaluating, placed_outputs
from shiftscope.outputs import TOP5_CLASSES, among_largest, as_floats, classify, top_two
from shiftscope.placement import Placement
from shiftscope.progress import Task

BATCH = 125
"""Images per forward pass: efficient on GPUs and in matrix products, and small enough for a CPU's caches."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for N images, on the CPU."""

    classes: torch.Tensor
    """int64 (N,), -1 if the prediction is non-finite."""
    confidence: torch.Tensor
    """float32 (N,), probability of the predicted class; 0 if the prediction is non-finite."""
    gaps: torch.Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    """float64 (N,), the largest output minus the second largest: 0 for an exact tie, NaN if non-finite."""

    top5: torch.Tensor | None = None
    """bool (N,), True if the true class is among the five largest outputs; None with fewer than `TOP5_CLASSES`."""

    def correct(self, labels: torch.Tensor) -> torch.Tensor:
        """Return bool (N,), True if the predicted class equals the label."""
        return self.classes == labels

    def ties(self, tolerance: float) -> dict[str, int]:
        """Return the number of exact ties, and of near ties: gaps above 0 and at most `tolerance`."""
        return {"exact_ties": int((self.gaps == 0).sum()),
                "ties": int(((self.gaps > 0) & (self.gaps <= tolerance)).sum())}


def predict(model: nn.Module, images: ImageSet, offsets: torch.Tensor, placement: Placement, *,
            output_type: str = "logits", task: Task | None = None) -> Predictions:
    """Return a model's prediction for each image at its offset, in eval mode; a group of processes shares the batches.

    Args:
        offsets: int64 (N, 2), one per image.
        output_type: type of the model's outputs, see `outputs.probabilities`.
        task: progress, advanced by the number of images.
    """
    device, _ = device_and_dtype(model)
    here, count = group(), len(images)
    classes = torch.zeros(count, dtype=torch.int64, device=device)
    confidence = torch.zeros(count, device=device)
    gaps = torch.zeros(count, dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
    top5, many = torch.zeros(count, dtype=torch.int64, device=device), False

    def outputs_of(begin: int, end: int, last: bool) -> torch.Tensor:
        batch = images.gather(torch.arange(begin, end)).to(device)
        return placed_outputs(model, batch, offsets[begin:end].to(device), placement, channels_last=last)

    with evaluating(model):
        last = has_convolutions(model)
        if last:
            try:
                with channels_last(model):
                    outputs_of(0, min(2, count), True)
            except RuntimeError:  # a `view` in the model may require the contiguous layout; other causes raise again
                last = False
        with channels_last(model) if last else nullcontext():
            for begin in range(BATCH * here.rank, count, BATCH * here.size):
                end = min(begin + BATCH, count)
                outputs = as_floats(outputs_of(begin, end, last))
                classes[begin:end], confidence[begin:end] = classify(outputs, output_type)
                _, best, second = top_two(outputs)
                gaps[begin:end] = best.to(gaps.dtype) - second
                many = outputs.shape[-1] >= TOP5_CLASSES
                if many:
                    top5[begin:end] = among_largest(outputs, images.labels[begin:end].to(device)) & best.isfinite()
                if task is not None:
                    task.advance(min(BATCH * here.size, count - BATCH * (begin // BATCH - here.rank)))
    return Predictions(total(classes).cpu(), total(confidence).cpu(), total(gaps).cpu().double(),
                       total(top5).cpu().bool() if many else None)


def output_count(model: nn.Module, images: ImageSet, placement: Placement, classes: int | None = None) -> int:
    """Try the model on a few images and return the number of its outputs; see `check_model`."""
    few = images.gather(torch.arange(min(2, len(images)))).to(device_and_dtype(model)[0])
    return check_model(model, few, placement, classes)
