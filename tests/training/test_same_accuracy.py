"""The benchmarks that train by the plain loop."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from shiftscope.models import build_model
from shiftscope.placement import Placement
from shiftscope.settings import TrainSettings
from shiftscope.training import train

PLACE = Placement(image=(8, 8), canvas=(20, 24))


def load_script(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def same_accuracy():
    return load_script("same_accuracy")


@pytest.mark.parametrize("name", ["two-full", "two-conv"])
def test_the_plain_loop_follows_the_recipe_of_the_fast_path(same_accuracy, name, spots):
    settings = TrainSettings(epochs=2, batch_size=50, seed=3, label_smoothing=0.1)
    fast, plain = (build_model(name, canvas=(20, 24), classes=4, seed=3).double() for _ in range(2))
    for module in (*fast.modules(), *plain.modules()):
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    before = fast.fc2.weight.clone()
    train(fast, spots, placement=PLACE, settings=settings, name=name)
    kept, _ = spots.split(settings.validation)
    images = kept.gather(torch.arange(len(kept)))
    same_accuracy.train_plainly(plain, images, kept.labels, PLACE, settings.resolve(name))
    for one, other in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)  # AdamW magnifies the rounding of 10 steps
    assert (fast.fc2.weight - before).abs().max() > 1e-3


def test_accuracy_is_measured_at_the_sampled_placements(same_accuracy, spots):
    class Corner(nn.Module):
        """Says class 0 where the top left quarter of the canvas is not empty, else class 3."""

        def forward(self, pixels):
            seen = (pixels[:, 0, :10, :12].amax((1, 2)) > 0).double()
            return torch.stack((seen, torch.zeros_like(seen), torch.zeros_like(seen), 0.5 * torch.ones_like(seen)), 1)

    images, labels = spots.test.gather(torch.arange(60)), spots.test.labels
    offsets = PLACE.sample(torch.arange(60), seed=same_accuracy.TEST_SEED)
    reached = (offsets[:, 0] < 10) & (offsets[:, 1] < 12)
    expected = (torch.where(reached, 0, 3) == labels).double().mean().item()
    assert 0 < expected < 1
    assert same_accuracy.plain_accuracy(Corner(), images, labels, PLACE) == pytest.approx(expected)


def test_an_interrupted_benchmark_resumes(same_accuracy, spots, tmp_path, monkeypatch):
    ran = []

    def run_path(path, name, data, settings):
        if len(ran) == 3:
            raise KeyboardInterrupt
        ran.append((path, settings.seed))
        return {"accuracy": 0.5, "seconds": 1.0}

    monkeypatch.setattr(same_accuracy, "run_path", run_path)
    kept, seeds = tmp_path / "same.json", [TrainSettings(epochs=1, seed=seed) for seed in (0, 1)]
    same_accuracy.measure("two-full", spots, seeds[0], kept)
    with pytest.raises(KeyboardInterrupt):
        same_accuracy.measure("two-full", spots, seeds[1], kept)
    half = json.loads(kept.read_text())["records"]
    assert [sorted({"fast", "plain"} & set(record)) for record in half] == [["fast", "plain"], ["fast"]]
    ran.pop(0)
    for one in seeds:
        same_accuracy.measure("two-full", spots, one, kept)
    assert ran == [("plain", 0), ("fast", 1), ("plain", 1)]


def test_a_difference_larger_than_the_spread_fails(same_accuracy):
    def records(*pairs):
        return [{"fast": {"accuracy": fast}, "plain": {"accuracy": plain}} for fast, plain in pairs]

    assert same_accuracy.verdict(records((0.70, 0.71), (0.72, 0.73)))[1]
    sentence, within = same_accuracy.verdict(records((0.70, 0.75), (0.71, 0.76)))
    assert not within and sentence.endswith("means 5.00 points apart")
