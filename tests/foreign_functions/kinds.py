"""Models of the kinds that people bring, each small: how it is built, and the plain module that computes the same."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

CHANNELS, CANVAS, CLASSES = 1, (9, 10), 4
SHAPE = (CHANNELS, *CANVAS)


class Net(nn.Module):
    """A small convnet whose answer depends on the place."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS, 3, 3)
        self.fc = nn.Linear(3 * 7 * 8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.conv(x)).flatten(1))


class InPlace(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.sub_(0.3).mul_(2)
        return super().forward(x)


class TupleInTraining(Net):
    def forward(self, x: torch.Tensor) -> Any:
        found = super().forward(x)
        return (found, 2 * found) if self.training else found


class Squeezes(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :, None, None].squeeze()


class NoBatchOfOne(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.squeeze()[:, None])


class Optional(Net):
    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x) if y is None else y


class KeywordOnly(Net):
    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        return super().forward(x) * scale


class Whole(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (100 * super().forward(x)).round().long()


class Bank(nn.Module):
    """Filters in float64 that are cast to the type of the pixels, before weights in float32."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.rand(3, CHANNELS, 3, 3, dtype=torch.float64) - 0.5)
        self.fc = nn.Linear(3 * 7 * 8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.conv2d(x, self.bank.to(x.dtype)).relu().flatten(1))


class Volume(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(1, 3, (1, 3, 3))
        self.conv2 = nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(3 * 7 * 8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv2(self.conv(x[:, None])[:, :, 0].relu()).flatten(1))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 90, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1).to(self.weight.dtype) @ self.weight.T).abs()


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.LazyConv2d(3, 3), nn.LazyLinear(CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.conv(x)).flatten(1))


class Fixed(nn.Module):
    """No parameters at all: the means of four bands of rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.mean((1, 2, 3)) for part in x.tensor_split(CLASSES, 2)], 1)


class OwnCall(Net):
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(x).flip(1)


class Broken(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no such table")


class EvalOnly(Net):
    """Raises in train mode."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise ValueError("trained elsewhere")
        return super().forward(x)


class Callable_:
    """An object with __call__ that is no module."""

    def __init__(self, net: nn.Module):
        self.net = net

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def _net(kind: Callable[[], nn.Module] = Net) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return kind().eval()


def means(x: torch.Tensor) -> torch.Tensor:
    """A plain function."""
    return Fixed()(x)


def scaled(factor: float, net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return factor * net(x)
