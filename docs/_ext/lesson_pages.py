"""Pages of the lessons with stored outputs: `tools/run_lessons.py` runs the lessons, and this module shows the result.

Outputs are valid for the code of a lesson, of `lesson_setting.py`, and a version of the package. If one of them has
changed, the page shows no outputs and the build reports it.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import nbformat
from sphinx.application import Sphinx
from sphinx.util import logging

import shiftscope
from shiftscope.reporting.figure_style import reduce_colors
from shiftscope.workflows.lessons import SOLUTIONS, cells, read_lessons, to_notebook

LESSONS = Path(__file__).parents[1] / "lessons"
OUTPUTS = LESSONS / "outputs"

logger = logging.getLogger(__name__)
_page = ""
"""Name of the page that is being read: readers of notebooks receive only its text."""


def code_of(text: str) -> str:
    """Return the code of a py:percent file, without comments and blank lines."""
    lines = "\n".join(cell["source"] for cell in cells(text) if cell["cell_type"] == "code").splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def key_of(name: str, text: str) -> str:
    """Return the key of the outputs of a lesson; solutions depend on the code of their lesson."""
    parts = [shiftscope.__version__, code_of(text), (LESSONS / "lesson_setting.py").read_text(encoding="utf-8")]
    if name.endswith(SOLUTIONS):
        parts += [code_of(lesson.text) for lesson in read_lessons(LESSONS) if lesson.name[0] == name[0]]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def load_outputs(name: str) -> dict[str, Any] | None:
    """Return the stored outputs of a lesson, a note about their origin, and their key; None if there are none."""
    path = OUTPUTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def store_outputs(name: str, text: str, executed: list[Any], note: str) -> None:
    """Write the outputs of the code cells of a lesson; progress and messages of the kernel are omitted."""
    kept = [[output for output in cell.outputs if output.get("name") != "stderr"]
            for cell in executed if cell.cell_type == "code"]
    for data in (output["data"] for outputs in kept for output in outputs if "image/png" in output.get("data", {})):
        data["image/png"] = b64encode(reduce_colors(b64decode(data["image/png"]))).decode()
    OUTPUTS.mkdir(exist_ok=True)
    document = {"key": key_of(name, text), "note": note, "outputs": kept}
    (OUTPUTS / f"{name}.json").write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")


def read_lesson(text: str) -> nbformat.NotebookNode:
    """Return the notebook of a page with its stored outputs."""
    name = _page.rpartition("/")[2]
    notebook = nbformat.from_dict(to_notebook(text))
    stored = load_outputs(name)
    if stored is None or stored["key"] != key_of(name, text):
        logger.warning("%s changed after its outputs were stored: run make lessons", name)
        return notebook
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, (cell, outputs) in enumerate(zip(code, stored["outputs"], strict=True), start=1):
        cell.outputs, cell.execution_count = nbformat.from_dict(outputs), number
    notebook.cells[0].source += f"\n\n*{stored['note']}*"
    return notebook


def _remember_page(app: Sphinx, page: str, source: list[str]) -> None:
    global _page
    _page = page


def setup(app: Sphinx) -> dict[str, Any]:
    """Record the name of the page that is read."""
    app.connect("source-read", _remember_page)
    return {"parallel_read_safe": True}
