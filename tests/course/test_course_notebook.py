"""The course's notebook runs from its first cell to its last, which asserts its closing number."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parents[2] / "notebooks" / "course.py"


def test_the_notebook_runs_on_a_small_setting(tmp_path, monkeypatch):
    jupytext = pytest.importorskip("jupytext", reason="needs jupytext, nbclient and ipykernel")
    nbclient = pytest.importorskip("nbclient", reason="needs jupytext, nbclient and ipykernel")
    monkeypatch.setenv("COURSE_DATA", "garments")
    monkeypatch.setenv("COURSE_SMALL", "1")
    notebook = jupytext.read(SOURCE)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 14  # two of them are the live curves of the two trainings
    assert "points" in outputs[-1]["text"]
