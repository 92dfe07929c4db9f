"""The trial of batch sizes and layouts, with a clock that is set by the model."""

import pytest
import torch
from torch import nn

from shiftscope.data.base import TensorImages
from shiftscope.evaluation import batch_trial
from shiftscope.evaluation.brute import BruteForceEngine, plain_logits
from shiftscope.placement import Placement

PLACE = Placement(image=(4, 6), canvas=(20, 28))  # 17 x 23 placements


def images(count=24):
    draw = torch.Generator().manual_seed(0)
    return TensorImages(torch.randint(0, 256, (count, 2, 4, 6), dtype=torch.uint8, generator=draw),
                        torch.zeros(count, dtype=torch.int64))


class Clocked(nn.Module):
    """A convolution whose calls take a known time, by batch size and by layout."""

    def __init__(self, cost):
        super().__init__()
        self.conv, self.fc, self.cost = nn.Conv2d(2, 4, 3), nn.Linear(4, 3), cost
        self.now, self.seen = 0.0, 0
        self.double()

    def forward(self, pixels):
        last = pixels.is_contiguous(memory_format=torch.channels_last) and not pixels.is_contiguous()
        self.now += self.cost(len(pixels), last)
        self.seen += len(pixels)
        return self.fc(self.conv(pixels).relu().amax((2, 3)))


@pytest.fixture
def tuned(monkeypatch):
    def make(cost, **more):
        model = Clocked(cost)
        monkeypatch.setattr(batch_trial.time, "perf_counter", lambda: model.now)
        engine = BruteForceEngine(model, PLACE, (2, 4, 6), **more)
        engine.tune(images())
        return engine
    return make


def caches(best, slow):
    """Seconds of a batch: a fixed cost, and `slow` times as long for each image beyond `best`."""
    return lambda size, last: 0.01 + 0.01 * (min(size, best) + slow * max(0, size - best)) * (1 if last else 1.5)


@pytest.mark.parametrize("best", [1, 2, 8, 64])
def test_the_fastest_size_is_chosen(best, tuned):
    engine = tuned(caches(best, 4))
    assert (engine.chunk, engine.channels_last) == (best, True)
    assert engine.seconds == pytest.approx((0.01 + 0.01 * best) / best)


def test_sizes_above_the_usual_one_are_chosen_if_they_are_faster(tuned):
    assert tuned(lambda size, last: 1e-4 + 1e-6 * size).chunk == 512


def test_few_pairs_keep_the_usual_size():
    """Nine placements of one image cannot show that larger batches are slower."""
    place = Placement(image=(4, 6), canvas=(6, 8))
    engine = BruteForceEngine(Clocked(lambda size, last: 1e-4 + 1e-6 * size), place, (2, 4, 6))
    usual = engine.chunk
    engine.tune(images(1))
    assert engine.chunk == usual >= 64


@pytest.mark.parametrize(("factor", "chosen"), [(0.5, False), (0.95, True), (2.0, True)])
def test_the_contiguous_layout_is_used_if_it_is_clearly_faster(factor, chosen, tuned):
    engine = tuned(lambda size, last: (0.01 + 0.01 * size) * (1 if last else factor))
    assert engine.channels_last is chosen and engine.windows is not None
    assert engine.windows.channels_last is chosen


def test_the_contiguous_layout_may_be_fastest_at_another_size(tuned):
    slow = {True: (8, 1.0), False: (32, 0.5)}

    def cost(size, last):
        best, factor = slow[last]
        return factor * (0.01 + 0.01 * (min(size, best) + 4 * max(0, size - best)))

    engine = tuned(cost)
    assert (engine.chunk, engine.channels_last) == (32, False)


def test_the_outputs_of_the_trial_are_not_computed_again(tuned):
    """Predictions of the trial are results: an audit passes each placement through the model once."""
    engine = tuned(caches(8, 4))
    model, batch, tried = engine.model, engine._tried.images, len(engine._tried.outputs)
    before, count = model.seen, len(batch)
    found = engine.logits(batch)
    assert tried > 60 and model.seen - before == count * PLACE.count - tried and torch.equal(
        batch, images().images[:count])
    pairs = engine.pairs(count)
    expected = plain_logits(model, batch[pairs[:, 0]], PLACE.offsets()[pairs[:, 1]], PLACE)
    torch.testing.assert_close(found, expected.view(count, PLACE.count, 3))
    before = model.seen
    torch.testing.assert_close(engine.logits(batch), found)  # known outputs are used once, then released
    assert model.seen - before == count * PLACE.count


def test_other_images_get_their_own_outputs(tuned):
    engine = tuned(caches(8, 4))
    batch = images().gather(torch.tensor([3, 5]))
    pairs = engine.pairs(2)
    expected = plain_logits(engine.model, batch[pairs[:, 0]], PLACE.offsets()[pairs[:, 1]], PLACE)
    torch.testing.assert_close(engine.logits(batch), expected.view(2, PLACE.count, 3))


def test_slow_batches_are_tried_few_times(tuned):
    """A network that takes 0.1 s per placement at its best size: the loss of the trial is below 4 % of 1,000."""
    cost = lambda size, last: 0.1 * (size + 0.5 + max(0, size - 8)) * (1 if last else 2)  # noqa: E731
    engine = tuned(cost)
    assert engine.chunk == 8
    tried = len(engine._tried.outputs)
    best = cost(8, True) / 8
    assert engine.model.now - best * tried < 0.04 * 1000 * best


def test_memory_bounds_the_sizes(tuned):
    engine = tuned(lambda size, last: 1.0, memory=2**19)
    assert 1 < engine.largest < 64 and engine.chunk <= engine.largest


def test_a_single_placement():
    place = Placement(image=(4, 6), canvas=(4, 6))
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double()
    engine = BruteForceEngine(model, place, (2, 4, 6))
    engine.tune(images(1))
    assert engine.chunk >= 64 and engine.seconds is not None
    torch.testing.assert_close(engine.logits(images(1).images)[:, 0], model(images(1).images.double() / 255))


def test_sizes_that_do_not_fit_into_memory_end_the_trial(tuned):
    def cost(size, last):
        if size > 4:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return 0.01
    engine = tuned(cost)
    assert engine.chunk <= 4
    assert engine.logits(images().gather(torch.arange(2))).shape == (2, PLACE.count, 3)
