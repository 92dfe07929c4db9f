"""Run the notebook of the course as on Colab: its first cell installs Shiftscope with pip, and there is no clone.

Usage: PYTHON tools/run_as_on_colab.py WHEEL CONSTRAINTS

PYTHON is that of an environment with Jupyter and without Shiftscope; WHEEL is installed into it.
"""

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import jupytext
import nbclient
import nbformat
from nbclient.exceptions import CellExecutionError

SOURCE = Path(__file__).parents[1] / "notebooks" / "course.py"


def main(wheel: str, constraints: str) -> None:
    """Run the notebook in an empty folder."""
    if find_spec("shiftscope"):
        raise SystemExit("Shiftscope is installed already: this checks that the first cell installs it")
    os.environ.update(COURSE_DATA="garments", COURSE_SMALL="1")
    notebook = jupytext.read(SOURCE)
    install = f"%pip install --quiet -c '{Path(constraints).resolve()}' '{Path(wheel).resolve()}'"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(install))
    with tempfile.TemporaryDirectory() as folder:
        try:
            nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
        except CellExecutionError:
            print("".join(output.get("text", "") for output in notebook.cells[0].outputs))  # of pip
            raise
    print(notebook.cells[-1].outputs[-1]["text"])


if __name__ == "__main__":
    main(*sys.argv[1:])
