"""The built wheel in an environment of its own, with the oldest versions of its dependencies: `make test-wheel`."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from packaging.requirements import Requirement
from packaging.version import Version

import shiftscope
from shiftscope.data import load_dataset

pytestmark = pytest.mark.skipif("site-packages" not in shiftscope.__file__,
                                reason="tests an installed wheel: make test-wheel")

EXTRAS = ("notebook", "server", "tune", "onnx")

NETS = """
import torch
from torch import nn


class Mean(nn.Module):
    '''Class 1 of 10 if the mean of the canvas is above 0.05, else class 0: the same at every placement.'''

    def forward(self, x):
        mean = x.mean((1, 2, 3))[:, None]
        return torch.cat([torch.full_like(mean, 0.05), mean, -torch.ones_like(mean).expand(-1, 8)], 1)


class Corner(nn.Module):
    '''The same for the top-left quarter only.'''

    def forward(self, x):
        return Mean()(x[:, :, : x.shape[2] // 2, : x.shape[3] // 2])


mean, corner = Mean().eval(), Corner().eval()
"""

TESTS = """
from shiftscope.pytest import assert_shift_robust


def test_mean():
    assert_shift_robust("nets:mean", "garments", consistency=1, limit=8)


def test_corner():
    assert_shift_robust("nets:corner", "garments", consistency=0.99, limit=8)
"""


def _run(*arguments, cwd, code=0):
    run = subprocess.run([sys.executable, "-m", *arguments], cwd=cwd, text=True, capture_output=True)
    assert run.returncode == code, run.stdout + run.stderr
    return run.stdout


def test_the_oldest_versions_are_installed():
    wanted = [Requirement(text) for text in requires("shiftscope")]
    wanted = [one for one in wanted if one.marker is None or any(one.marker.evaluate({"extra": name})
                                                                for name in EXTRAS)]
    bounds = {one.name: bound.version for one in wanted for bound in one.specifier if bound.operator == ">="}
    newer = {name for name in bounds if Version(version(name).partition("+")[0]) != Version(bounds[name])}
    assert len(bounds) > 15 and not newer


def test_lessons_are_copied_and_run(tmp_path):
    _run("shiftscope", "lessons", "--copy", "lessons", "--solutions", cwd=tmp_path)
    assert len(list((tmp_path / "lessons").glob("*.ipynb"))) == 12
    subprocess.run([sys.executable, "-c", "import lesson_setting"], cwd=tmp_path / "lessons", check=True,
                   env=os.environ | {"LESSONS": "small", "MPLBACKEND": "agg"})


def test_a_run_from_training_to_the_report(tmp_path):
    _run("shiftscope", "run", "--data", "garments", "--limit", "500", "--epochs", "1", "--out", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000


@pytest.fixture
def project(tmp_path):
    """A folder with models and tests that know nothing of the clone."""
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "test_robustness.py").write_text(TESTS)
    return tmp_path


def test_a_project_uses_the_plugin(project):
    text = _run("pytest", "-q", "--junitxml=tests.xml", cwd=project, code=1)
    assert "1 failed, 1 passed" in text and "nets:corner is not robust to shifts:" in text
    [suite] = ElementTree.parse(project / "tests.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    [failure] = suite.iter("failure")
    shown = float(re.search(r"consistency (0\.\d{4}), required at least 0.99", failure.get("message"))[1])
    images = load_dataset("garments").test.images[:8]
    light = torch.tensor([[image[:, :28 - dy, :28 - dx].sum() / 255 / 28**2 > 0.05 for dy in range(29)
                           for dx in range(29)] for image in images])
    share = light.double().mean(1)
    assert shown == pytest.approx(float((share**2 + (1 - share)**2).mean()), abs=1e-4)


def test_a_command_fails_a_build(project):
    text = _run("shiftscope", "audit", "nets:corner", "--data", "garments", "--limit", "8", "--json",
                "--fail-under", "consistency=0.99", "--junit", "audit.xml", cwd=project, code=4)
    suites = ElementTree.parse(Path(project) / "audit.xml").getroot()
    assert suites.get("failures") == "1" and json.loads(text)["consistency"] < 0.99
