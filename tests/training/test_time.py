"""The time limit of a training."""

import json

import numpy as np
import pytest
import torch
from cyclopts import Token

from shiftscope.cli import main
from shiftscope.cli.flags import parse_time
from shiftscope.errors import UsageError
from shiftscope.models import build_model
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.settings import TrainSettings
from shiftscope.training import stopping, train
from shiftscope.training.stopping import Clock

PLACE = Placement(image=(8, 8), canvas=(20, 20))
SETTINGS = TrainSettings(epochs=2, batch_size=50, seed=1)
CPU = torch.device("cpu")


def convnet(seed=0):
    return build_model("two-conv", canvas=(20, 20), classes=4, seed=seed)


def limited(seconds):
    return TrainSettings(epochs=2, batch_size=50, seed=1, max_time=seconds)


class Notes(SilentProgress):
    """Collects notes."""

    def __init__(self):
        self.said = []

    def note(self, message):
        self.said.append(message)


def test_a_limit_shorter_than_a_step_allows_one_step_per_call_and_resumes_exactly(spots, tmp_path):
    expected = train(convnet(), spots, placement=PLACE, settings=SETTINGS, folder=tmp_path / "whole")
    calls, result, notes = 0, None, Notes()
    while result is None or result.epochs < 2:
        result = train(convnet(seed=9 if calls else 0), spots, placement=PLACE, settings=limited(1e-9), resume=True,
                       folder=tmp_path / "parts", progress=notes)
        calls += 1
    assert calls == 10  # 208 images in batches of 50 are 5 steps an epoch
    assert result.history == expected.history
    assert (tmp_path / "parts" / "model.safetensors").read_bytes() == \
        (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert "(--max-time) in epoch 1 of 2, after step 1 of 5; saved in" in notes.said[0]
    assert "--resume" in notes.said[0] and len(notes.said) == 9


def test_a_paused_training_has_a_note_in_its_result(spots):
    result = train(convnet(), spots, placement=PLACE, settings=limited(1e-9))
    assert result.epochs == 0 and result.history == [] and result.images_per_second > 0
    assert result.notes[-1].endswith("nothing was saved because no folder was given")


def test_an_unreached_limit_has_no_effect(spots, tmp_path):
    plain = train(convnet(), spots, placement=PLACE, settings=SETTINGS)
    free = train(convnet(), spots, placement=PLACE, settings=limited(1000), folder=tmp_path)
    assert plain.history == free.history and plain.settings == free.settings and free.notes == []


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
def test_a_limit_must_be_a_time(value):
    with pytest.raises(UsageError, match="max_time must be a number of seconds above 0, got"):
        TrainSettings(max_time=value)


def test_fewer_images_than_a_batch_give_one_step_per_epoch(spots):
    settings = TrainSettings(epochs=2, batch_size=1000, validation=0)
    result = train(convnet(), spots.limit(7), placement=PLACE, settings=settings)
    assert result.train_images == 7 and result.epochs == 2


class FakeTime:
    """A clock that tests set."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def fake(monkeypatch):
    time = FakeTime()
    monkeypatch.setattr(stopping, "time", time)
    return time


def test_a_clock_without_limit_is_never_up(fake):
    endless, short = Clock(), Clock(3.0)
    fake.now += 3.0
    assert not endless.is_up() and short.is_up() and short.seconds() == 3.0


@pytest.mark.parametrize("text, seconds", [("90s", 90), ("10m", 600), ("10 min", 600), ("1.5h", 5400), ("45", 45)])
def test_times_have_a_unit(text, seconds):
    assert parse_time(float, [Token(value=text)]) == seconds


@pytest.mark.parametrize("text", ["", "ten", "10x", "-5m", "0", "0s", "1:30", "10m30", "inf", "nan"])
def test_invalid_times_are_refused(text):
    with pytest.raises(UsageError, match="max-time must be a time above 0 as in 90s, 10m or 1.5h, got "):
        parse_time(float, [Token(value=text)])


def test_the_command_pauses_with_exit_code_0_and_resumes_under_another_limit(tmp_path, capsys):
    pictures = torch.randint(0, 256, (40, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    arrays = {f"{split}_{what}": value for split in ("train", "test")
              for what, value in (("images", pictures.numpy()), ("labels", (torch.arange(40) % 2).numpy()))}
    np.savez(tmp_path / "noise.npz", **arrays, class_names=np.array(["a", "b"]))
    line = ["train", "two-full", "--data", f"npz:{tmp_path / 'noise.npz'}", "--epochs", "2", "--out",
            str(tmp_path / "run"), "--device", "cpu", "--json"]
    assert main([*line, "--max-time", "0.000001s"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["epochs"] == 1  # 32 images are one step an epoch
    assert "(--max-time)" in shown.err and "Traceback" not in shown.err
    assert main([*line, "--max-time", "1h", "--resume"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 2
    assert main([*line, "--max-time", "soon", "--overwrite"]) == 2
    assert "max-time must be a time above 0" in capsys.readouterr().err
