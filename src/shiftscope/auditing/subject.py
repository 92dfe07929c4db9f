"""What is audited: a model, its images, and the placements."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from shiftscope import hashing
from shiftscope.auditing.selfcheck import IMAGES, SampleCheck, draw_sample
from shiftscope.data.base import ImageSet
from shiftscope.errors import require
from shiftscope.evaluation.brute import BruteEngine
from shiftscope.hashing import Stream
from shiftscope.placement import Placement

MOST_PLACEMENTS = 10_000
"""More than these are too many for brute force, unless the caller says otherwise."""

SAMPLED = 1000
"""Placements that are then drawn. The share of them that an image gets right is at most 0.016 (a standard error) from
that of all, and the mean over images far closer."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is audited: a model, its images, where they lie."""

    model: nn.Module
    images: ImageSet
    placement: Placement
    offsets: torch.Tensor
    """int64 (P, 2): all of the placement's, or a sample of them."""
    sampled: bool
    """Whether the offsets are some of the placement's only."""
    seed: int
    memory: int
    """Bytes, see `BruteEngine`."""

    def check(self, size: int = IMAGES) -> SampleCheck:
        """Return a comparison with the plain model on a sample of `size` images."""
        sample = draw_sample(len(self.images), len(self.offsets), seed=self.seed, size=size)
        return SampleCheck(self.model, self.images, self.placement, self.offsets, sample)

    def brute(self, *, short_cuts: bool = True) -> BruteEngine:
        """Return the plain model as an engine."""
        return BruteEngine(self.model, self.placement, self.images.shape, self.offsets, memory=self.memory,
                           short_cuts=short_cuts)

    def affordable(self) -> "Subject":
        """Return the subject with a sample of placements where there are too many for brute force."""
        return self if len(self.offsets) <= MOST_PLACEMENTS else self.at_sample(SAMPLED)

    def at_sample(self, count: int) -> "Subject":
        """Return the subject with `count` placements, the middle one always among them; itself where it has no more."""
        if count >= len(self.offsets):
            return self
        chosen = hashing.permutation(hashing.stream(Stream.SAMPLED_PLACEMENTS, self.seed), len(self.offsets))[:count]
        if self.middle not in chosen:
            chosen[0] = self.middle
        return replace(self, offsets=self.offsets[chosen.sort().values], sampled=True)

    @property
    def middle(self) -> int:
        """Index of the middle placement."""
        column = self.placement.geometry.column(self.offsets.numpy())
        require(column is not None, "offsets", f"{len(self.offsets)} offsets", f"{self.placement.middle} among them")
        return int(column or 0)
