"""Estimates of an audit's figures from a sample, against the exact audit; times against a clock that is set."""

import io
import re

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit, estimate
from shiftscope.auditing.engines import AuditInputs, brute_force, choose_engine
from shiftscope.auditing.estimate import audit_time, draw_columns, sample_figures, sample_size, sampled_figures
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import Interrupted
from shiftscope.placement import Placement
from shiftscope.progress import LineProgress, SilentProgress, about

PLACE = Placement(image=(5, 6), canvas=(11, 13))


def data(count=400):
    draw = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randint(0, 256, (count, 1, 5, 6), generator=draw, dtype=torch.uint8),
                          torch.randint(0, 3, (count,), generator=draw))
    return Dataset(name="noise", class_names=("a", "b", "c"), train=images, test=images, source="-", license="-")


def net(*, padded=False):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = nn.Conv2d(1, 4, 3, padding=1 if padded else 0)
        size = 11 * 13 if padded else 9 * 11
        return nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(4 * size, 3)).eval()


def inputs(model, images=400, seed=0):
    return AuditInputs(model=model, images=data(images).test, placement=PLACE, offsets=PLACE.offsets(), sampled=False,
                       seed=seed, memory=2**26)


def known(per_image):
    return estimate.AuditTime(per_image=per_image, images=400, checks=0.0)


@pytest.mark.parametrize(("predictions", "predictions_of_pairs"), [
    ([0, 0, 0, 0], 1.0), ([0, 1, 2, 3], 0.0), ([0, 0, 1, 1], 2 / 6), ([255, 255, 0, 0], 2 / 6)])
def test_consistency_counts_pairs_of_different_draws(predictions, predictions_of_pairs):
    values = np.array([predictions], np.uint8)
    found = sampled_figures(values, np.array([0]), classes=4, possible=50)
    assert found.consistency == pytest.approx(predictions_of_pairs)
    assert found.mean_accuracy == (values == 0).mean()
    whole = sampled_figures(values, np.array([0]), classes=4, possible=4)
    assert whole.consistency == pytest.approx((4 * 3 * predictions_of_pairs + 4) / 16)  # all pairs, each with itself


def test_intervals_cover_the_exact_figures():
    """Of 400 samples, at least 92 % of the 95 % intervals hold the exact values; the mean of all has no bias."""
    draw = np.random.default_rng(0)
    images, placements, each = 3000, 120, 8
    favored = draw.dirichlet(np.full(4, 0.5), images)
    predictions = np.stack([draw.choice(4, placements, p=p) for p in favored]).astype(np.uint8)
    labels = favored.argmax(1)
    counts = np.stack([(predictions == k).sum(1) for k in range(4)], 1)
    exact = {"mean_accuracy": (predictions == labels[:, None]).mean(),
             "consistency": ((counts / placements) ** 2).sum(1).mean()}
    hits, values = dict.fromkeys(exact, 0), {name: [] for name in exact}
    for _ in range(400):
        chosen = draw.permutation(images)[:100]
        columns = draw.integers(0, placements, (100, each))
        found = sampled_figures(predictions[chosen[:, None], columns], labels[chosen], 4, placements)
        for name, value in exact.items():
            low, high = found.intervals[name]
            hits[name] += low <= value <= high
            values[name].append(getattr(found, name))
    for name, value in exact.items():
        assert hits[name] >= 0.92 * 400, name
        error = np.std(values[name]) / np.sqrt(400)
        assert abs(np.mean(values[name]) - value) < 4 * error, name


@pytest.mark.parametrize("padded", [False, True])
def test_a_sample_of_an_audit(padded):
    """The predictions of a sample are those of the exact audit, and its intervals hold the exact figures."""
    model = net(padded=padded)
    exact = audit(model, data(), placement=PLACE)
    chosen = inputs(model)
    choice = brute_force(chosen, "test") if padded else choose_engine(chosen, "dense", [])
    assert choice.kind == ("brute" if padded else "dense")
    found = sample_figures(choice, 3, known(0.1))
    assert found is not None
    assert (found.images, found.placements) == ((400, 14) if padded else (100, PLACE.count))
    for name in ("mean_accuracy", "consistency"):
        low, high = found.intervals[name]
        assert low - 0.02 <= getattr(exact, name) <= high + 0.02
        assert low <= getattr(found, name) <= high


def test_intervals_of_samples_cover_the_exact_audit():
    """Of 60 samples with other seeds, at least 53 intervals hold the exact figure (95 % of them: 57)."""
    model = net(padded=True)
    exact = audit(model, data(), placement=PLACE)
    hits = dict.fromkeys(("mean_accuracy", "consistency"), 0)
    for seed in range(60):
        found = sample_figures(brute_force(inputs(model, seed=seed), "test"), 3, known(0.5), seconds=10)
        assert found is not None and (found.images, found.placements) == (140, 8)
        for name in hits:
            low, high = found.intervals[name]
            hits[name] += low <= getattr(exact, name) <= high
    assert min(hits.values()) >= 53, hits


def test_the_sampled_predictions_are_those_of_the_audit():
    model = net(padded=True)
    chosen = inputs(model, 30)
    choice = brute_force(chosen, "test")
    images = torch.tensor([3, 7, 29])
    columns = draw_columns(chosen, images, 5)
    assert columns.shape == (3, 5) and 0 <= columns.min() and columns.max() < PLACE.count
    outputs = estimate._outputs(choice, chosen.images.gather(images), images, 5)
    exact = audit(model, data(30), placement=PLACE)
    np.testing.assert_array_equal(outputs.argmax(2).numpy(), exact.predictions[images.numpy()[:, None], columns])


def test_draws_are_uniform_and_fixed_by_the_seed():
    columns = draw_columns(inputs(net()), torch.arange(400), 40)
    counts = np.bincount(columns.flatten(), minlength=PLACE.count)
    expected = 400 * 40 / PLACE.count
    assert ((counts - expected) ** 2 / expected).sum() < PLACE.count + 5 * np.sqrt(2 * PLACE.count)
    assert torch.equal(columns, draw_columns(inputs(net()), torch.arange(400), 40))
    assert not torch.equal(columns, draw_columns(inputs(net(), seed=1), torch.arange(400), 40))


@pytest.mark.parametrize(("arguments", "size"), [
    ((10_000, 841, 200_000), (10_000, 20)), ((10_000, 841, 8_000), (1000, 8)), ((10_000, 841, 90), (30, 3)),
    ((10_000, 841, 3), (2, 2)), ((10_000, 4, 10**9), (10_000, 4)), ((1, 841, 100), (1, 100)), ((5, 1, 100), (5, 1))])
def test_sizes_of_samples(arguments, size):
    assert sample_size(*arguments) == size


class Slow(nn.Module):
    """A model whose clock advances by a known time for each canvas."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.inner, self.clock, self.seconds = net(padded=True), clock, seconds

    def forward(self, pixels):
        self.clock.now += self.seconds * len(pixels)
        return self.inner(pixels)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(estimate.time, "perf_counter", made)
    return made


@pytest.mark.parametrize("seconds", [0.001, 0.2])
def test_the_time_of_brute_force(clock, seconds):
    choice = brute_force(inputs(Slow(clock, seconds), 50), "test")
    needed = audit_time(choice, 3)
    assert needed.per_image == pytest.approx(seconds * PLACE.count)
    assert needed.total == pytest.approx(seconds * (50 * PLACE.count + 8 * (32 + estimate.CHECK_BATCHES)), rel=0.01)


def run(model, stream, images=400, **options):
    return audit(model, data(images), placement=PLACE, engine="brute", progress=LineProgress(stream), **options)


def test_a_long_audit_begins_with_a_sample(clock):
    stream = io.StringIO()
    found = run(Slow(clock, 0.01), stream)  # 22,400 canvases: 224 s
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("audit of Slow: about 3 min 50 s for 400 images at 56 placements each; first a sample")
    match = re.fullmatch(r"sampled estimate of Slow \((\d+) random images at (\d+) random placements each\): mean "
                         r"accuracy (\S+) % \((\S+) to (\S+)\), consistency (\S+) % \((\S+) to (\S+)\); the audit of "
                         r"all 400 images follows", lines[1])
    assert match is not None and int(match[1]) * int(match[2]) == pytest.approx(1000, rel=0.05)
    for first, exact in ((3, found.mean_accuracy), (6, found.consistency)):
        value, low, high = (float(match[group]) for group in range(first, first + 3))
        assert low < value < high and abs(value - 100 * exact) < 1.5 * (high - low)
    assert found.images == 400 and not found.sampled
    assert found.seconds == pytest.approx(224, rel=0.05)  # without trial and sample


def test_a_short_audit_has_no_sample(clock):
    stream = io.StringIO()
    run(Slow(clock, 0.001), stream)
    assert "audit of Slow: about 23 s for 400 images at 56 placements each\n" in stream.getvalue()
    assert "sampled" not in stream.getvalue()


def test_a_silent_audit_measures_nothing(monkeypatch):
    monkeypatch.setattr(estimate, "audit_time", lambda *arguments: pytest.fail("measured"))
    audit(net(), data(20), placement=PLACE, progress=SilentProgress())


def test_a_sample_changes_no_result(clock):
    """A model that draws random numbers gives the same predictions with and without trial and sample."""

    class Random(Slow):
        def forward(self, pixels):
            outputs = super().forward(pixels)
            return outputs + torch.randn(outputs.shape)

    shown, silent = run(Random(clock, 0.01), io.StringIO(), images=60), audit(
        Random(clock, 0.01), data(60), placement=PLACE, engine="brute")
    np.testing.assert_array_equal(shown.predictions, silent.predictions)


def test_a_stop_during_the_sample_ends_the_audit(clock):
    model, stream = Slow(clock, 0.01), io.StringIO()
    with pytest.raises(Interrupted, match="stopped before its first images were done"):
        run(model, stream, stop=lambda: "sample" in stream.getvalue())
    assert "sampled estimate" not in stream.getvalue()


def test_a_sample_of_a_machine_that_becomes_slow_ends_early(clock):
    choice = brute_force(inputs(Slow(clock, 1.0)), "test")
    found = sample_figures(choice, 3, known(0.56), seconds=10.0)  # the trial said 0.01 s a placement
    assert found is not None and found.images < 200


def test_words_for_times():
    assert [about(seconds) for seconds in (0.1, 59.4, 60, 119, 599, 600, 3599, 7260)] == [
        "a few seconds", "about 59 s", "about 1 min", "about 2 min", "about 10 min", "about 10 min", "about 1 h 0 min",
        "about 2 h 1 min"]
