"""The text of the package and its documentation contains none of the phrases in language.txt."""

import builtins
import keyword
import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
AREAS = {"src": (".py", ".js", ".html", ".css"), "docs": (".md", ".py", ".rst"), "benchmarks": (".py",),
         "README.md": (".md",), "ARCHITECTURE.md": (".md",)}
"""Folder or file, and the suffixes of the files that are checked."""

MESSAGE = re.compile(r"^### `.*$", flags=re.M)
"""A heading of docs/errors.md: it repeats a message of the source, which is checked there."""

LINE_BREAK = r"(?:\s|(?<=\n)\s*#)+"
"""What a space in a pattern matches: white space, and a line break inside a comment."""


class Rule(NamedTuple):
    """A forbidden phrase."""

    text: str
    pattern: re.Pattern[str]
    exceptions: tuple[str, ...]


def parse(lines: Iterable[str]) -> list[Rule]:
    """Parse lines `regular expression[TAB globs of paths]`; empty lines and comments are skipped."""
    rules = []
    for line in lines:
        if line.strip() and not line.startswith("#"):
            text, _, exceptions = line.rstrip("\n").partition("\t")
            spaced = text if "(?<" in text else text.replace(" ", LINE_BREAK)  # a look-behind has a fixed width
            rules.append(Rule(text, re.compile(rf"(?<!\w)(?:{spaced})(?!\w)", flags=re.I), tuple(exceptions.split())))
    return rules


@cache
def rules() -> list[Rule]:
    return parse((ROOT / "tests" / "language.txt").read_text(encoding="utf-8").splitlines())


def matches(path: str, text: str, rules: Iterable[Rule]) -> Iterator[str]:
    """Yield `path:line: phrase (pattern)` for each forbidden phrase."""
    for rule in rules:
        if not any(fnmatchcase(path, glob) for glob in rule.exceptions):
            for match in rule.pattern.finditer(text):
                line = text.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: {' '.join(match[0].split())!r} ({rule.text})"


def files(area: str) -> list[Path]:
    root = ROOT / area
    found = [root] if root.is_file() else root.rglob("*")
    return sorted(path for path in found if path.suffix in AREAS[area] and "_build" not in path.parts)


@pytest.mark.parametrize("area", AREAS)
def test_no_forbidden_phrase_is_used(area):
    found = []
    for path in files(area):
        text = path.read_text(encoding="utf-8")
        if path.name == "errors.md":
            text = MESSAGE.sub("", text)
        found += matches(path.relative_to(ROOT).as_posix(), text, rules())
    print(*found, sep="\n")
    assert found == []


def test_a_forbidden_phrase_is_found_with_its_line():
    found = list(matches("docs/page.md", "First line.\nThe model does not\ncare where it is.", rules()))
    assert any(one.startswith("docs/page.md:2: 'does not care'") for one in found)
    comment = "x = 1\n# All images are loaded at\n# once.\n"
    assert any(one.startswith("src/a.py:2: 'at # once'") for one in matches("src/a.py", comment, rules()))


def test_plain_sentences_are_accepted():
    text = ("Return the accuracy at every placement. The prediction of the model depends on the position of the "
            "object. If `max_shift` is given, placements beyond it are skipped; the standard deviation is over seeds.")
    assert list(matches("src/a.py", text, rules())) == []


def test_exceptions_and_word_bounds_are_respected():
    rule = parse(["# a comment", "", "mend\tsrc/old/*.py docs/history.md"])
    assert list(matches("src/new/a.py", "mend it", rule)) == ["src/new/a.py:1: 'mend' (mend)"]
    assert list(matches("src/old/a.py", "mend it", rule)) == []
    assert list(matches("docs/history.md", "mend it", rule)) == []
    assert list(matches("src/new/a.py", "recommend an amendment", rule)) == []


def test_the_list_is_long_and_has_no_duplicates():
    texts = [rule.text for rule in rules()]
    assert len(texts) == len(set(texts)) >= 120


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.text)
def test_no_pattern_matches_code_or_nothing(rule):
    words = [*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "found", "right", "made", "image", "self", ""]
    assert [word for word in words if rule.pattern.search(word)] == []
    assert "  " not in rule.text and rule.text == rule.text.strip()
