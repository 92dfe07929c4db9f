"""A net of another architecture than the course's two, which evaluates their synthetic images (for benchmarks)."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.layers import Normalize


class ResidualNet(nn.Module):
    """Three stages of residual 3 x 3 convolutions, global mean and maximum, one linear layer; takes any canvas."""

    def __init__(self, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10, width: int = 16):
        super().__init__()
        self.input_shape = (channels, *canvas)
        self.normalize = Normalize(0.1307, 0.3081)
        self.stem = nn.Conv2d(channels, width, 5, stride=2, padding=2)
        widths = [width, 2 * width, 2 * width]
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1)
                                  for a, b in pairwise(widths))
        self.inner = nn.ModuleList(nn.Conv2d(n, n, 3, padding=1) for n in widths)
        self.head = nn.Linear(2 * widths[-1], classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.stem(self.normalize(pixels))
        for stage, inner in enumerate(self.inner):
            x = F.relu(x if stage == 0 else self.down[stage - 1](x))
            x = x + F.relu(inner(x))
        return self.head(torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1))
