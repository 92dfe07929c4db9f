"""`benchmarks/run_bench.py`: what it hands on and what it shows."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bench.record import Bench, compare, growth_line
from run_bench import main

RESULT = Bench(
    bench="training", measured="2026-01-02T03:04:05+00:00", dataset="garments", synthetic=True, repeats=2, settings={},
    comparisons=[compare("two-full", "seconds per epoch", {"notebook": "n", "ours": "o"},
                         {"notebook": [8.0, 9.0], "ours": [2.0, 2.0]}, {"steps": 7, "pipeline_share": 0.125})],
    growth=[growth_line("two-full", "images", "seconds", [100, 2000], [[1.0], [20.0]])], busy=True,
    machine={"processor": "chip", "cores": 2, "threads": 1, "device": "cpu", "torch": "2"},
    others={"before": 0.0, "during": 0.3, "source": "x"}, notes=["busy machine: x"])


@pytest.fixture
def calls(monkeypatch):
    """Settings of all calls of `run_bench`, which measures nothing here."""
    settings_of_calls = []
    module = ModuleType("bench.run")
    module.run_bench = lambda settings, progress: settings_of_calls.append(settings) or RESULT  # pyright: ignore
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return settings_of_calls


def test_settings_are_passed_on(calls):
    assert main(["training", "--model", "two-conv", "--steps", "3", "--batch-size", "50", "--repeats", "7",
                 "--canvas", "40x48", "--growth", "--out", "x", "--data", "fashion-mnist"]) == 0
    one, = calls
    assert (one.bench, one.model, one.steps, one.batch_size, one.repeats) == ("training", ("two-conv",), 3, 50, 7)
    assert (one.canvas, one.growth, one.out, one.data) == ((40, 48), True, Path("x"), "fashion-mnist")


def test_each_benchmark_has_its_own_options(calls):
    assert main(["audit", "--images", "30", "--sample", "2", "--model", "two-full,two-conv"]) == 0
    assert main(["visualize", "--units", "0-3"]) == 0
    assert main(["data", "--steps", "5"]) == 0
    audit, synthesis, batches = calls
    assert (audit.bench, audit.images, audit.sample, audit.model) == ("audit", 30, 2, ("two-full", "two-conv"))
    assert (synthesis.bench, synthesis.units) == ("visualize", "0-3") and (batches.bench, batches.steps) == ("data", 5)


def test_tables_show_medians_ratios_and_exponents(calls, capsys):
    assert main(["training"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["notebook", "8.5", "8", "9", "4.25"] in lines and ["ours", "2", "2", "2"] in lines
    assert ["two-full", "images", "100", "2,000", "1.00", "1.00"] in lines
    assert ["steps", "7,", "pipeline", "share", "12.5", "%"] in lines
    assert lines[-2] == ["busy", "machine:", "x"] and lines[-1] == ["shiftscope-bench"]


def test_json_is_the_record(calls, capsys):
    assert main(["training", "--json"]) == 0
    assert Bench.from_dict(json.loads(capsys.readouterr().out)) == RESULT


@pytest.mark.parametrize("arguments, option", [
    (["training", "--steps", "0"], "steps"), (["data", "--steps", "0"], "steps"),
    (["training", "--batch-size", "0"], "batch_size"), (["audit", "--images", "-1"], "images"),
    (["data", "--model", "x"], "--model")])
def test_bad_options_are_usage_errors(calls, capsys, arguments, option):
    assert main([*arguments]) == 2
    assert option in capsys.readouterr().err and not calls


def test_an_unknown_model_and_existing_files_are_refused_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["training", "--data", "npz:missing.npz", "--out", "d", "--quiet"]
    assert main([*line, "--model", "two-ful"]) == 2
    assert "unknown model 'two-ful': did you mean 'two-full'?" in capsys.readouterr().err and not Path("d").exists()
    for name in ("bench-training.json", "bench-training.png"):
        Path("d").mkdir(exist_ok=True)
        Path("d", name).write_text("mine")
        assert main(line) == 2
        assert f"{name} already exists; replace it with --overwrite" in capsys.readouterr().err
        assert Path("d", name).read_text() == "mine"
        Path("d", name).unlink()
