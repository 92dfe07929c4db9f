"""Every lesson and its solutions run on small data; the assertions in a lesson check its main result."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shiftscope.workflows.lessons import SOLUTIONS, read_lessons

LESSONS = Path(__file__).parents[2] / "docs" / "lessons"
NAMES = [lesson.name for lesson in read_lessons(LESSONS)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_lesson_and_its_solutions_run(name, tmp_path):
    pytest.importorskip("pywt", reason="lesson 4 needs PyWavelets: pip install -e .[notebook]")
    environment = os.environ | {"LESSONS": "small", "MPLBACKEND": "agg", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-W", "ignore", f"{name[0]}{SOLUTIONS}.py"], cwd=LESSONS, env=environment,
                          capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "the solutions print their results"


@pytest.mark.slow
def test_a_lesson_whose_result_does_not_hold_fails(tmp_path):
    """The result of lesson 4 fails if the layer is not trained to commute with shifts."""
    text = (LESSONS / "4_equivariance.py").read_text(encoding="utf-8")
    start = text[:text.index("# %% [markdown]\n# ## 2.")]
    assert "train_matrix(penalty=100)" in start
    (tmp_path / "lesson.py").write_text(start.replace("train_matrix(penalty=100)", "train_matrix(penalty=0)"))
    environment = os.environ | {"LESSONS": "small", "MPLBACKEND": "agg", "PYTHONPATH": os.pathsep.join(
        [str(LESSONS), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "lesson.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "AssertionError" in done.stderr
