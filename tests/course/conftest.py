"""`model_utils` in the state of a fresh import, and small moving images of known classes."""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shiftscope.model_utils as model_utils
from shiftscope.course.options import DEFAULTS, AttrDict


@pytest.fixture
def MU(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    fresh = {"use_cuda": False, "args": AttrDict(DEFAULTS), "imgsize": (56, 56), "class_names": None,
             "train_dataset": None, "test_dataset": None, "train_loader": None, "test_loader": None}
    for name, value in fresh.items():
        monkeypatch.setattr(model_utils, name, value)
    plt.switch_backend("agg")
    yield model_utils
    plt.close("all")


def moving_bars(count: int, size: tuple[int, int], channels: int = 1, classes: int = 3, seed: int = 0) -> TensorDataset:
    """A bar of 1, 3, 5, ... rows at a random height, in the course's units: the taller the brighter, so easy."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.zeros(count, channels, *size)
    for image, label in zip(images, labels.tolist(), strict=True):
        top = int(torch.randint(size[0] - 2 * label, (), generator=generator))
        image[:, top:top + 2 * label + 1, 2:-2] = 1
    return TensorDataset((images - 0.1307) / 0.3081, labels)


@pytest.fixture
def bars() -> Callable[..., TensorDataset]:
    return moving_bars


@pytest.fixture
def small(MU: ModuleType) -> ModuleType:
    """The drop-in with loaders of 60 and 30 bars on 12 x 10."""
    MU.imgsize, MU.class_names = (12, 10), ["one", "two", "three"]
    MU.args.update(epochs=2, log_interval=1, lr=0.02)
    MU.train_loader = DataLoader(moving_bars(60, (12, 10)), batch_size=20, shuffle=True)
    MU.test_loader = DataLoader(moving_bars(30, (12, 10), seed=1), batch_size=25)
    return MU


class Net(nn.Module):
    """Linear, ReLU, Linear on 12 x 10, as log-probabilities or as logits."""

    def __init__(self, classes: int = 3, *, log_softmax: bool = True):
        super().__init__()
        self.fc1, self.fc2, self.log_softmax = nn.Linear(120, 16), nn.Linear(16, classes), log_softmax

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc2(F.relu(self.fc1(x.view(-1, 120))))
        return F.log_softmax(x, dim=1) if self.log_softmax else x


@pytest.fixture
def make_net() -> Callable[..., Net]:
    def make(*args, seed: int = 0, **kwargs) -> Net:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Net(*args, **kwargs)
    return make
