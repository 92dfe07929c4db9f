"""The reference lists every public name and every option of every command."""

import importlib
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="needs the packages of the extra docs")

DOCS = Path(__file__).parents[2] / "docs"
DIRECTIVE = re.compile(r"^\.\. (auto\w+|py:data):: (.+(?:\n {13}.+)*)((?:\n   :.*)*)", flags=re.M)


@pytest.fixture(scope="module")
def extension():
    """Return a function that imports a module of docs/_ext."""
    sys.path.insert(0, str(DOCS / "_ext"))
    yield importlib.import_module
    sys.path.remove(str(DOCS / "_ext"))


def listed() -> set[str]:
    """Return the names documented on the reference pages."""
    result: set[str] = set()
    for page in (DOCS / "reference").glob("*.md"):
        for kind, names, options in DIRECTIVE.findall(page.read_text(encoding="utf-8")):
            module = re.search(r":module: (\S+)", options)
            if kind != "automodule":
                result |= {f"{module[1]}.{name}" if module else name for name in names.split()}
            elif ":members:" in options:
                excluded = re.search(r":exclude-members: (.+)", options)
                result |= {names} | {f"{names}.{name}" for name in importlib.import_module(names).__all__
                          if not excluded or name not in excluded[1].split(", ")}
            else:
                result.add(names)
    return result


def test_every_public_name_is_in_the_reference(extension):
    names = listed()
    assert extension("public_names").missing_names(names) == []
    assert "shiftscope.layers.BlurPool2d" in names


def test_a_missing_name_is_detected(extension):
    missing = extension("public_names").missing_names
    assert missing(listed() - {"shiftscope.layers.BlurPool2d"}) == ["shiftscope.layers.BlurPool2d"]
    assert "shiftscope.models.load" in missing(listed() - {"shiftscope.load"})


def test_every_option_of_every_command_is_on_the_page(extension):
    from shiftscope.cli.app import COMMANDS, build_app

    reference = extension("command_reference")
    for command in COMMANDS:
        app = parsed = build_app()
        for word in command.words:
            parsed = parsed[word]
        text = "\n".join(reference.page_lines(command, reference.HelpPage(app, command.words)))
        shown = [argument for argument in parsed.assemble_argument_collection() if argument.show]
        for argument in shown:
            name = re.escape(argument.name.lstrip("-"))
            assert re.search(rf"^\.\. option:: .*{name}", text, flags=re.M | re.I), argument.name
        assert text.count(".. option::") == len(shown)


def test_docstrings_are_escaped(extension):
    lines = ["The `a*b` of |x| and `Placement`s, as in", "", "    >>> 2 * 3", "    6", "", "code::", "", "    |a| * b",
             "", "Returns:", "    Two things: a and b."]
    extension("docstrings").plain_prose(None, "function", "f", None, None, lines)
    assert lines == ["The `a*b` of \\|x\\| and `Placement`\\ s, as in", "", "    >>> 2 * 3", "    6", "", "code::", "",
                     "    |a| * b", "", "Returns:", "    : Two things: a and b."]
