"""Class scores of a few images at every placement, for reports."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.engines import AuditInputs, choose_engine
from shiftscope.auditing.sweep import Sweep
from shiftscope.data.base import ImageSet
from shiftscope.devices import tf32
from shiftscope.errors import Interrupted
from shiftscope.evaluation.brute import MEMORY
from shiftscope.generators import seeded
from shiftscope.models.forward import device_and_dtype
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Scores:
    """Predictions and outputs for S images at P placements."""

    predictions: np.ndarray
    """uint8 or uint16 (S, P), as in `Audit.predictions`."""
    logits: np.ndarray
    """float16 (S, P, K), as in `Audit.shown_logits`."""


def scores(model: nn.Module, images: ImageSet, classes: int, *, placement: Placement, engine: str = "auto",
           offsets: torch.Tensor | None = None, memory: int = MEMORY, seed: int = 0,
           progress: Progress | None = None) -> Scores:
    """Compute the outputs of a model for a few images at every placement.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns (B, K). It runs in eval mode; its mode is restored.
        images: at most 48 images, fewer for very large outputs, see `predictions.shown_count`.
        classes: K.
        placement: placement of the images.
        engine: "dense", "brute" or "auto", see `audit`.
        offsets: int64 (P, 2), sampled placements (default: all).
        seed: seed of the generators during the computation.

    Raises:
        ShiftscopeError: if the requested engine is not possible.
        Interrupted: by Ctrl-C.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 7, 2))
        >>> scores(model, images, 2, placement=Placement(image=(4, 4), canvas=(6, 7))).logits.shape
        (2, 12, 2)
    """
    offsets = placement.offsets() if offsets is None else offsets
    inputs = AuditInputs(model=model, images=images, placement=placement, offsets=offsets,
                         sampled=len(offsets) < placement.count, seed=seed, memory=memory)
    with tf32(allowed=False), seeded([device_and_dtype(model)[0]], seed):
        sweep = Sweep(choose_engine(inputs, engine, []), classes, check_size=0)
        sweep.run(progress or SilentProgress(), f"scores of {len(images)} images for the report", None)
    if sweep.interrupted:
        raise Interrupted("interrupted while computing scores for the report")
    index, logits = sweep.shown.arrays(sweep.count)
    return Scores(sweep.predictions.classes, logits[np.argsort(index)])
