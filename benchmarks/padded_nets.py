"""Networks with padding that the benchmarks of the shared audit use: five for 28 x 28 on 56 x 56, and ResNet-18."""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.layers import Normalize

MEAN, STD = 0.1307, 0.3081


def unit(before: int, after: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a padded convolution with batch norm and ReLU."""
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(after),
            nn.ReLU()]


def two_convolutions() -> nn.Module:
    """(a) Two padded 3 x 3 convolutions with pools, and a hidden layer of 128 units."""
    return nn.Sequential(Normalize(MEAN, STD), nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Linear(128, 10))


def four_convolutions() -> nn.Module:
    """(b) Four padded 3 x 3 convolutions with batch norm, two pools, and a hidden layer of 128 units."""
    return nn.Sequential(Normalize(MEAN, STD), *unit(1, 32), *unit(32, 32), nn.MaxPool2d(2), *unit(32, 64),
                         *unit(64, 64), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU(),
                         nn.Linear(128, 10))


class Residual(nn.Module):
    """A basic block of a ResNet."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.body = nn.Sequential(*unit(before, after, 3, stride), *unit(after, after)[:2])
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*unit(before, after, 1, stride)[:2])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


def residual(stem: list[nn.Module], widths: tuple[int, ...], blocks: int, classes: int) -> nn.Module:
    """Return a ResNet: a stem, stages of basic blocks, global average pooling."""
    parts = list(stem)
    for stage, (before, after) in enumerate(pairwise((widths[0], *widths))):
        for block in range(blocks):
            first = block == 0
            parts.append(Residual(before if first else after, after, 2 if first and stage else 1))
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))


def resnet20() -> nn.Module:
    """(c) ResNet-20 of He et al. 2016 with 16, 32 and 64 channels."""
    return residual([Normalize(MEAN, STD), *unit(1, 16)], (16, 32, 64), 3, 10)


def resnet18() -> nn.Module:
    """ResNet-18 of He et al. 2016 for photographs."""
    return residual([*unit(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1)], (64, 128, 256, 512), 2, 1000)


class Inverted(nn.Module):
    """An inverted residual block of MobileNetV2."""

    def __init__(self, before: int, after: int, stride: int, expansion: int = 4):
        super().__init__()
        wide = before * expansion
        self.body = nn.Sequential(*unit(before, wide, 1)[:2], nn.ReLU6(), *unit(wide, wide, 3, stride, wide)[:2],
                                  nn.ReLU6(), *unit(wide, after, 1)[:2])
        self.shortcut = before == after and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.shortcut else self.body(x)


def mobilenet() -> nn.Module:
    """(d) A small network like MobileNetV2."""
    return nn.Sequential(Normalize(MEAN, STD), *unit(1, 16, 3, 2), Inverted(16, 16, 1), Inverted(16, 24, 2),
                         Inverted(24, 24, 1), Inverted(24, 32, 2), Inverted(32, 32, 1), *unit(32, 128, 1),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


class Grow(nn.Module):
    """A layer of a DenseNet: its output is concatenated to its input."""

    def __init__(self, before: int, growth: int):
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(),
                                  nn.Conv2d(before, growth, 3, padding=1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, self.body(x)), 1)


def densenet(growth: int = 12, layers: int = 4) -> nn.Module:
    """(e) A small DenseNet: three blocks of four layers."""
    parts: list[nn.Module] = [Normalize(MEAN, STD), nn.Conv2d(1, 16, 3, padding=1, bias=False)]
    channels = 16
    for block in range(3):
        for _ in range(layers):
            parts.append(Grow(channels, growth))
            channels += growth
        if block < 2:
            parts += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False),
                      nn.AvgPool2d(2)]
            channels //= 2
    return nn.Sequential(*parts, nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(channels, 10))


NETS: dict[str, Callable[[], nn.Module]] = {
    "a: two convolutions": two_convolutions, "b: four convolutions": four_convolutions, "c: ResNet-20": resnet20,
    "d: MobileNetV2-like": mobilenet, "e: DenseNet": densenet}
