"""`shiftscope visualize`: what it hands on and what it shows."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from shiftscope.cli import main


@pytest.fixture
def calls(monkeypatch):
    """Calls of a workflow that makes nothing: (positional, keywords)."""
    found = []
    synthesis = SimpleNamespace(
        objective="fc1:all", units=["fc1:0", "fc1:1"], seconds=0.25, activations=np.array([2.0, 4.0]),
        activations_start=np.array([0.0, 1.0]), predictions=np.array([1, -1]), confidence=np.array([0.5, 0.0]),
        to_dict=lambda: {"objective": "fc1:all", "units": ["fc1:0", "fc1:1"]})
    quality = SimpleNamespace(exceeds_real=0.5, transfer=None, dead=0.25, means=lambda: {"placement_stability": 0.75},
                              summary=lambda: {"exceeds_real": 0.5})
    neighbors = SimpleNamespace(arrays=("top_index", "top_canvases"), top_index=np.array([[3], [1]]),
                                 to_dict=lambda: {"images": 12})

    def work(*positional, **keywords):
        found.append((positional, keywords))
        return [SimpleNamespace(synthesis=synthesis, quality=quality, neighbors=neighbors)]

    module = ModuleType("shiftscope.workflows.visualize_checkpoint")
    module.visualize_checkpoint = work  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return found


def test_objectives_and_settings_are_passed_on(calls, capsys):
    assert main(["visualize", "ckpt", "class:Bag", "conv2:0-9", "--start", "random", "--steps", "8", "--out", "x"]) == 0
    ((folder, objectives), keywords), = calls
    assert (folder, tuple(objectives)) == ("ckpt", ("class:Bag", "conv2:0-9"))
    assert (keywords["start"], keywords["out"], keywords["settings"].steps) == ("random", Path("x"), 8)
    shown = capsys.readouterr().out
    assert shown.splitlines()[-1] == "x"
    assert ["fc1:all", "2", "3", "50.0", "%", "75.0", "%", "-", "25.0", "%", "0.2"] in [
        line.split() for line in shown.splitlines()]


def test_comparison_settings_are_passed_on(calls):
    assert main(["visualize", "ckpt", "--neighbors", "3", "--neighbor-images", "80", "--placements", "49", "--judge",
                 "other", "--seeds", "3", "--data", "garments", "--data-dir", "here"]) == 0
    (_, keywords), = calls
    checks = keywords["checks"]
    assert checks.neighbor_images == 80
    assert (checks.neighbors, checks.placements, checks.judge, checks.seeds) == (3, 49, Path("other"), 3)
    assert keywords["overrides"] == {"data": "garments", "data_dir": Path("here")}


@pytest.mark.parametrize("option, value", [
    ("--neighbors", "-1"), ("--neighbor-images", "0"), ("--placements", "0"), ("--seeds", "1")])
def test_invalid_comparison_settings(calls, capsys, option, value):
    assert main(["visualize", "ckpt", option, value]) == 2
    assert option.removeprefix("--").replace("-", "_") in capsys.readouterr().err and not calls


def test_defaults(calls):
    assert main(["visualize", "ckpt"]) == 0
    ((_, objectives), keywords), = calls
    assert tuple(objectives) == () and keywords["start"] is None
    assert keywords["checks"].neighbors == 9 and keywords["overrides"] == {}
    assert keywords["out"] == Path("shiftscope-visualize")


def test_json(calls, capsys):
    assert main(["visualize", "ckpt", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 2 and document["out"] == "shiftscope-visualize"
    assert document["syntheses"] == [{"objective": "fc1:all", "units": ["fc1:0", "fc1:1"], "activations": [2.0, 4.0],
                                      "activations_start": [0.0, 1.0], "predictions": [1, -1],
                                      "confidence": [0.5, 0.0], "quality": {"exceeds_real": 0.5},
                                      "neighbors": {"images": 12, "top_index": [[3], [1]]}}]


def test_invalid_settings(calls, capsys):
    assert main(["visualize", "ckpt", "--steps", "0"]) == 2
    assert "steps must be an integer of at least 1, got 0" in capsys.readouterr().err
    assert not calls
