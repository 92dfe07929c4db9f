"""A small dataset whose images are sorted by class, and models that are being trained."""

import pytest
import torch
from torch import nn

from shiftscope import Placement
from shiftscope.data.base import Dataset, TensorImages

PLACE = Placement(image=(6, 5), canvas=(9, 9))
"""20 placements."""


def bright(count: int, seed: int) -> TensorImages:
    """Noisy images of 6 x 5, sorted by class; the class is the brightness."""
    labels = torch.arange(count) * 3 // count
    noise = torch.randint(0, 70, (count, 1, 6, 5), generator=torch.Generator().manual_seed(seed))
    return TensorImages((noise + 80 * labels[:, None, None, None]).to(torch.uint8), labels)


@pytest.fixture(scope="session")
def data() -> Dataset:
    return Dataset(name="bright", class_names=("dark", "gray", "bright"), train=bright(150, 0), test=bright(90, 1),
                   source="made by the test", license="MIT", synthetic=True)


class Net(nn.Sequential):
    """A convnet with batch norm and dropout, supported by the dense engine."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(),
                         nn.Linear(4 * 7 * 7, 3))


class Branching(Net):
    """The same net, which cannot be traced because its Python code depends on the pixels. Counts its canvases."""

    canvases = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Branching.canvases += len(x)
        return super().forward(x if float(x.sum()) >= 0 else -x)


def trained(model: nn.Module, data: Dataset) -> nn.Module:
    """Train for a few steps on centered images, so that predictions depend on image and position."""
    images = PLACE.place(data.train.images, torch.tensor(PLACE.middle).expand(150, 2)).float() / 255
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), data.train.labels).backward()
        optimizer.step()
    return model


@pytest.fixture
def net(data) -> nn.Module:
    return trained(Net(), data)


@pytest.fixture
def branching(data) -> nn.Module:
    model = trained(Branching(), data)
    Branching.canvases = 0
    return model
