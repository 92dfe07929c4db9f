"""torch.compile for real: the same training to rounding, and a fallback."""

import shutil

import pytest
import torch
import torch._dynamo
from torch import nn

from shiftscope.placement import Placement
from shiftscope.settings import TrainSettings
from shiftscope.training import train

pytestmark = pytest.mark.slow

PLACE = Placement(image=(8, 8), canvas=(16, 16))


@pytest.fixture(autouse=True)
def fresh():
    """Forget what other tests compiled."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def trained(spots, **changes):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 4))
    settings = TrainSettings(epochs=2, batch_size=40, learning_rate=5e-3, **changes)
    return model, train(model, spots, placement=PLACE, settings=settings)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler, and there is no g++")
@pytest.mark.skipif(" " in torch.__file__, reason="torch.compile does not quote its own path, which has a space here")
def test_compiled_training_equals_eager_training_to_rounding(spots):
    (plain, slow), (compiled, fast) = trained(spots), trained(spots, compile=True)
    assert fast.settings["plan"]["compiled"] and fast.notes == [] and not slow.settings["plan"]["compiled"]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert list(plain.state_dict()) == list(compiled.state_dict())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=0, atol=1e-4)
    assert fast.history[-1]["train_loss"] == pytest.approx(slow.history[-1]["train_loss"], rel=1e-4)


def test_a_model_that_does_not_compile_is_trained_without_compilation(spots, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", broken)
    (plain, _), (compiled, found) = trained(spots), trained(spots, compile=True)
    assert found.epochs == 2 and not found.settings["plan"]["compiled"]
    assert found.notes == ["the model could not be compiled (BackendCompilerFailed: backend='inductor' raised: "
                           "RuntimeError: no compiler here); it is trained without compilation"]
    assert all(value.equal(compiled.state_dict()[name]) for name, value in plain.state_dict().items())
