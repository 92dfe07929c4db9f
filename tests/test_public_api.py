"""`shiftscope.__all__` is reality: every name is there, documented, and where type checkers look for it."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import shiftscope


def test_the_list_is_short_sorted_and_shown_by_dir():
    assert len(set(shiftscope.__all__) - set(shiftscope._SUBMODULES)) <= 20
    assert len(set(shiftscope.__all__)) == len(shiftscope.__all__)
    assert {*shiftscope.__all__, "__version__"} <= set(dir(shiftscope))


@pytest.mark.parametrize("name", shiftscope.__all__)
def test_every_public_name_exists_and_is_documented(name):
    value = getattr(shiftscope, name)
    assert inspect.getdoc(value)
    assert inspect.ismodule(value) == (name in ("data", "models"))


def test_type_checking_imports_match_the_lazy_ones():
    tree = ast.parse(Path(inspect.getfile(shiftscope)).read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {(alias.name, node.module) for node in checked.body if isinstance(node, ast.ImportFrom)
                for alias in node.names}
    submodules = {(name, "shiftscope") for name in shiftscope._SUBMODULES}
    assert declared == set(shiftscope._HOMES.items()) | submodules
    assert {name for name, _ in declared} == set(shiftscope.__all__)


def test_public_names_are_the_objects_of_their_modules():
    for name, home in shiftscope._HOMES.items():
        assert getattr(shiftscope, name) is getattr(sys.modules[home], name), name


def test_unknown_names_raise_attribute_error():
    with pytest.raises(AttributeError, match="module 'shiftscope' has no attribute 'tarin'"):
        shiftscope.tarin  # noqa: B018


def test_the_version_is_the_installed_one():
    from importlib.metadata import version

    assert shiftscope.__version__ == version("shiftscope")


def test_star_import_works():
    names: dict = {}
    exec("from shiftscope import *", names)
    assert set(shiftscope.__all__) <= set(names)


def test_import_loads_no_heavy_modules():
    script = "import sys, shiftscope; print([name for name in sys.modules if name in ('torch', 'numpy', 'matplotlib')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
