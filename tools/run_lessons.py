"""Runs the lessons and their solutions on Fashion-MNIST and stores their outputs, which `make docs` shows.

Without arguments, the lessons whose code has changed are run; with names, such as 1_random_placements, those.
"""

import json
import os
import sys
import time
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
LESSONS = ROOT / "docs" / "lessons"

sys.path.insert(0, str(ROOT / "docs" / "_ext"))
from lesson_pages import key_of, load_outputs, store_outputs  # noqa: E402

import shiftscope  # noqa: E402
from shiftscope.data import dataset_catalog  # noqa: E402
from shiftscope.workflows.lessons import SOLUTIONS, Lesson, read_lessons, to_notebook  # noqa: E402


def run(lesson: Lesson, solutions: Lesson) -> None:
    """Run a lesson and its solutions in one kernel, and store the outputs of both."""
    notebook, exercises = (nbformat.reads(json.dumps(to_notebook(part.text)), as_version=4)
                           for part in (lesson, solutions))
    own = len(notebook.cells)
    first = next(number for number, cell in enumerate(exercises.cells) if cell.cell_type == "code")
    exercises.cells[first].source = "pass  # the lesson ran in this kernel"
    notebook.cells += exercises.cells
    start = time.perf_counter()
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(LESSONS)}}).execute()
    note = (f"Executed with Shiftscope {shiftscope.__version__} and PyTorch {torch.__version__.partition('+')[0]} on "
            "Fashion-MNIST. Times depend on the machine.")
    for part, cells in ((lesson, notebook.cells[:own]), (solutions, notebook.cells[own:])):
        store_outputs(part.name, part.text, cells, note)
    print(f"{lesson.name}: {time.perf_counter() - start:.0f} s", flush=True)


def main(names: list[str]) -> None:
    """Run the lessons `names`, or those whose code changed."""
    if not next(entry["found"] for entry in dataset_catalog() if entry["name"] == "fashion-mnist"):
        sys.exit("Fashion-MNIST is not on this machine: run shiftscope data fetch fashion-mnist")
    os.environ.pop("LESSONS", None)
    parts = {lesson.name: lesson for lesson in read_lessons(LESSONS, solutions=True)}
    for name, lesson in parts.items():
        if name.endswith(SOLUTIONS) or (names and name not in names):
            continue
        pair = lesson, parts[name[0] + SOLUTIONS]
        if names or any((load_outputs(part.name) or {}).get("key") != key_of(part.name, part.text) for part in pair):
            run(*pair)


if __name__ == "__main__":
    main(sys.argv[1:])
