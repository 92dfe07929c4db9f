import pytest
import torch
from torch import nn

from shiftscope.models import TwoConvTwoFullNet, TwoFullNet


@pytest.fixture
def perceptron() -> TwoFullNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoFullNet(12, canvas=(11, 14), classes=4)


@pytest.fixture
def convnet() -> TwoConvTwoFullNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TwoConvTwoFullNet(canvas=(20, 24), channels=3, classes=4)


class Foreign(nn.Module):
    """A model with a layer that returns a tuple and one that is not called."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)
        self.rnn = nn.GRU(4, 5, batch_first=True)
        self.unused = nn.Linear(2, 2)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = self.conv(x).flatten(2)[..., :4]
        x, _ = self.rnn(x)
        return self.head(x[:, -1])


@pytest.fixture
def foreign() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Foreign()
