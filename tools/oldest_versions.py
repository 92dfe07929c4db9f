"""Print constraints with the oldest supported version of each dependency, for pip.

Usage: python tools/oldest_versions.py EXTRA,... [--torch VERSION]

PyPI has no CPU build of old versions of PyTorch, so its version is that of constraints.txt; `--torch` names another.
"""

import argparse
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def oldest(requirements: list[str]) -> dict[str, str]:
    """Return the lower bound of each requirement by its name.

    >>> oldest(["Jinja2>=3.1,!=3.1.2", "shiftscope[notebook]", "timm"])
    {'jinja2': '3.1'}
    """
    found = map(Requirement, requirements)
    return {canonicalize_name(one.name): bound.version for one in found for bound in one.specifier
            if bound.operator == ">="}


def main() -> None:
    """Print the constraints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("extras")
    parser.add_argument("--torch")
    asked = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in asked.extras.split(",") for one in project["optional-dependencies"][extra]]
    [pinned] = re.findall("^torch==(.*)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)
    versions = oldest([*project["dependencies"], *extras]) | {"torch": asked.torch or pinned}
    for name, version in versions.items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main()
