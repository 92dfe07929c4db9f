"""The parts of a benchmark: load, processes, arithmetic, the course notebook, the plain script; no times."""

import math
import os
import time

import numpy as np
import pytest
import torch
from torch import nn

from bench.load import Counters, LoadWatch, others, read_counters
from bench.machine import count_operations, product_speed
from bench.notebook_way import (
    NotebookConvnet,
    NotebookPerceptron,
    PlacedImages,
    notebook_model,
    notebook_training,
    train_steps,
)
from bench.plain_script import cut_windows
from bench.rounds import canvases, doublings, grow, in_turns
from bench.run import remarks
from bench.wide import WideConvnet, wide_model
from bench.worker import WorkerProcess
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.models import TwoConvTwoFullNet, TwoFullNet, build_model
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.training import plan

STAT = """cpu  99 0 0 99 0 0 0 0 0 0
cpu{core} 100 20 30 800 50 1 2 3 70 0
cpu9999 5 5 5 5 5 5 5 5 5 5
intr 5
"""


def readings(*counters):
    values = iter(counters)
    return lambda: next(values)


# ------------------------------------------------------------------ load


def test_the_counters_of_usable_cores_are_read(tmp_path):
    core, tick = min(os.sched_getaffinity(0)), os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text(STAT.format(core=core), encoding="ascii")
    counters = read_counters(tmp_path / "stat")
    assert counters is not None
    assert (counters.total * tick, counters.busy * tick) == (pytest.approx(1006), pytest.approx(156))
    assert counters.own == pytest.approx(sum(os.times()[:4]), abs=1)


@pytest.mark.parametrize("text", ["", "cpu0 x y", "nothing"])
def test_without_counters_the_load_is_unknown(tmp_path, text):
    (tmp_path / "stat").write_text(text, encoding="ascii")
    assert read_counters(tmp_path / "stat") is None
    assert read_counters(tmp_path / "missing") is None


def test_the_load_of_others_excludes_our_own():
    assert others(Counters(100, 50, 7), Counters(110, 58, 12)) == pytest.approx(0.3)
    assert others(Counters(100, 50, 7), Counters(110, 55, 12.3)) == 0.0  # ticks are coarser than our own clock
    assert others(Counters(100, 50, 7), Counters(100, 50, 7)) is None and others(None, Counters(1, 1, 1)) is None


def test_the_watch_measures_before_and_during_the_benchmark():
    waits = []
    watch = LoadWatch(readings(Counters(0, 0, 0), Counters(2, 0.5, 0), Counters(12, 10.5, 9)), waits.append)
    assert waits == [1.0] and watch.before == pytest.approx(0.25)
    assert watch.load()["during"] == pytest.approx(0.1) and "/proc/stat" in watch.source


def test_the_load_average_is_the_fallback(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5 * (os.cpu_count() or 1), 0.0, 0.0))
    watch = LoadWatch(lambda: None, lambda _: pytest.fail("nothing to wait for"))
    assert watch.load() == {"before": 0.5, "during": None, "source": "load average of the last minute"}


def test_remarks_state_what_makes_times_unreliable():
    quiet = {"before": 0.0, "during": 0.01, "source": "x"}
    assert remarks(quiet, 5) == []
    assert "fewer than 5" in remarks(quiet, 4)[0]
    assert "make sure" in remarks({"before": None, "during": None, "source": "unknown"}, 5)[0]
    assert remarks(quiet | {"before": 0.06}, 5)[0].startswith("busy machine: other programs used 6 %")


# ------------------------------------------------------------------ processes and rounds


def _factory(offset):
    return lambda value: value + offset + 1000 * plan.keep_memory.cache_info().currsize


def _failing():
    return lambda: 1 / 0


def test_another_process_returns_results_and_keeps_the_default_allocator():
    plan.keep_memory()
    with WorkerProcess(_factory, 0.5) as part:
        process = part.process
        assert process.pid != os.getpid() and part(2.0) == 2.5 and part(3.0) == 3.5
    assert not process.is_alive() and process.exitcode == 0


def test_an_error_in_the_process_is_raised_here():
    with WorkerProcess(_failing) as part, pytest.raises(ShiftscopeError, match="ZeroDivisionError: division by zero"):
        part()
    with pytest.raises(ShiftscopeError, match="ValueError"):
        WorkerProcess(math.sqrt, -1.0)


def test_a_dead_process_raises_an_error():
    with WorkerProcess(_factory, 0.0) as part:
        part.process.kill()
        part.process.join()
        with pytest.raises((ShiftscopeError, BrokenPipeError)):
            part(1.0)


def test_methods_alternate():
    order = []
    seconds = in_turns({name: lambda turn, name=name: order.append(name) or float(turn) for name in "ab"}, 2, "x",
                     SilentProgress())
    assert order == ["a", "b", "a", "b"] and seconds == {"a": [0.0, 1.0], "b": [0.0, 1.0]}


def test_growth_warms_up_and_separates_sizes():
    calls = []
    line = grow("net", "images", "s", {size: lambda size=size: calls.append(size) or 2.0 * size ** 2
                                       for size in (3, 6, 12)}, 2, SilentProgress())
    assert calls == [3, 6, 12, 3, 6, 12, 3, 6, 12]
    assert line["seconds"] == [[18.0] * 2, [72.0] * 2, [288.0] * 2] and line["exponent"] == pytest.approx(2)


def test_sizes():
    assert doublings(8) == [1, 2, 4, 8] and doublings(1) == [1] and doublings(100, least=30) == [50, 100]
    assert canvases((40, 60), (28, 50)) == [(28, 50), (40, 60), (57, 85), (80, 120)]
    assert canvases((28, 28), (28, 28))[0] == (28, 28)


# ------------------------------------------------------------------ arithmetic


def test_operations_of_the_course_models_equal_a_manual_count():
    labels = torch.zeros(3, dtype=torch.int64)
    perceptron = count_operations(TwoFullNet(), torch.rand(3, 1, 56, 56), labels)
    assert perceptron == 3 * 2 * (2 * 3136 * 100 + 3 * 100 * 10)  # pixels need no gradient
    convnet = count_operations(TwoConvTwoFullNet(), torch.rand(3, 1, 56, 56), labels)
    first, second = 52 * 52 * 30 * 25, 22 * 22 * 30 * 5 * 25
    assert convnet == 3 * 2 * (2 * first + 3 * second + 3 * (3630 * 100 + 100 * 10))


def test_counting_changes_neither_gradients_nor_random_state():
    model, state = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(6, 2)), torch.get_rng_state()
    count_operations(model, torch.rand(1, 1, 2, 3, generator=torch.Generator()), torch.zeros(1, dtype=torch.int64))
    assert model[2].weight.grad is None and torch.equal(torch.get_rng_state(), state)


def test_the_speed_of_a_product_is_operations_over_seconds(monkeypatch):
    ticks = iter([0.0, 2.0, 0.0, 4.0, 0.0, 4.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    assert product_speed(torch.device("cpu"), 10, repeats=3) == 2000 / 4


# ------------------------------------------------------------------ baselines


def test_the_notebook_places_images_as_we_do():
    images = np.random.default_rng(0).integers(1, 256, (40, 1, 5, 7), dtype=np.uint8)
    placed = PlacedImages(images, np.arange(40), (9, 8), normalize=False)
    placement = Placement(image=(5, 7), canvas=(9, 8))
    seen = set()
    for index in range(40):
        pixels, label = placed[index]
        offset = tuple(pixels[0].nonzero().amin(0).tolist())
        ours = placement.place(torch.from_numpy(images[index:index + 1]), torch.tensor([offset]))[0]
        assert torch.equal(pixels, ours / 255) and label == index
        seen.add(offset)
    assert {y for y, _ in seen} == set(range(5)) and {x for _, x in seen} == {0, 1}


def test_the_notebook_normalizes_all_channels_with_the_same_values():
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    plain, normalized = (PlacedImages(images, np.zeros(2, np.int64), (4, 4), normalize=normalize)[1][0]
                         for normalize in (False, True))
    assert torch.equal(plain, torch.from_numpy(images[1]) / 255)
    assert torch.allclose(normalized, (plain - 0.1307) / 0.3081)


@pytest.mark.parametrize("plain, ours", [(NotebookPerceptron, TwoFullNet), (NotebookConvnet, TwoConvTwoFullNet)])
def test_the_models_of_the_notebook_compute_the_same_function(plain, ours):
    model, twin = ours(canvas=(20, 24)).double().eval(), plain(canvas=(20, 24)).double().eval()
    twin.load_state_dict(model.state_dict())
    pixels = torch.rand(3, 1, 20, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean, std = (getattr(model.normalize, key) for key in ("mean", "std"))
    assert torch.allclose(twin((pixels - mean) / std), model(pixels), atol=1e-12)
    assert notebook_model("two-full", canvas=(20, 24), channels=1, classes=10)[1]


def test_the_notebook_trains_the_requested_number_of_steps():
    run = notebook_training("two-full", np.zeros((20, 1, 4, 4), np.uint8), np.arange(20) % 2, (6, 5), 4, 2, "cpu")
    assert run(2) > 0
    seen = []
    model = nn.Linear(3, 2)
    model.register_forward_hook(lambda *_: seen.append(1))
    before = model.weight.detach().clone()
    batches = [(torch.ones(2, 3), torch.tensor([0, 1]) * 0)] * 5
    train_steps(model, torch.optim.SGD(model.parameters(), lr=0.1), batches, 3, torch.device("cpu"))
    assert len(seen) == 3 and not torch.equal(model.weight, before)


def test_the_plain_script_agrees_with_brute_force():
    model = build_model("two-full", canvas=(8, 9), classes=3).eval()
    images = torch.randint(0, 256, (2, 1, 5, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    logits = BruteForceEngine(model, Placement(image=(5, 4), canvas=(8, 9)), (1, 5, 4)).logits(images)
    assert torch.allclose(cut_windows(model, images, (8, 9)), logits.log_softmax(-1), atol=1e-5)


def test_wide_models_equal_the_course_models_at_their_width():
    sizes = {"canvas": (56, 56), "channels": 1, "classes": 10}
    for name, width in (("two-full", 100), ("two-conv", 30)):
        shapes = [tuple(p.shape) for p in wide_model(name, width, **sizes).parameters()]
        assert shapes == [tuple(p.shape) for p in build_model(name, **sizes).parameters()]
    assert WideConvnet(12, canvas=(20, 24), classes=3)(torch.rand(2, 1, 20, 24)).shape == (2, 3)


def test_other_models_get_pixels_without_normalization():
    model, normalize = notebook_model("torch.nn:Flatten", canvas=(4, 4), channels=1, classes=2)
    assert isinstance(model, nn.Flatten) and not normalize
    with pytest.raises(UsageError, match="unknown model"):
        notebook_model("two-ful", canvas=(4, 4), channels=1, classes=2)
