"""The plugin for pytest, in test files that pytest runs."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytest_plugins = ["pytester"]

NET = """
import torch
from torch import nn

class Corner(nn.Module):
    '''Class 1 if the top-left quarter of the canvas is lighter than the rest, else class 0.'''
    def forward(self, x):
        corner = x[:, :, :6, :6].mean((1, 2, 3))
        return torch.stack([torch.full_like(corner, 0.05), corner], 1)

class Mean(nn.Module):
    '''Class 1 if the image is light: the same at every placement.'''
    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([torch.full_like(mean, 0.1), mean], 1)

corner, mean = Corner(), Mean()
"""


@pytest.fixture
def project(pytester):
    """A folder with models, a dataset, and a function that runs a test file with this body."""
    pytester.makepyfile(shift_nets=NET)
    images = np.repeat(np.uint8([40, 200, 30, 220])[:, None, None], 36, 1).reshape(4, 6, 6)
    labels = np.array([0, 1, 0, 1])
    np.savez(pytester.path / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels,
             class_names=np.array(["dark", "light"]))

    def run(body, *arguments):
        head = ("import pytest, shift_nets\nfrom shiftscope import Placement, load_dataset\n"
                "from shiftscope.pytest import assert_shift_robust\n"
                "place = Placement(image=(6, 6), canvas=(12, 12), step=2)\n")
        pytester.makepyfile(test_shifts=head + body)
        registered = "shiftscope.pytest" in {plugin.__name__ for _, plugin in
                                             pytester.plugins if hasattr(plugin, "__name__")}
        plugin = [] if registered or _is_installed() else ["-p", "shiftscope.pytest"]
        return pytester.runpytest_subprocess("-q", *plugin, *arguments)

    return run


def _is_installed():
    from importlib.metadata import entry_points

    return any(entry.value == "shiftscope.pytest" for entry in entry_points(group="pytest11"))


def test_a_robust_model_passes_and_one_that_is_not_fails_with_the_figures(project):
    result = project("""
def test_robust():
    assert_shift_robust(shift_nets.mean, load_dataset("npz:d.npz"), place, consistency=1, worst=1, mean=1, unanimity=1)

def test_not_robust():
    assert_shift_robust("shift_nets:corner", "npz:d.npz", place, consistency=0.9, worst=0.5)

def test_of_an_object():
    assert_shift_robust(shift_nets.corner, load_dataset("npz:d.npz"), place, worst=0.75)
""")
    result.assert_outcomes(passed=1, failed=2)
    text = result.stdout.str()
    light = np.array([[value / 255 * (6 - dy) * (6 - dx) / 36 > 0.05 for dy in (1, 3, 5) for dx in (1, 3, 5)]
                      for value in (40, 200, 30, 220)])
    share = light.mean(1)
    consistency = (share**2 + (1 - share)**2).mean()
    assert "shift_nets:corner is not robust to shifts:" in text and "worst 0.0000, required at least 0.75" in text
    assert f"consistency {consistency:.4f}, required at least 0.9" in text
    assert "4 images of d at 9 placements, mode canvas: mean " in text
    assert f"image 0 (dark): dark {100 * (1 - share[0]):.0f} %, light {100 * share[0]:.0f} %" in text
    assert "repeat: shiftscope audit shift_nets:corner --data npz:d.npz --canvas 12x12 --mode canvas --step 2" in text
    assert "repeat: python -m pytest test_shifts.py::test_of_an_object" in text


def test_the_printed_command_gives_the_printed_figures(project, pytester):
    text = project("""
def test_it():
    assert_shift_robust("shift_nets:corner", "npz:d.npz", place, consistency=1, normalize=(0.1, 0.9))
""").stdout.str()
    lines = re.findall("repeat: shiftscope (.*)", text)
    words = lines[0].split()
    assert set(lines) == {lines[0]}  # with CI set, the summary of pytest repeats the message
    assert words[-2:] == ["--normalize", "0.1/0.9"]
    run = subprocess.run([sys.executable, "-m", "shiftscope", *words, "--json"], cwd=pytester.path, text=True,
                         capture_output=True, check=True)
    assert f"consistency {json.loads(run.stdout)['consistency']:.4f}, required at least 1" in text


def test_the_fixture_audits_once(project):
    result = project("""
@pytest.fixture
def found(shiftscope_audit):
    return shiftscope_audit("shift_nets:corner", "npz:d.npz", place)

def test_one(found):
    assert_shift_robust(found, mean=0.5)
    test_one.found = found

def test_two(found, shiftscope_audit):
    assert found is test_one.found
    assert shiftscope_audit("shift_nets:mean", "npz:d.npz", place) is not found

def test_three(found):
    assert_shift_robust(found, worst=0.9)
""")
    result.assert_outcomes(passed=2, failed=1)


def test_a_baseline(project):
    result = project("""
@pytest.fixture
def stored(shiftscope_audit, tmp_path):
    shiftscope_audit("shift_nets:mean", "npz:d.npz", place, name="net").save(tmp_path / "base")
    return tmp_path / "base"

def test_same(stored):
    assert_shift_robust("shift_nets:mean", "npz:d.npz", place, name="net", baseline=stored)
    assert_shift_robust("shift_nets:mean", "npz:d.npz", place, name="net", baseline=stored / "result.json")

def test_other_model(stored):
    assert_shift_robust("shift_nets:corner", "npz:d.npz", place, baseline=stored)
""")
    result.assert_outcomes(passed=1, failed=1)
    assert "the baseline has another value of model, 'net', than the audit" in result.stdout.str()


@pytest.mark.parametrize(("call", "says"), [
    ("shift_nets.mean, load_dataset('npz:d.npz'), place", "got no requirement: give consistency="),
    ("shift_nets.mean, load_dataset('npz:d.npz'), place, worst=90", "worst must be a fraction from 0 to 1, got 90"),
    ("shift_nets.mean, 'npz:d.npz', place, worst=1", "the model is not named by a source"),
    ("shift_nets.mean, None, place, worst=1", "the model is not named by a source"),
    ("shift_nets.mean, load_dataset('npz:d.npz').test.images, place, worst=1", "worst nan, required at least 1"),
    ("'shift_nets:mean', 'npz:d.npz', place, mean=1, baseline='gone'", "gone")])
def test_bad_arguments(project, call, says):
    result = project(f"def test_it():\n    assert_shift_robust({call})\n")
    result.assert_outcomes(failed=1)
    assert says in " ".join(result.stdout.str().split())


def test_the_plugin_imports_neither_torch_nor_numpy():
    code = "import sys, shiftscope.pytest; print({'torch', 'numpy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
