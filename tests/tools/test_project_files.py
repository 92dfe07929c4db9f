"""Makefile, constraints.txt and pyproject.toml say the same."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = [text for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()) for text in texts
          if not text.startswith("shiftscope[")]  # an extra that takes in others


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("text", DIRECT)
def test_every_direct_dependency_is_pinned_within_its_range(text):
    requirement = Requirement(text)
    version = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version)
    assert "+" not in version, "a local part such as +cpu would bind everybody to one build"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_help_lists_every_task():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert phony is not None
    assert set(re.findall(r"^make (\S+) +\S", shown, re.MULTILINE)) == set(phony[1].split())


def test_only_pyproject_contains_the_version():
    version = PROJECT["version"]
    holders = [path for path in [*(ROOT / "src").rglob("*.py"), ROOT / "CITATION.cff"]
               if f'"{version}"' in path.read_text(encoding="utf-8")]
    assert holders == []
