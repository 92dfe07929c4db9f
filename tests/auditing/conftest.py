from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.placement import Placement


@pytest.fixture
def place():
    """Not square anywhere: 6 x 9 placements."""
    return Placement(image=(4, 6), canvas=(9, 14))


def noise(count=7, classes=3, shape=(1, 4, 6), seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    return dataset(images, torch.randint(0, classes, (count,), generator=generator), classes)


def dataset(images, labels, classes=3):
    both = TensorImages(images, torch.as_tensor(labels))
    names = tuple("abcdefghij"[:classes])
    return Dataset(name="made", class_names=names, train=both, test=both, source="-", license="-")


def dot(row, column, count=1):
    """Black images 4 x 6 with one white pixel."""
    images = torch.zeros(count, 1, 4, 6, dtype=torch.uint8)
    images[:, 0, row, column] = 255
    return images


class SmallNet(nn.Module):
    """A strided convolution, pooling, a linear layer; functional style, log-softmax at its end."""

    def __init__(self, canvas=(9, 14), classes=3, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.conv = nn.Conv2d(1, 4, 3, stride=(1, 2))
        sizes = ((canvas[0] - 2) // 2, ((canvas[1] - 3) // 2 + 1) // 2)
        self.fc = nn.Linear(4 * sizes[0] * sizes[1], classes)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
        self.double().eval()

    def forward(self, pixels):
        x = F.max_pool2d(F.relu(self.conv(pixels)), 2).flatten(1)
        return F.log_softmax(self.fc(x), dim=1)


def linear(weights, bias, canvas=(9, 14)):
    """A linear classifier with given weights (K, H, W)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(canvas[0] * canvas[1], len(bias)))
    with torch.no_grad():
        model[1].weight.copy_(weights.flatten(1))
        model[1].bias.copy_(torch.tensor(bias))
    return model.eval()


@pytest.fixture
def made():
    """Builders of data and models that tests of audits share."""
    return SimpleNamespace(noise=noise, dataset=dataset, dot=dot, SmallNet=SmallNet, linear=linear)
