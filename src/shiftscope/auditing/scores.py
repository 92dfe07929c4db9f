"""Class scores of a few images at every placement, by the engine that audited all of them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from shiftscope.auditing.choose import choose_engine
from shiftscope.auditing.precision import exact_arithmetic
from shiftscope.auditing.subject import Subject
from shiftscope.auditing.sweep import Sweep
from shiftscope.data.base import ImageSet
from shiftscope.errors import Interrupted
from shiftscope.evaluation.brute import MEMORY
from shiftscope.models.forward import device_and_dtype
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress


@dataclass(frozen=True)
class Scores:
    """What a model gives for S images at P placements."""

    predictions: np.ndarray
    """uint8 or uint16 (S, P), as in `Audit.predictions`."""
    logits: np.ndarray
    """float16 (S, P, K), as in `Audit.shown_logits`."""


def scores(model: nn.Module, images: ImageSet, classes: int, *, placement: Placement, engine: str = "auto",
           offsets: torch.Tensor | None = None, memory: int = MEMORY, seed: int = 0,
           progress: Progress | None = None) -> Scores:
    """Ask a model about a few images, at most 48, at every placement.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W), returns (B, K). In eval mode meanwhile.
        images: the images; of very large audits fewer than 48, see `shown.shown_count`.
        classes: K.
        placement: where they lie.
        engine: "dense", "brute" or "auto", see `audit`.
        offsets: int64 (P, 2), placements that were sampled; all unless given.
        seed: fixes what a model draws at random.

    Raises:
        ShiftscopeError: the engine that was asked for is not possible.
        Interrupted: by Ctrl-C.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> images = TensorImages(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(6 * 7, 2))
        >>> scores(model, images, 2, placement=Placement(image=(4, 4), canvas=(6, 7))).logits.shape
        (2, 12, 2)
    """
    where = placement.offsets() if offsets is None else offsets
    subject = Subject(model=model, images=images, placement=placement, offsets=where,
                      sampled=len(where) < placement.count, seed=seed, memory=memory)
    task = (progress or SilentProgress()).task(f"scores of {len(images)} images for the report", len(images))
    with exact_arithmetic(device_and_dtype(model)[0], seed):
        choice = choose_engine(subject, engine, [])
        sweep = Sweep(choice.engine, images, len(choice.subject.offsets), classes, choice.subject.check(0))
        try:
            sweep.run(task, None)
        finally:
            task.close()
    if sweep.interrupted:
        raise Interrupted("interrupted while computing scores for the report")
    index, logits = sweep.shown.arrays(sweep.count)
    return Scores(sweep.predictions.classes, logits[np.argsort(index)])
