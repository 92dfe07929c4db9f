"""The timed choice of micro-batches."""

import json
import math

import pytest
import torch
from torch import nn

from shiftscope.models import build_model
from shiftscope.placement import Placement
from shiftscope.settings import TrainSettings
from shiftscope.training import train, trial
from shiftscope.training.plan import Plan

PLAN = Plan(micro_batch=125, channels_last=True, threads=1)
SHAPE = (1, 20, 20)
PLACE = Placement(image=(8, 8), canvas=(20, 20))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache" / "trials.json"
    monkeypatch.setattr(trial, "cache_file", lambda: path)
    return path


@pytest.fixture
def seconds(monkeypatch):
    """Seconds that a pass seems to take, by micro-batch; what is asked for is kept under "asked"."""
    table = {125: 1.0, 62: 0.5, 32: 0.7, "asked": []}

    def timed(model, plan, one_batch):
        one_batch(model, plan)
        table["asked"].append(plan.micro_batch)
        return table[plan.micro_batch]

    monkeypatch.setattr(trial, "_least_of_two", timed)
    return table


def nothing(model, plan):
    pass


def test_the_fastest_size_is_chosen_and_stored(seconds, cache):
    model = nn.Linear(3, 2)
    plan, note = trial.tried_plan(model, PLAN, 250, 1000, SHAPE, nothing)
    assert plan == Plan(micro_batch=62, channels_last=True, threads=1) and seconds["asked"] == [125, 62, 32]
    assert note == "micro-batches of 62 images, by a trial on this machine"
    again, note = trial.tried_plan(model, PLAN, 250, 1000, SHAPE, nothing)
    assert again == plan and "earlier trial" in note and len(seconds["asked"]) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"schema_version": 99, "micro_batch": {}}',
                                     '{"schema_version": 1, "micro_batch": 3}'])
def test_a_corrupt_cache_is_ignored_and_replaced(content, seconds, cache):
    cache.parent.mkdir()
    cache.write_text(content)
    plan, _ = trial.tried_plan(nn.Linear(3, 2), PLAN, 250, 1000, SHAPE, nothing)
    assert plan.micro_batch == 62 and len(json.loads(cache.read_text())["micro_batch"]) == 1


@pytest.mark.parametrize("change", ["machine", "torch", "batch", "shape", "model", "threads", "nonsense"])
def test_trials_of_another_machine_version_or_shape_are_ignored(change, seconds, cache, monkeypatch):
    model, plan, batch, shape = nn.Linear(3, 2), PLAN, 250, SHAPE
    trial.tried_plan(model, plan, batch, 1000, shape, nothing)
    if change == "machine":
        monkeypatch.setattr(trial.platform, "node", lambda: "another")
    elif change == "torch":
        monkeypatch.setattr(trial.torch, "__version__", "9.9")
    elif change == "nonsense":
        stored = json.loads(cache.read_text())
        stored["micro_batch"] = dict.fromkeys(stored["micro_batch"], -5)
        cache.write_text(json.dumps(stored))
    batch = 251 if change == "batch" else batch
    shape = (1, 20, 21) if change == "shape" else shape
    model = nn.Linear(4, 2) if change == "model" else model
    plan = Plan(micro_batch=125, channels_last=True, threads=2) if change == "threads" else plan
    _, note = trial.tried_plan(model, plan, batch, 1000, shape, nothing)
    assert "by a trial" in note and len(seconds["asked"]) == 6


def test_a_short_training_gets_no_trial(seconds, cache):
    plan, note = trial.tried_plan(nn.Linear(3, 2), PLAN, 250, 59, SHAPE, nothing)
    assert (plan, note) == (PLAN, None) and seconds["asked"] == [125] and not cache.exists()


def test_plans_with_whole_batches_get_no_trial(seconds):
    whole = Plan(micro_batch=0, channels_last=True, threads=1)
    assert trial.tried_plan(nn.Linear(3, 2), whole, 250, 1000, SHAPE, nothing) == (whole, None)


def test_sizes_that_run_out_of_memory_are_skipped_and_noted(seconds):
    def hungry(model, plan):
        if plan.micro_batch > 32:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    plan, note = trial.tried_plan(nn.Linear(3, 2), PLAN, 250, 1000, SHAPE, hungry)
    assert plan.micro_batch == 32 and "(125, 62 failed, out of memory perhaps)" in note


def test_the_plan_stays_if_all_sizes_run_out_of_memory(seconds, cache):
    def starved(model, plan):
        raise MemoryError

    assert trial.tried_plan(nn.Linear(3, 2), PLAN, 250, 1000, SHAPE, starved) == (PLAN, None)
    assert not cache.exists()


def test_a_read_only_cache_is_ignored(seconds, cache):
    cache.parent.write_text("a file where the folder should be")
    assert trial.tried_plan(nn.Linear(3, 2), PLAN, 250, 1000, SHAPE, nothing)[0].micro_batch == 62


def test_training_with_a_trial_equals_training_with_its_plan(spots, seconds, monkeypatch, tmp_path):
    monkeypatch.setattr(trial, "REPAYS", 0.0)
    seconds.update({50: 1.0, 25: 0.5, 13: 0.7})
    settings = {"epochs": 2, "batch_size": 50, "seed": 1}
    models = [build_model("two-conv", canvas=(20, 20), classes=4, seed=0) for _ in range(2)]
    tried = train(models[0], spots, placement=PLACE, settings=TrainSettings(**settings), folder=tmp_path)
    given = train(models[1], spots, placement=PLACE, settings=TrainSettings(**settings, micro_batch=25))
    assert tried.settings["plan"]["micro_batch"] == 25 and tried.notes[0].startswith("micro-batches of 25 images")
    assert all(p.equal(q) for p, q in zip(models[0].parameters(), models[1].parameters(), strict=True))
    assert tried.history == given.history and len(seconds["asked"]) == 3


def test_resuming_keeps_the_plan_without_a_trial(spots, seconds, monkeypatch, tmp_path):
    monkeypatch.setattr(trial, "REPAYS", 0.0)
    seconds.update({50: 1.0, 25: 0.5, 13: 0.7})
    paused = TrainSettings(epochs=2, batch_size=50, seed=1, max_time=1e-9)
    model = build_model("two-conv", canvas=(20, 20), classes=4, seed=0)
    train(model, spots, placement=PLACE, settings=paused, folder=tmp_path)
    seconds.update({50: 0.1})
    trial.cache_file().unlink()
    result = train(model, spots, placement=PLACE, settings=TrainSettings(epochs=2, batch_size=50, seed=1),
                   folder=tmp_path, resume=True)
    assert result.settings["plan"]["micro_batch"] == 25 and len(seconds["asked"]) == 3


def test_the_trial_does_not_change_model_or_gradients():
    model = build_model("two-conv", canvas=(20, 20), classes=4, seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def one_batch(twin, plan):
        assert twin is not model and twin.training
        twin(torch.zeros(4, 1, 20, 20)).sum().backward()
        with torch.no_grad():
            twin.fc1.weight.zero_()

    trial.tried_plan(model.eval(), PLAN, 250, 10**9, SHAPE, one_batch)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not model.training


def test_infinity_is_never_chosen():
    assert trial.choose({125: math.inf, 62: 3.0, 32: math.inf}, 125) == 62
