"""Images, canvas and device of a benchmark."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from bench.record import Comparison, GrowthLine
from bench.rounds import canvases
from bench.wide import WIDTHS, wide_model
from shiftscope.data import Dataset
from shiftscope.data.base import ImageSet
from shiftscope.errors import UsageError
from shiftscope.models import build_model
from shiftscope.placement import Placement
from shiftscope.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Data, canvas, device and number of rounds of a benchmark."""

    data: Dataset
    placement: Placement
    device: torch.device
    repeats: int
    progress: Progress

    @property
    def sizes(self) -> dict:
        """Arguments of `build_model`: canvas, channels and classes."""
        return {"canvas": self.placement.canvas, "channels": self.data.shape[0], "classes": self.data.classes}

    def build(self, name: str, width: int | None = None) -> nn.Module:
        """Return an untrained model on the device; trained weights would take the same time."""
        model = build_model(name, **self.sizes) if width is None else wide_model(name, width, **self.sizes)
        return model.to(self.device)

    def on_canvas(self, canvas: tuple[int, int]) -> "Setup":
        """Return this setup with another canvas."""
        return replace(self, placement=Placement(image=self.placement.image, canvas=canvas))

    def narrowed(self, max_shift: int) -> "Setup":
        """Return this setup with placements up to `max_shift` from the middle."""
        return replace(self, placement=self.placement.narrowed(max_shift=max_shift))

    def canvases(self) -> list["Setup"]:
        """Return setups with smaller and larger canvases, for growth."""
        return [self.on_canvas(canvas) for canvas in canvases(self.placement.canvas, self.placement.image)]

    def widths(self, name: str) -> tuple[str, dict[int, nn.Module]]:
        """Return the widened layer type and the models by width; none for models other than the course's."""
        axis, widths = WIDTHS.get(name, ("width", ()))
        return axis, {width: self.build(name, width) for width in widths}

    @property
    def area(self) -> int:
        """Pixels of the canvas."""
        return self.placement.canvas[0] * self.placement.canvas[1]


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Results of one benchmark."""

    comparisons: list[Comparison]
    growth: list[GrowthLine]
    notes: list[str]


def arrays(images: ImageSet, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the first `count` images, uint8 (N, C, h, w), and labels (N,), as plain arrays for another process."""
    chosen = torch.arange(len(images) if count is None else min(count, len(images)))
    return images.gather(chosen).cpu().numpy(), images.labels[chosen].numpy()


def check_batch(images: ImageSet, batch_size: int, name: str) -> None:
    """Raise a `UsageError` if a dataset has fewer images than a batch."""
    if len(images) < batch_size:
        raise UsageError(f"{name} has {len(images):,} training images, fewer than one batch of {batch_size}; choose a "
                         f"--batch-size of at most {len(images)}, or a dataset with more images")
