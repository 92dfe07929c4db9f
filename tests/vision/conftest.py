"""Tests with torchvision and timm run in the environment of `make test-vision` and are skipped elsewhere."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

MISSING = [name for name in ("torchvision", "timm") if importlib.util.find_spec(name) is None]

if not MISSING:
    # Beside another build of torch than its own, torchvision's compiled part does not load, and its import fails where
    # it describes operators of that part. No test needs them: with an empty module in that place, the rest works.
    sys.modules["torchvision._meta_registrations"] = ModuleType("torchvision._meta_registrations")


def pytest_collection_modifyitems(items):
    if MISSING:
        skip = pytest.mark.skip(reason=f"needs {' and '.join(MISSING)}: run `make test-vision`")
        for item in items:
            if item.path.parent == Path(__file__).parent:
                item.add_marker(skip)
