"""Models whose output depends on the batch, on earlier calls, or on random numbers."""

import torch
import torch.nn.functional as F
from torch import nn

from .registry import Base, foreign


@foreign(kind="batch", dense="batch")
class BatchStatistics(Base):
    """Batch norm that always takes the batch's own statistics."""

    def features(self, x):
        x = F.batch_norm(self.conv(x), None, None, training=True)
        return F.max_pool2d(x.relu(), 2).flatten(1)


@foreign(kind="batch", dense="batch")
class BatchNormWithoutRunning(Base):
    """`track_running_stats=False`: eval mode changes nothing."""

    def __init__(self, *args):
        super().__init__(*args)
        self.norm = nn.BatchNorm1d(self.head.in_features, track_running_stats=False)

    def logits(self, x):
        return self.head(self.norm(self.features(x)))


@foreign(kind="batch", dense="batch", near=0.05)
class SoftmaxOverBatch(Base):
    """The wrong axis."""

    def forward(self, x):
        return F.softmax(self.logits(x), dim=0)


@foreign(kind="batch", dense="batch")
class MinusBatchMean(Base):
    def forward(self, x):
        z = self.logits(x)
        return z - z.mean(0)


@foreign(kind="batch", dense="batch")
class BrightestOfBatch(Base):
    """Pixels relative to the brightest pixel of the batch."""

    def forward(self, x):
        return self.logits(x / x.amax().clamp_min(0.01)) + 3 * x.mean((1, 2, 3))[:, None] / x.mean()


@foreign(kind="batch", dense="batch", near=0.2)
class RankInBatch(Base):
    """Scores are ranks among the images of a batch: many exact ties."""

    def forward(self, x):
        return self.logits(x).argsort(0).argsort(0).float()


@foreign(kind="batch", dense="batch")
class NeighborInBatch(Base):
    """Adds the scores of the next image of the batch."""

    def forward(self, x):
        z = self.logits(x)
        return z + 0.8 * z.roll(1, 0)


@foreign(dense="between calls", kind="changing")
class CountsCalls(Base):
    """The number of calls so far shifts the classes."""

    def __init__(self, *args):
        super().__init__(*args)
        self.counter = 0

    def forward(self, x):
        self.counter += 1
        return self.logits(x).roll(self.counter, 1)


@foreign(dense="between calls", kind="changing")
class CountsInABuffer(Base):
    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("counter", torch.zeros(()))

    def forward(self, x):
        self.counter += 1
        return self.logits(x) + 3 * (self.counter * torch.arange(self.head.out_features)).sin()


@foreign(dense="random", kind="changing")
class RandomNoise(Base):
    def forward(self, x):
        z = self.logits(x)
        return z + torch.randn_like(z)


@foreign(dense="random", kind="changing")
class DropoutAlways(Base):
    """Monte Carlo dropout."""

    def forward(self, x):
        return self.head(F.dropout(self.features(x), 0.5, training=True))


@foreign(dense="random", kind="changing")
class FractionalPool(Base):
    def features(self, x):
        return F.fractional_max_pool2d(self.conv(x).relu(), 2, output_size=(5, 6)).flatten(1)


@foreign(dense="random", kind="changing")
class NumpyNoise(Base):
    """Uses the generators of NumPy and Python."""

    def forward(self, x):
        import random

        import numpy as np

        return self.logits(x) + torch.tensor(np.random.randn(self.head.out_features)).float() + random.random()
