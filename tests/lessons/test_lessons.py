"""Structure of the lessons. Building the documentation runs them and checks their results."""

import ast
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import shiftscope

jupytext = pytest.importorskip("jupytext", reason="lessons are jupytext notebooks: pip install shiftscope[docs]")

LESSONS = Path(__file__).parents[2] / "docs" / "lessons"
NAMES = sorted(path.stem for path in LESSONS.glob("[0-9]_*.py"))
LAST = 4
"""Number of code cells at the end of a lesson that must contain its figure and its main result."""


@pytest.fixture(scope="module", params=NAMES)
def lesson(request):
    return jupytext.read(LESSONS / f"{request.param}.py", fmt="py:percent")


def code_cells(lesson) -> list[str]:
    return [cell.source for cell in lesson.cells if cell.cell_type == "code"]


def prose(lesson) -> str:
    return "\n\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")


def exercises(lesson) -> str:
    return prose(lesson).partition("\n## Exercises\n")[2]


def solutions(lesson) -> list[str]:
    """Return the code of each solution."""
    return ["\n".join(re.findall(r"^```python\n(.*?)^```", part, flags=re.M | re.S))
            for part in re.findall(r"<details><summary>Solution</summary>\n\n(.*?)\n\n</details>", exercises(lesson),
                                   flags=re.S)]


def shows_figure(statement: ast.stmt, functions: set[str]) -> bool:
    """True if a statement shows a figure: plt.show(), or a call of a function that returns a figure."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    return ast.unparse(call) == "plt.show()" or ast.unparse(call.func) in functions


def test_there_are_five_lessons_numbered_from_one():
    assert [name.split("_")[0] for name in NAMES] == list("12345")


def test_a_lesson_is_a_notebook_with_its_number_in_the_title(lesson, request):
    assert lesson.metadata["kernelspec"]["name"] == "python3"
    number = request.node.callspec.params["lesson"][0]
    assert lesson.cells[0].source.startswith(f"# {number} ")
    assert len(re.findall(r"^# ", prose(lesson).split("```")[0], flags=re.M)) == 1


def test_a_lesson_ends_with_a_figure_and_a_printed_and_asserted_result(lesson):
    trees = [ast.parse(cell) for cell in code_cells(lesson)]
    ours = {alias.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("shiftscope.reporting") for alias in node.names}
    end = [statement for tree in trees[-LAST:] for statement in tree.body]
    assert any(shows_figure(statement, ours) for statement in end)
    assert any(isinstance(statement, ast.Assert) and isinstance(statement.test, ast.Compare | ast.BoolOp)
               for statement in end)
    assert any(re.match(r"print\(.*\{", ast.unparse(statement), flags=re.S) for statement in end)


def test_a_lesson_has_three_exercises_with_solutions(lesson):
    numbers = re.findall(r"^\*\*(\d)\.", exercises(lesson), flags=re.M)
    assert numbers == ["1", "2", "3"] and len(solutions(lesson)) == 3
    assert exercises(lesson).count("<details>") == exercises(lesson).count("</details>") == 3


def test_lessons_and_solutions_use_only_defined_names(lesson):
    source = "\n".join([*code_cells(lesson), *solutions(lesson)])
    found = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--select=E9,F821,F811,F401",
                            "--output-format=concise", "--stdin-filename=lesson.py", "-"],
                           input=source, text=True, capture_output=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_links_of_a_lesson_are_valid(lesson):
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", prose(lesson)) if "://" not in target]
    assert [target for target in targets if not (LESSONS / target.replace("\n", " ")).exists()] == []


@pytest.fixture()
def setting(monkeypatch):
    """The shared module of the lessons, in the small setting."""
    monkeypatch.setenv("LESSONS", "small")
    spec = spec_from_file_location("lesson_setting", LESSONS / "lesson_setting.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(shiftscope, "load_dataset", lambda name: name)
    return module


@pytest.mark.parametrize("found, chosen", [("somewhere", "fashion-mnist"), (None, "garments:3000,1000")])
def test_lessons_use_real_images_if_available_and_otherwise_synthetic_ones(setting, monkeypatch, found, chosen):
    monkeypatch.setattr(setting, "dataset_catalog", lambda: [{"name": "fashion-mnist", "found": found}])
    assert setting.choose_data() == chosen


def test_lessons_on_real_images_use_the_committed_checkpoints(setting):
    assert setting.SMALL and setting.by_setting(1, 2) == 1
    assert all((setting.CHECKPOINTS / name / "config.json").is_file() for name in setting.COLORS)
