import hashlib
import io
import os
import signal
from dataclasses import replace

import pytest
import torch
from torch import nn

from shiftscope.errors import CheckpointError, Interrupted, TrainingError, UsageError
from shiftscope.models import TwoConvTwoFullNet, build_model
from shiftscope.placement import Placement
from shiftscope.settings import TrainSettings
from shiftscope.training import StopFlag, train
from shiftscope.training.optimization import learning_rate
from shiftscope.training.plan import choose_plan

PLACE = Placement(image=(8, 8), canvas=(20, 20))
QUICK = TrainSettings(epochs=3, batch_size=50, learning_rate=3e-3, optimizer="adamw", seed=1)


def convnet(seed=0):
    return build_model("two-conv", canvas=(20, 20), classes=4, seed=seed)


def digest(model):
    joined = b"".join(value.contiguous().numpy().tobytes() for value in model.state_dict().values())
    return hashlib.sha256(joined).hexdigest()


def test_it_learns(spots):
    model = build_model("two-full", canvas=(20, 20), classes=4, seed=0)
    place = PLACE.center_only()
    result = train(model, spots, placement=place, settings=TrainSettings(epochs=15, batch_size=20), name="two-full")
    assert result.history[-1]["val_accuracy"] > 0.9 > result.history[0]["train_accuracy"]
    assert result.trained == "centered" and result.epochs == 15
    assert (result.train_images, result.validation_images) == (208, 52)
    assert result.history[-1]["train_loss"] < 0.5 * result.history[0]["train_loss"]


def test_a_seed_is_reproducible_and_another_differs(spots):
    digests = []
    for seed in (1, 1, 2):
        model = convnet()
        train(model, spots, placement=PLACE, settings=TrainSettings(**(QUICK.to_dict() | {"seed": seed})))
        digests.append(digest(model))
    assert digests[0] == digests[1] != digests[2]


def test_micro_batches_and_layout_change_rounding_only(spots):
    weights = []
    for micro, layout in ((0, False), (7, True)):
        model = convnet().double()
        model.conv2_drop.p = model.fc1_drop.p = 0.0
        settings = TrainSettings(**(QUICK.to_dict() | {"micro_batch": micro, "channels_last": layout}))
        train(model, spots, placement=PLACE, settings=settings, name="two-conv")
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-8)


class Reference(nn.Module):
    """A plain net for the reference loop."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(400, 4)

    def forward(self, pixels):
        return self.fc(pixels.flatten(1))


def test_a_step_equals_a_plain_loop(spots):
    settings = TrainSettings(epochs=2, batch_size=60, optimizer="sgd", learning_rate=0.1, schedule="constant",
                             weight_decay=0.0, label_smoothing=0.0, validation=0, seed=3)
    torch.manual_seed(0)
    mine = Reference().double()
    plain = Reference().double()
    plain.load_state_dict(mine.state_dict())
    train(mine, spots, placement=PLACE, settings=settings)
    from shiftscope import hashing
    velocity = [torch.zeros_like(p) for p in plain.parameters()]
    for epoch in range(2):
        order = hashing.permutation(hashing.stream(4, 3, epoch), 260)
        for first in range(0, 260, 60):
            batch = order[first:first + 60]
            offsets = PLACE.sample(batch, seed=3, epoch=epoch)
            pixels = PLACE.place(spots.train.gather(batch), offsets).double() / 255
            loss = nn.functional.cross_entropy(plain(pixels), spots.train.labels[batch])
            grads = torch.autograd.grad(loss, list(plain.parameters()))
            with torch.no_grad():
                for p, g, v in zip(plain.parameters(), grads, velocity, strict=True):
                    v.mul_(0.9).add_(g)
                    p -= 0.1 * (g + 0.9 * v)  # Nesterov
    torch.testing.assert_close(mine.fc.weight, plain.fc.weight, rtol=0, atol=1e-10)


class AfterThreeSteps(StopFlag):
    """Requests a stop after three steps."""

    def __init__(self):
        super().__init__()
        self.asked = 0

    def __bool__(self):
        self.asked += 1
        return self.asked >= 3


def test_stopped_and_resumed_equals_uninterrupted(spots, tmp_path):
    whole = convnet()
    expected = train(whole, spots, placement=PLACE, settings=QUICK, folder=tmp_path / "whole")
    history, stops, model = [], 0, convnet()
    while True:
        try:
            result = train(model, spots, placement=PLACE, settings=QUICK, folder=tmp_path / "parts", resume=True,
                           stop=AfterThreeSteps(), on_epoch=history.append)
            break
        except Interrupted:
            stops += 1
            model = convnet(seed=99)  # a state is saved now: the initial weights must not matter
    assert stops >= 4 and digest(model) == digest(whole)
    assert result.history == expected.history == history
    assert (tmp_path / "parts" / "model.safetensors").read_bytes() == \
        (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_signals_stop_between_steps_and_the_message_names_resume(spots, tmp_path):
    model = convnet()
    handler = signal.getsignal(signal.SIGTERM)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        with pytest.raises(Interrupted, match=r"stopped in epoch \d of \d, .*saved in .*--resume") as caught:
            train(model, spots, placement=PLACE, settings=QUICK, folder=tmp_path / str(code),
                  on_epoch=lambda record, number=number: os.kill(os.getpid(), number))
        assert caught.value.exit_code == code
        assert (tmp_path / str(code) / "model.safetensors").is_file()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_second_ctrl_c_stops_immediately(spots):
    def twice(record):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(convnet(), spots, placement=PLACE, settings=QUICK, on_epoch=twice)


def test_training_restores_all_state(spots):
    model = convnet().eval()
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    train(model, spots, placement=PLACE, settings=QUICK)
    assert not model.training and torch.random.get_rng_state().equal(before)
    assert model.conv2.weight.is_contiguous()
    with pytest.raises(RuntimeError, match="on purpose"):
        train(model, spots, placement=PLACE, settings=QUICK, on_epoch=_raise)
    assert not model.training and torch.random.get_rng_state().equal(before)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def _raise(record):
    raise RuntimeError("on purpose")


def test_a_nonfinite_loss_stops_with_step_rate_and_remedy(spots, tmp_path):
    settings = TrainSettings(epochs=3, batch_size=50, optimizer="sgd", learning_rate=1e30, schedule="constant")
    with pytest.raises(TrainingError, match=r"not finite in epoch 1, at step \d of \d, with a learning rate of 1e\+30; "
                                            r"choose a smaller --learning-rate, for instance 1e\+29"):
        train(Reference(), spots, placement=PLACE, settings=settings, folder=tmp_path)


def test_resuming_with_other_settings_is_refused(spots, tmp_path):
    train(convnet(), spots, placement=PLACE, settings=QUICK, folder=tmp_path)
    other = TrainSettings(**(QUICK.to_dict() | {"epochs": 5}))
    with pytest.raises(UsageError, match=r"with settings.epochs = 3 and would resume with 5; give the same"):
        train(convnet(), spots, placement=PLACE, settings=other, folder=tmp_path, resume=True)


@pytest.mark.parametrize("damage", ["truncate", "empty", "text", "pickle"])
def test_a_damaged_training_state_is_refused_and_runs_no_code(damage, spots, tmp_path):
    train(convnet(), spots, placement=PLACE, settings=QUICK, folder=tmp_path)
    path, trap = tmp_path / "training-state.pt", tmp_path / "executed"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch '{trap}'",)

    buffer = io.BytesIO()
    torch.save({"schema_version": 1, "state": Hostile()}, buffer)
    content = {"truncate": path.read_bytes()[:2000], "empty": b"", "text": b"not a state", "pickle": buffer.getvalue()}
    path.write_bytes(content[damage])
    with pytest.raises(CheckpointError, match=r"training-state.pt is corrupt or not a training state"):
        train(convnet(), spots, placement=PLACE, settings=QUICK, folder=tmp_path, resume=True)
    assert not trap.exists()


@pytest.mark.parametrize("change", [
    lambda stored: stored.update(state=3), lambda stored: stored["state"].update(epoch="2"),
    lambda stored: stored["state"].update(epoch=-1), lambda stored: stored["state"].update(sums=torch.zeros(2)),
    lambda stored: stored["state"].update(history=[{"epoch": 1}]), lambda stored: stored.update(identity={3: 4}),
    lambda stored: stored["identity"].update(model=torch.zeros(3)),
    lambda stored: stored.update(schema_version="1" * 1000), lambda stored: stored.update(tensors={}),
    lambda stored: stored["tensors"]["plan"].update(threads="all"),
    lambda stored: stored["tensors"]["plan"].update(precision="float8"),
    lambda stored: stored["tensors"]["model"].pop("conv1.weight"),
    lambda stored: stored["tensors"]["model"].update({"conv1.weight": torch.zeros(30, 1, 5, 5, dtype=torch.int32)}),
    lambda stored: stored["tensors"]["model"].update({"conv1.weight": "text"}),
    lambda stored: stored["tensors"]["optimizer"].update(state={99: {"step": torch.zeros(())}}),
    lambda stored: stored["tensors"]["optimizer"].update(state={0: {"exp_avg": torch.zeros(7)}}),
    lambda stored: stored["tensors"].update(optimizer={"state": [], "param_groups": None}),
])
def test_a_training_state_with_a_changed_value_is_refused(change, spots, tmp_path):
    train(convnet(), spots, placement=PLACE, settings=QUICK, folder=tmp_path)
    path = tmp_path / "training-state.pt"
    stored = torch.load(path, weights_only=True)
    change(stored)
    torch.save(stored, path)
    with pytest.raises(CheckpointError) as caught:
        train(convnet(), spots, placement=PLACE, settings=QUICK, folder=tmp_path, resume=True)
    assert len(str(caught.value)) < 400


def test_optimizer_settings_are_not_read_from_the_file(spots, tmp_path):
    once = train(convnet(), spots, placement=PLACE, settings=QUICK)
    train(convnet(), spots, placement=PLACE, settings=replace(QUICK, max_time=1e-9), folder=tmp_path)
    path = tmp_path / "training-state.pt"
    stored = torch.load(path, weights_only=True)
    stored["tensors"]["optimizer"]["param_groups"][0].update(weight_decay=1e9, betas=("a", "b"))
    torch.save(stored, path)
    again = train(convnet(), spots, placement=PLACE, settings=QUICK, folder=tmp_path, resume=True)
    assert again.history == once.history


@pytest.mark.parametrize("model, message", [
    (nn.Sequential(nn.Flatten(), nn.Linear(784, 4)), r"cannot take images of 1 x 20 x 20.*choose the canvas"),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(4)), r"cannot take images of 1 x 20 x 20"),
    (nn.Sequential(nn.Flatten(), nn.Linear(400, 3)), r"has 3 outputs, the dataset has 4 classes: build the model"),
    (nn.Sequential(nn.Conv2d(1, 4, 3)), r"must return a tensor \(batch, classes\), got \(2, 4, 18, 18\)"),
    (TwoConvTwoFullNet(classes=4), r"built for images of 1 x 56 x 56"),
    (nn.Sequential(nn.Flatten(), nn.AvgPool1d(100)), "has no trainable parameters"),
])
def test_models_that_do_not_fit_are_refused_immediately(model, message, spots):
    with pytest.raises(UsageError, match=message):
        train(model, spots, placement=PLACE, settings=QUICK)


class Views(nn.Module):
    """Raises in channels-last layout, like many nets of course notebooks."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 5), nn.Linear(4 * 16 * 16, 4)

    def forward(self, pixels):
        return self.fc(self.conv(pixels).view(-1, 4 * 16 * 16))


def test_a_model_that_raises_in_channels_last_keeps_the_contiguous_layout_with_a_note(spots):
    result = train(Views(), spots, placement=PLACE, settings=QUICK)
    assert result.settings["plan"]["channels_last"] is False
    assert "channels-last" in result.notes[0]


@pytest.mark.parametrize("asked, noted", [(None, 0), (10, 1)])
def test_models_with_batch_statistics_get_whole_batches(asked, noted, spots):
    model = nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 256, 4))
    settings, few = TrainSettings(micro_batch=asked).resolve(""), spots.train.gather(torch.arange(2))
    plan, notes = choose_plan(model, settings, few, PLACE)
    assert plan.micro_batch == 0 and plan.channels_last and len(notes) == noted


def test_one_cycle_rises_then_falls_to_almost_zero():
    rates = [learning_rate(step, 200, 2.0, "one-cycle") for step in range(200)]
    top = rates.index(max(rates))
    assert max(rates) == pytest.approx(2.0, rel=1e-3) and 45 <= top <= 55
    assert rates[:top] == sorted(rates[:top]) and rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] == pytest.approx(0.08) and rates[-1] == pytest.approx(2e-4)
