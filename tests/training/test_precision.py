import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.models import InvariantNet, TwoConvTwoFullNet, TwoFullNet
from shiftscope.placement import Placement
from shiftscope.settings import TrainSettings
from shiftscope.training import plan, train
from shiftscope.training.augment import small_placement

PLACE = Placement(image=(8, 8), canvas=(16, 16))
SETTINGS = TrainSettings(epochs=6, batch_size=40, learning_rate=5e-3)


@pytest.fixture(autouse=True)
def able(monkeypatch):
    monkeypatch.setattr(plan, "has_bfloat16_instructions", lambda: True)  # others imitate it: slow, and the same


def trained(model, spots, **changes):
    return train(model, spots, placement=PLACE, settings=TrainSettings(**(vars(SETTINGS) | changes)))


@pytest.mark.parametrize("make", [lambda: TwoFullNet(canvas=(16, 16), classes=4),
                                  lambda: TwoConvTwoFullNet(canvas=(16, 16), classes=4, dropout=0.0)])
def test_bfloat16_learns_like_float32_and_keeps_float32_weights(make, spots):
    results = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        model = make()
        results[precision] = trained(model, spots, precision=precision)
        assert {p.dtype for p in model.parameters()} == {torch.float32}
        assert results[precision].settings["plan"]["precision"] == precision and not results[precision].notes
    losses = [result.history[-1]["train_loss"] for result in results.values()]
    first = results["float32"].history[0]["train_loss"]
    assert losses[0] != losses[1] and abs(losses[0] - losses[1]) < 0.05 * (first - losses[0])


class Whole(nn.Module):
    """Requires float32 inside, like custom kernels."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 4)

    def forward(self, x):
        x = self.fc(x.flatten(1))
        if x.dtype != torch.float32:
            raise RuntimeError("expected float32")
        return F.log_softmax(x, 1)


def test_a_model_that_raises_in_bfloat16_is_trained_in_float32_with_a_note(spots):
    result = trained(Whole(), spots, precision="bfloat16", epochs=1)
    assert result.settings["plan"]["precision"] == "float32"
    assert "the model raises in bfloat16; it is trained in float32" in result.notes


def test_a_processor_without_bfloat16_trains_in_float32_with_a_note(spots, monkeypatch):
    monkeypatch.setattr(plan, "has_bfloat16_instructions", lambda: False)
    model = InvariantNet(canvas=(16, 16), classes=4, widths=(4, 6))
    result = train(model, spots, placement=PLACE, settings=TrainSettings(epochs=1, batch_size=130), name="invariant")
    assert result.settings["precision"] == "bfloat16"  # of its recipe
    assert result.settings["plan"]["precision"] == "float32"
    assert any("no instructions for bfloat16" in note and "trained in float32" in note for note in result.notes)


def test_unknown_precision_is_named():
    with pytest.raises(UsageError, match="precision must be float32, tf32 or bfloat16, got 'half'"):
        TrainSettings(precision="half")


def test_the_small_canvas_is_slightly_larger_than_the_image():
    assert small_placement(Placement(image=(28, 28), canvas=(56, 56))).canvas == (32, 32)
    assert small_placement(Placement(image=(29, 20), canvas=(64, 56), mode="circular")).count == 1
    whole = Placement(image=(28, 28), canvas=(30, 56))
    assert small_placement(whole) is whole  # it would be no smaller
    crop = Placement(image=(28, 28), canvas=(14, 14), mode="crop")
    assert small_placement(crop) is crop
    filled = Placement(image=(28, 28), canvas=(28, 28), mode="fill")
    assert small_placement(filled) is filled


def test_only_the_first_epochs_use_the_small_canvas(spots):
    model, seen = InvariantNet(canvas=(16, 16), classes=4, widths=(4, 6)), []
    model.trunk.register_forward_pre_hook(
        lambda module, given: seen.append(tuple(given[0].shape[2:])) if module.training else None)
    train(model, spots, placement=Placement(image=(8, 8), canvas=(24, 24)),
          settings=TrainSettings(epochs=4, batch_size=130, small_canvas=0.5, validation=0, precision="float32"))
    assert seen == [(16, 16)] * 4 + [(24, 24)] * 4


def test_a_model_with_a_fixed_canvas_is_not_trained_on_a_smaller_one(spots):
    with pytest.raises(UsageError, match="built for images of 1 x 24 x 24"):
        train(TwoFullNet(canvas=(24, 24), classes=4), spots, placement=Placement(image=(8, 8), canvas=(24, 24)),
              settings=TrainSettings(epochs=2, small_canvas=0.5))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_epoch_fraction_out_of_range_is_named(share):
    with pytest.raises(UsageError, match="small_canvas must be a fraction of the epochs, at least 0 and below 1"):
        TrainSettings(small_canvas=share)


def test_tf32_without_a_gpu_is_noted(spots):
    result = trained(Whole(), spots, precision="tf32", epochs=1)
    assert result.settings["plan"]["precision"] == "float32"
    assert result.notes == ["tf32 is a mode of NVIDIA GPUs, the model is on cpu: it is trained in float32"]


def test_tf32_is_allowed_only_during_training(monkeypatch, spots):
    seen = []

    class Looking(Whole):
        def forward(self, x):
            seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            return super().forward(x)

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    chosen = plan.Plan(micro_batch=0, channels_last=False, threads=1, precision="tf32")
    monkeypatch.setattr("shiftscope.training.fit.choose_plan", lambda *_: (chosen, []))
    trained(Looking(), spots, epochs=1, validation=0)
    assert seen[-1] == (True, True)
    assert before == (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (False, True)
