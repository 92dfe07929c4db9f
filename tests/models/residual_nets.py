"""Residual networks with both kinds of blocks, as torchvision builds them, small."""

import torch
import torch.nn.functional as F
from torch import nn


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with statistics that are not 0 and 1."""
    layer = nn.BatchNorm2d(channels)
    nn.init.uniform_(layer.running_mean, -0.2, 0.2)
    nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return layer


class Block(nn.Module):
    """Two 3 x 3 convolutions, or 1 x 1, 3 x 3 (with the stride), 1 x 1; and a shortcut."""

    def __init__(self, channels: int, wide: int, stride: int, *, bottleneck: bool):
        super().__init__()
        sizes = [(channels, wide, 1, 1), (wide, wide, 3, stride), (wide, 2 * wide, 1, 1)] if bottleneck else [
            (channels, wide, 3, stride), (wide, wide, 3, 1)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, k, s, k // 2, bias=False) for a, b, k, s in sizes)
        self.norms = nn.ModuleList(norm(b) for _, b, _, _ in sizes)
        self.out = sizes[-1][1]
        self.shortcut = nn.Sequential(nn.Conv2d(channels, self.out, 1, stride, bias=False), norm(self.out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for conv, layer in zip(self.convs[:-1], self.norms[:-1], strict=True):
            y = F.relu(layer(conv(y)), inplace=True)
        return F.relu(self.norms[-1](self.convs[-1](y)) + self.shortcut(x))


class ResidualNet(nn.Module):
    """A stem with stride 2, max pooling with padding, a basic block, a bottleneck block, global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 6, 7, 2, 3, bias=False), norm(6)
        self.basic = Block(6, 8, 2, bottleneck=False)
        self.bottleneck = Block(8, 6, 2, bottleneck=True)
        self.fc = nn.Linear(12, 5)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(pixels))), 3, 2, 1)
        x = self.bottleneck(self.basic(x))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def residual_net(seed: int = 0) -> nn.Module:
    """Return the network in float64 and eval mode, with weights for which outputs differ between images."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return ResidualNet().double().eval()
