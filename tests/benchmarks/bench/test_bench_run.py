"""Complete benchmarks on a few synthetic garments: structure and files, never times."""

import json

import pytest

from bench import machine, peers
from bench.load import Counters, LoadWatch
from bench.record import Bench
from bench.run import run_bench
from bench.settings import AuditBench, DataBench, TrainingBench, VisualizeBench
from shiftscope.errors import OutputError, UsageError
from shiftscope.progress import SilentProgress

pytestmark = pytest.mark.slow

SMALL = {"data": "garments:40,12", "canvas": (32, 30), "repeats": 2, "device": "cpu"}


def watch(load: float = 0.0):
    """Return a watch on a machine of which other programs use the fraction `load`."""
    readings = iter([Counters(0, 0, 0), Counters(1, 0, 0), Counters(2, load, 0)])
    return lambda: LoadWatch(lambda: next(readings), lambda _: None)


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setattr(peers, "find_spec", lambda name: None)


@pytest.fixture
def quick_product(monkeypatch):
    monkeypatch.setitem(machine.PRODUCT, "cpu", 32)


def names(comparison):
    return [one["name"] for one in comparison["contestants"]]


def test_training(tmp_path, no_peers, quick_product):
    settings = TrainingBench(**SMALL, steps=2, batch_size=16, out=tmp_path / "new" / "folder")
    bench = run_bench(settings, progress=SilentProgress(), watch=watch())
    assert [part["title"] for part in bench.comparisons] == ["two-full", "two-conv"]
    for part in bench.comparisons:
        assert names(part) == ["notebook", "ours", "bare", "batches"] and set(part["ratios"]) == {
            "notebook", "bare", "batches"}
        assert "epoch of 40 images, from 2 steps of 16" in part["unit"]
        assert all(len(one["seconds"]) == 2 and min(one["seconds"]) > 0 for one in part["contestants"])
        figures = part["figures"]
        ours = next(one["median"] for one in part["contestants"] if one["name"] == "ours")
        assert figures["ours_step_ms"] == pytest.approx(1000 * ours / (40 / 16))
        assert figures["ours_over_arithmetic"] == pytest.approx(ours / figures["arithmetic_seconds"])
        assert figures["arithmetic_seconds"] == pytest.approx(
            figures["step_gflop"] / figures["product_gflop_per_second"] * 40 / 16)
    assert not bench.busy and any("lightning is not compared" in note for note in bench.notes)
    written = json.loads((settings.out / "bench-training.json").read_text(encoding="utf-8"))
    assert Bench.from_dict(written) == bench and "out" not in written["settings"]
    assert sorted(path.name for path in settings.out.iterdir()) == [
        "bench-training.json", "bench-training.png", "bench-training.svg"]


def test_peers_are_named_with_their_version_or_as_missing(monkeypatch):
    monkeypatch.setattr(peers, "PEERS", {"pytest": print, "no_such_package": print})
    installed, notes = peers.installed_peers()
    assert list(installed) == ["pytest"]
    assert notes == [f"pytest is version {pytest.__version__}",
                     "no_such_package is not compared: it is not installed"]


def test_steps_are_limited_to_one_epoch(tmp_path, no_peers, quick_product):
    bench = run_bench(TrainingBench(**SMALL, steps=50, batch_size=20, model=("two-full",), out=tmp_path, growth=True),
                      progress=SilentProgress(), watch=watch(0.5))
    assert bench.comparisons[0]["figures"]["steps"] == 2
    assert bench.busy and bench.notes[-2].startswith(
        "busy machine: other programs used 0 % of it before and 50")
    assert [(line["axis"], line["values"]) for line in bench.growth] == [
        ("images", [20, 40]), ("canvas pixels", [28 * 28, 32 * 30, 45 * 42, 64 * 60]),
        ("hidden neurons", [50, 100, 200, 400])]
    assert (tmp_path / "bench-training-growth.svg").is_file()


def test_audit(tmp_path):
    settings = AuditBench(**SMALL | {"repeats": 1}, images=6, sample=2, model=("two-full",), out=tmp_path, growth=True)
    bench = run_bench(settings, progress=SilentProgress(), watch=watch())
    part, = bench.comparisons
    assert names(part) == ["ours", "brute", "plain"] and "all 15 placements, from 6 images" in part["unit"]
    assert {line["axis"]: line["values"] for line in bench.growth} == {
        "images": [1, 3, 6, 12], "canvas pixels": [784, 960, 1890, 3840], "hidden neurons": [50, 100, 200, 400],
        "placements": [9, 15]}


def test_visualize(tmp_path):
    bench = run_bench(VisualizeBench(**SMALL, steps=2, units="0-1", model=("two-full",), out=tmp_path),
                      progress=SilentProgress(), watch=watch())
    assert [part["title"] for part in bench.comparisons] == ["two-full class:0-1", "two-full fc1:0-1"]
    assert all(names(part) == ["ours", "one by one"] for part in bench.comparisons)
    assert bench.comparisons[0]["unit"] == "seconds for 2 images, 2 steps each"


def test_data(tmp_path):
    bench = run_bench(DataBench(**SMALL, batch_size=10, out=tmp_path), progress=SilentProgress(), watch=watch())
    part, = bench.comparisons
    medians = {one["name"]: one["median"] for one in part["contestants"]}
    assert part["figures"]["ours_images_per_second"] == pytest.approx(40 / medians["ours"])
    assert part["figures"]["steps"] == 4 and set(part["ratios"]) == {"notebook"}


@pytest.mark.parametrize("settings, message", [
    (TrainingBench(**SMALL, batch_size=41), "garments has 40 training images, fewer than one batch of 41; choose a"),
    (DataBench(**SMALL, batch_size=41), "--batch-size of at most 40"),
    (TrainingBench(**SMALL, batch_size=8, model=("two-ful",)), "unknown model 'two-ful': did you mean 'two-full'"),
    (AuditBench(**SMALL, model=("cnn",)), "unknown model 'cnn'"),
    (VisualizeBench(**SMALL, model=("two-full",), units="99-200"), "class:99"),
])
def test_bad_input_is_refused_before_measuring(tmp_path, monkeypatch, settings, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        run_bench(settings, progress=SilentProgress(), watch=watch())
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("make, name", [
    (lambda: TrainingBench(steps=0), "steps"), (lambda: DataBench(steps=0), "steps"),
    (lambda: AuditBench(sample=0), "sample"), (lambda: AuditBench(images=0), "images"),
    (lambda: TrainingBench(repeats=0), "repeats"), (lambda: TrainingBench(batch_size=-1), "batch_size"),
    (lambda: VisualizeBench(steps=0), "steps")])
def test_settings_refuse_less_than_one(make, name):
    with pytest.raises(UsageError, match=f"{name} must be an integer of at least 1"):
        make()


def test_no_model_is_refused():
    with pytest.raises(UsageError, match="at least one model"):
        TrainingBench(model=())


def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"):
        run_bench(DataBench(out=tmp_path / "taken"), progress=SilentProgress(),
                  watch=lambda: pytest.fail("measured all the same"))
