"""The drop-in with its state as after a fresh import, small moving images of known classes, and a result of each kind.
"""

from collections.abc import Callable, Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shiftscope
import shiftscope.model_utils as model_utils
from shiftscope.auditing.commuting import equivariance
from shiftscope.models import TwoFullNet
from shiftscope.notebook.options import DEFAULTS, AttrDict
from shiftscope.results import Record
from shiftscope.settings import SynthesisSettings, TrainSettings
from shiftscope.visualization import attribute, find_neighbours, measure_quality, unit_table


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


@pytest.fixture(scope="session")
def results() -> dict[str, Record]:
    """A result of each kind, by kind: of a perceptron trained for a moment on 28 x 28 drawn garments on 33 x 31."""
    data = shiftscope.load_dataset("garments").limit(60)
    place = shiftscope.Placement(image=(28, 28), canvas=(33, 31))
    model = TwoFullNet(N=6, canvas=(33, 31))
    settings = TrainSettings(epochs=2, batch_size=30, learning_rate=0.003, precision="float32")
    training = shiftscope.train(model, data, placement=place, settings=settings)
    synthesis = shiftscope.visualize(model, "class:all", class_names=data.class_names,
                                     settings=SynthesisSettings(steps=4))
    beside = find_neighbours(model, ["class:all"], data, placement=place)[0]
    audit = shiftscope.audit(model, data, placement=place, engine="brute", name="two-full")
    found = [
        training, audit, synthesis, beside, shiftscope.evaluate(model, data, placement=place),
        measure_quality(model, synthesis, neighbours=beside), unit_table(model, data, placement=place),
        equivariance(model, data, placement=place, period=4), attribute(model, synthesis.images[:2], method="saliency")]
    return {record.kind: record for record in found}
