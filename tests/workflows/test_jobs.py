"""A run whose time is limited: it pauses, stays whole, and goes on to what it would have been without a limit."""

import json

import pytest

from shiftscope.errors import UsageError
from shiftscope.progress import SilentProgress
from shiftscope.settings import DataSettings, RunSettings
from shiftscope.training import stopping
from shiftscope.workflows import train_models
from shiftscope.workflows.jobs import Budget
from shiftscope.workflows.train_models import run_models

TIMES = ("train_seconds", "images_per_second", "audit", "audit_over_seeds", "seeds")
"""What may differ between two runs of the same seed: it holds seconds."""


class Notes(SilentProgress):
    def __init__(self):
        self.received = []

    def note(self, message):
        self.received.append(message)


@pytest.fixture
def fake(monkeypatch):
    class FakeTime:
        now = 50.0

        def perf_counter(self):
            return self.now

    time = FakeTime()
    monkeypatch.setattr(stopping, "time", time)
    return time


def test_work_starts_while_time_remains_and_a_training_gets_the_remaining_time(fake):
    budget = Budget(60.0)
    assert budget.start() and budget.remaining() == 60.0
    fake.now += 59.0
    assert budget.start() and budget.remaining() == 1.0
    fake.now += 1.0
    assert not budget.start() and 0 < budget.remaining() < 1e-6


def test_the_first_piece_of_work_always_starts(fake):
    budget = Budget(1.0)
    fake.now += 500.0
    assert budget.start() and not budget.start()


def test_the_remaining_work_is_reported(fake):
    budget = Budget(10.0)
    fake.now += 75.0
    assert budget.paused((3, 3), (3, 3)) is None and budget.paused((3, 3), (0, 0)) is None
    assert budget.paused((3, 3), (2, 3)) == (
        "the run paused after 1:15 because of --max-time: 3 of 3 trainings and 2 of 3 audits are done and saved. "
        "Continue with the same command and --resume")
    assert "1 of 3 trainings are done" in budget.paused((1, 3), (0, 0))


@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
def test_the_limit_must_be_positive_and_finite(value):
    with pytest.raises(UsageError, match="max_time must be a number of seconds above 0, got"):
        RunSettings(max_time=value)


def timeless(entry):
    return {key: value for key, value in entry.items() if key not in TIMES}


def test_a_run_resumed_many_times_equals_a_run_without_a_limit(npz, tmp_path, monkeypatch):
    data = DataSettings(data=f"npz:{npz}", canvas=(24, 26))
    common = {"models": ("two-full",), "epochs": 2, "seed": 3, "device": "cpu"}
    with monkeypatch.context() as patches:
        patches.setattr(train_models, "write_report", lambda *_: None)  # only its metrics are compared
        whole = run_models(data, RunSettings(**common, out=tmp_path / "whole"), progress=SilentProgress())
    out, notes, states, made = tmp_path / "parts", Notes(), [], None
    while made is None or made["paused"]:
        made = run_models(data, RunSettings(**common, out=out, resume=True, max_time=1e-6), progress=notes)
        assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(made))
        done = [*made["models"], *made["controls"]]
        assert (out / "report.html").is_file() == (made["paused"] is None)
        assert all({"test_accuracy", "history", "checkpoint", "seeds"} <= set(entry) and entry["epochs"] == 2
                   and (out / entry["checkpoint"] / "model.safetensors").is_file() for entry in done)
        states.append((len(made["models"]), len(made["controls"]), sum("audit" in entry for entry in done)))
    # an epoch is one step: pause, train and evaluate; the same for the centered twin; one audit, and the other
    assert states == [(0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 1, 2)]
    output = [line for line in notes.received if line.startswith("the run paused")]
    assert len(output) == 5 and "0 of 2 trainings and 0 of 2 audits are done" in output[0]
    assert any("two-full paused after 0:00 (--max-time) in epoch 2 of 2" in line for line in notes.received)
    for kind in ("models", "controls"):
        assert [timeless(entry) for entry in made[kind]] == [timeless(entry) for entry in whole[kind]]
    assert made["two_by_two"] == whole["two_by_two"] and whole["paused"] is None
    for job in ("two-full-seed3", "two-full-centered-seed3"):
        weights = [tmp_path / name / "checkpoints" / job / "model.safetensors" for name in ("whole", "parts")]
        assert weights[0].read_bytes() == weights[1].read_bytes()
    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert sorted((line["job"], line["epoch"]) for line in log) == [
        ("two-full-centered-seed3", 1), ("two-full-centered-seed3", 2), ("two-full-seed3", 1), ("two-full-seed3", 2)]


def test_finished_jobs_are_listed_if_an_earlier_one_is_paused(npz, tmp_path, monkeypatch):
    data = DataSettings(data=f"npz:{npz}", canvas=(24, 26))
    common = {"epochs": 2, "device": "cpu", "audit": False, "out": tmp_path / "out"}
    monkeypatch.setattr(train_models, "write_report", lambda *_: None)
    run_models(data, RunSettings(**common, models=("two-full",)), progress=SilentProgress())
    more = run_models(data, RunSettings(**common, models=("two-conv", "two-full"), resume=True, max_time=1e-6),
                        progress=SilentProgress())
    assert [entry["name"] for entry in more["models"]] == ["two-full"] and len(more["controls"]) == 1
    assert "2 of 3 trainings are done" in more["paused"]
