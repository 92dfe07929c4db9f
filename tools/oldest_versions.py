"""Print constraints with the oldest supported version of each dependency, for pip.

Usage: python tools/oldest_versions.py EXTRA,...
"""

import sys
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


def main(names: str) -> None:
    """Print the constraints for the package with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in names.split(",") for one in project["optional-dependencies"][extra]]
    for name, version in oldest([*project["dependencies"], *extras]).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
