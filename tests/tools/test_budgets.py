"""The budgets script counts as it says and fails where it should."""

import ast
import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "budgets.py"


@pytest.fixture(scope="module")
def budgets():
    spec = importlib.util.spec_from_file_location("budgets", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def function(text: str) -> ast.FunctionDef:
    return ast.parse(text).body[0]


def long_function(lines: int, name: str = "f") -> str:
    return f'def {name}():\n    """Do it."""\n' + "    x = 1\n" * lines


@pytest.mark.parametrize(("text", "lines"), [
    ("def f(): return 1", 1),
    ("def f(a,\n      b):\n    return a", 1),
    ('def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n\n    return a', 3),
    ('def f():\n    """Only words."""', 0),
    ("async def f():\n    a = (1,\n         2)\n    return a", 3),
    ("def f():\n    def g():\n        return 1\n    return g", 3),
])
def test_body_lines(budgets, text, lines):
    assert budgets.body_lines(function(text)) == lines


def test_functions_finds_methods_and_nested_functions(budgets, tmp_path):
    path = tmp_path / "a.py"
    path.write_text("class A:\n    def f(self):\n        def g():\n            return 1\n        return g\n")
    assert dict(budgets.functions(path)) == {f"{path}:2 f": 3, f"{path}:3 g": 1}


@pytest.mark.parametrize(("sizes", "share", "expected"), [
    ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.9, 9), ([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.5, 5), ([7], 0.9, 7), ([], 0.9, 0),
])
def test_percentile(budgets, sizes, share, expected):
    assert budgets.percentile({str(i): size for i, size in enumerate(sizes)}, share) == expected


def test_small_functions_pass(budgets, tmp_path, capsys):
    (tmp_path / "a.py").write_text(long_function(8))
    assert budgets.main(str(tmp_path)) == 0
    assert "Budgets kept: 1 files, 1 functions, bodies of 8 lines" in capsys.readouterr().out


def test_a_body_of_41_lines_fails_and_one_of_40_does_not(budgets, tmp_path, capsys):
    short = "".join(long_function(1, f"short_{i}") for i in range(20))
    path = tmp_path / "a.py"
    path.write_text(long_function(40) + short)
    assert budgets.main(str(tmp_path)) == 0
    path.write_text(long_function(41) + short)
    assert budgets.main(str(tmp_path)) == 1
    assert f"{path}:1 f: a body of 41 lines, at most 40 are allowed" in capsys.readouterr().out


def test_many_bodies_of_30_lines_fail(budgets, tmp_path, capsys):
    short, long = ("".join(long_function(size, f"f{size}_{i}") for i in range(20)) for size in (1, 30))
    (tmp_path / "a.py").write_text(short)
    (tmp_path / "b.py").write_text(long[:len(long) // 4])
    assert budgets.main(str(tmp_path)) == 1
    assert "the 90th percentile of all bodies is 30 lines, at most 25 are allowed" in capsys.readouterr().out
    (tmp_path / "a.py").write_text(long_function(9))
    (tmp_path / "b.py").unlink()
    assert budgets.main(str(tmp_path)) == 1
    assert "the median of all bodies is 9 lines, at most 8 are allowed" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "most"), [("a.py", 400), ("app.js", 1200)])
def test_long_files_fail(budgets, tmp_path, capsys, name, most):
    path = tmp_path / name
    path.write_text("# x\n" * most)
    assert budgets.main(str(tmp_path)) == 0
    path.write_text("# x\n" * (most + 1))
    assert budgets.main(str(tmp_path)) == 1
    assert f"{path}: {most + 1} lines, at most {most} are allowed" in capsys.readouterr().out
