"""Structure of the lessons, and their stored outputs. `test_lessons_run.py` runs them."""

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import shiftscope
from shiftscope.workflows.lessons import SOLUTIONS, cells, read_lessons, to_notebook

jupytext = pytest.importorskip("jupytext", reason="lessons are py:percent notebooks: pip install -e .[dev]")

LESSONS = Path(__file__).parents[2] / "docs" / "lessons"
NAMES = [lesson.name for lesson in read_lessons(LESSONS)]
ALL = [lesson.name for lesson in read_lessons(LESSONS, solutions=True)]
LAST = 5
"""Number of code cells at the end of a lesson that must contain its figure and its main result."""
WIDTH = 84
"""Characters of a line of code that a page of 1280 pixels shows without scrolling."""
PLOT = "figure, "
"""Start of a statement that creates a figure with several panels: such cells only draw and are folded."""


def read(name: str):
    return jupytext.read(LESSONS / f"{name}.py", fmt="py:percent")


@pytest.fixture(scope="module", params=NAMES)
def lesson(request):
    return read(request.param)


@pytest.fixture(scope="module")
def solutions(lesson):
    return read(next(name for name in ALL if name.endswith(SOLUTIONS) and name[0] == lesson.cells[0].source[2]))


@pytest.fixture(scope="module", params=ALL)
def page(request):
    return read(request.param)


def code_cells(lesson) -> list[str]:
    return [cell.source for cell in lesson.cells if cell.cell_type == "code"]


def prose(lesson) -> str:
    return "\n\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")


def exercises(lesson) -> str:
    return prose(lesson).partition("\n## Exercises\n")[2]


def shows_figure(statement: ast.stmt, functions: set[str]) -> bool:
    """True if a statement shows a figure: plt.show(), or a call of a function that returns a figure."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    return ast.unparse(call) == "plt.show()" or ast.unparse(call.func) in functions


def test_there_are_six_lessons_numbered_from_one_each_with_solutions():
    assert [name.split("_")[0] for name in NAMES] == list("123456")
    assert sorted(ALL) == sorted([*NAMES, *(name[0] + SOLUTIONS for name in NAMES)])


def test_a_lesson_is_a_notebook_with_its_number_in_the_title(lesson, request):
    assert lesson.metadata["kernelspec"]["name"] == "python3"
    number = request.node.callspec.params["lesson"][0]
    assert lesson.cells[0].source.startswith(f"# {number} ")
    start = lesson.cells[0].source
    assert re.search(r"^\*\*Time:\*\* \d+ min reading, \d+ min computation, \d+ min exercises\.$", start, flags=re.M)
    assert len(re.findall(r"^- .*", start.partition("**Goals:**")[2], flags=re.M)) >= 3
    assert "**Prerequisites:**" in start
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


def test_a_lesson_has_three_exercises_and_its_solutions_are_apart(lesson, solutions, request):
    assert re.findall(r"^\*\*(\d)\.", exercises(lesson), flags=re.M) == ["1", "2", "3"]
    assert "<details>" not in prose(lesson)
    name = request.node.callspec.params["lesson"]
    assert f"[Solutions]({name[0]}{SOLUTIONS}.py)" in exercises(lesson)
    assert re.findall(r"^## (\d)\. ", prose(solutions), flags=re.M) == ["1", "2", "3"]
    assert code_cells(solutions)[0].endswith(f'globals().update(continue_lesson("{name}"))')
    assert len(code_cells(solutions)) == 4


def test_lessons_and_solutions_use_only_defined_names(lesson, solutions):
    source = "\n".join([*code_cells(lesson), *code_cells(solutions)[1:]])
    found = subprocess.run([sys.executable, "-m", "ruff", "check", "--isolated", "--select=E9,F821,F811,F401",
                            "--output-format=concise", "--stdin-filename=lesson.py", "-"],
                           input=source, text=True, capture_output=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_code_is_not_cut_and_comments_are_above_it(page):
    for cell in code_cells(page):
        assert [line for line in cell.splitlines() if len(line) > WIDTH] == []
        after = [token.line for token in tokenize.generate_tokens(io.StringIO(cell).readline)
                 if token.type == tokenize.COMMENT and token.line[:token.start[1]].strip()
                 and "noqa" not in token.string]
        assert after == []


def test_cells_that_only_draw_are_folded(lesson):
    for cell in lesson.cells:
        if cell.cell_type == "code":
            draws = any(line.startswith(PLOT) for line in cell.source.splitlines())
            assert draws == ("hide-input" in cell.metadata.get("tags", [])), cell.source
            assert not (draws and "assert" in cell.source), "a folded cell contains a result"


def test_the_reader_of_lessons_agrees_with_jupytext(page, request):
    name = next(value for value in request.node.callspec.params.values())
    ours = list(cells((LESSONS / f"{name}.py").read_text(encoding="utf-8")))
    assert [(cell["cell_type"], cell["source"].strip()) for cell in ours] == \
        [(cell.cell_type, cell.source.strip()) for cell in page.cells]
    assert [cell["metadata"].get("tags") for cell in ours] == [cell.metadata.get("tags") for cell in page.cells]
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(to_notebook((LESSONS / f"{name}.py").read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def pages():
    """The extension of Sphinx that shows the stored outputs."""
    spec = spec_from_file_location("lesson_pages", LESSONS.parent / "_ext" / "lesson_pages.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ALL)
def test_stored_outputs_belong_to_the_code(pages, name):
    text = (LESSONS / f"{name}.py").read_text(encoding="utf-8")
    stored = pages.load_outputs(name)
    assert stored["key"] == pages.key_of(name, text), "the lesson changed: run make lessons"
    assert "Fashion-MNIST" in stored["note"]
    assert len(stored["outputs"]) == sum(cell["cell_type"] == "code" for cell in cells(text))
    assert str(Path.home()) not in json.dumps(stored) and "/tmp/" not in json.dumps(stored)
    assert not any(output["output_type"] == "error" for outputs in stored["outputs"] for output in outputs)


def test_expected_figures_of_the_page_for_teachers_are_outputs_of_the_lessons(pages):
    page = (LESSONS.parent / "tutorial" / "teaching.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| .* \| (.*) \|$", page.partition("## Expected figures")[2].partition("\n## ")[0],
                      flags=re.M)
    assert {number for number, _ in rows} == set("123456")
    for number, values in rows:
        outputs = [output.get("text", "") for name in ALL if name[0] == number
                   for cell in pages.load_outputs(name)["outputs"] for output in cell]
        printed = set(re.findall(r"\d[\d.e-]*(?<!\.)", " ".join(outputs)))
        assert set(re.findall(r"\d[\d.e-]*", values)) <= printed, (number, values)


def test_outputs_are_valid_until_code_changes(pages):
    text = (LESSONS / f"{NAMES[0]}.py").read_text(encoding="utf-8")
    key = pages.key_of(NAMES[0], text)
    assert pages.key_of(NAMES[0], text.replace("# **Time:**", "# **Duration:**")) == key
    assert pages.key_of(NAMES[0], text.replace("seed=3", "seed=4")) != key


def test_links_of_a_lesson_are_valid(page):
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", prose(page)) if "://" not in target]
    assert [target for target in targets if not (LESSONS / target.replace("\n", " ")).exists()] == []


@pytest.fixture()
def setting(monkeypatch):
    """The shared module of the lessons, in the small setting."""
    monkeypatch.setenv("LESSONS", "small")
    spec = spec_from_file_location("lesson_setting", LESSONS / "lesson_setting.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(shiftscope, "load_dataset", lambda name, **_: name)
    return module


@pytest.mark.parametrize("found, chosen", [("somewhere", "fashion-mnist"), (None, "garments:3000,1000")])
def test_lessons_use_real_images_if_available_and_otherwise_synthetic_ones(setting, monkeypatch, found, chosen):
    monkeypatch.setattr(setting, "dataset_catalog", lambda folder: [{"name": "fashion-mnist", "found": found}])
    assert setting.choose_data() == chosen


def test_lessons_on_real_images_use_the_committed_checkpoints(setting):
    assert setting.SMALL and setting.by_setting(1, 2) == 1
    assert all((setting.CHECKPOINTS / name / "config.json").is_file() for name in setting.COLORS)
