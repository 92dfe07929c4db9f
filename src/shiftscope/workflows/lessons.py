"""The lessons: where they are, and their conversion to notebooks.

The lessons are py:percent files. They are data of an installed package, and in `docs/lessons` of a clone.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOLUTIONS = "_solutions"
"""End of the name of a notebook with solutions, after the number of its lesson."""

SETTING = "lesson_setting.py"
"""Module with the code that the lessons share."""

FOLDED = "hide-input"
"""Tag of cells whose code is folded, such as those that only draw."""

_CELL = re.compile(r"^# %%(.*)\n", flags=re.MULTILINE)


@dataclass(frozen=True)
class Lesson:
    """One lesson, or its solutions.

    Attributes:
        name: file name without suffix, such as "1_random_placements".
        text: the py:percent file.
    """

    name: str
    text: str

    @property
    def title(self) -> str:
        """The heading, such as "1 Random placements: perceptron and convnet"."""
        return re.findall(r"^# # (.*)$", self.text, flags=re.MULTILINE)[0]

    @property
    def time(self) -> str:
        """Time for reading, computation and exercises."""
        return (re.findall(r"^# \*\*Time:\*\* (.*)\.$", self.text, flags=re.MULTILINE) or [""])[0]


@dataclass(frozen=True)
class Sources:
    """The folder of the lessons and the folder of the checkpoints that they load."""

    lessons: Path
    checkpoints: Path


def sources() -> Sources:
    """Return the folders of an installed package, or of the clone from which it is imported."""
    package = Path(__file__).parents[1]
    installed, clone = package / "lessons", package.parents[1]
    if installed.is_dir():
        return Sources(installed, installed / "checkpoints")
    return Sources(clone / "docs" / "lessons", clone / "examples" / "checkpoints")


def read_lessons(folder: Path, *, solutions: bool = False) -> list[Lesson]:
    """Return the lessons in a folder, in order, optionally followed by their solutions."""
    names = sorted(path.stem for path in folder.glob("[0-9]_*.py"))
    chosen = [name for name in names if not name.endswith(SOLUTIONS)]
    chosen += [name for name in names if name.endswith(SOLUTIONS)] if solutions else []
    return [Lesson(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in chosen]


def cells(text: str) -> Iterator[dict[str, Any]]:
    """Yield the cells of a py:percent file, as in the notebook format.

    Example:
        >>> [cell["source"] for cell in cells('# %% [markdown]\\n# Title\\n\\n# %% tags=["hide-input"]\\n1 + 1\\n')]
        ['Title', '1 + 1']
    """
    parts = _CELL.split(text)[1:]
    for number, (head, body) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        cell = {"id": f"cell-{number}", "metadata": {}, "source": body.strip("\n")}
        if "[markdown]" in head:
            yield {"cell_type": "markdown", **cell, "source": re.sub("^# ?", "", cell["source"], flags=re.MULTILINE)}
            continue
        tags = ast.literal_eval(head.partition("tags=")[2] or "[]")
        if tags:
            cell["metadata"] = {"tags": tags} | ({"jupyter": {"source_hidden": True}} if FOLDED in tags else {})
        yield {"cell_type": "code", **cell, "execution_count": None, "outputs": []}


def to_notebook(text: str) -> dict[str, Any]:
    """Return the notebook of a py:percent file, without outputs, in version 4.5 of the notebook format."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": list(cells(text)), "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4, "nbformat_minor": 5}


def notebook_text(lesson: Lesson, names: set[str]) -> str:
    """Return the text of the .ipynb file of a lesson; links to lessons name their notebooks."""
    notebook = to_notebook(lesson.text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = re.sub(r"\[([^]]*)\]\(\.\./[\w/-]+\.md\)", r"\1 (in the documentation)", cell["source"])
            cell["source"] = re.sub(rf"\]\(({'|'.join(sorted(names))})\.py\)", r"](\1.ipynb)", cell["source"])
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
