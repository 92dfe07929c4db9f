"""Converts documents, arrays and weights that release 0.1 wrote to the names of this release, by one table.

Release 0.1 wrote schema version 1. Files on disk are not changed; the conversion happens when they are read.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

SCHEMA_VERSION = 2
"""Version of all JSON documents. It increases when a key is removed or changes its meaning."""

KEYS = {
    "answers": "predictions", "centred": "centered", "confusion_centred": "confusion_centered",
    "deviation": "std", "drawn": "synthetic", "excelled": "exceeds_real", "how": "method",
    "judged_right": "judged_correct", "licence": "license", "mend": "repair", "mended": "repaired",
    "neighbours": "neighbors", "not_finite": "nonfinite", "parametrisation": "parametrization",
    "predictions_centred": "predictions_centered", "right_counts": "correct_counts",
}
"""Renamed keys of documents and names of arrays, old to new."""

PLACES = {"moved": "random", "centred": "centered"}
MODELS = {"recentred": "recentered"}

VALUES: dict[str, dict[str, str]] = {
    "trained": PLACES, "tested": PLACES, "kind": {"neighbours": "neighbors"}, "method": {"recentre": "recenter"},
    "name": MODELS, "model": MODELS, "models": MODELS, "entry": MODELS,
    "class": {"shiftscope.models.recentred:RecentredNet": "shiftscope.models.invariant:RecenteredNet"},
}
"""Renamed values by their (new) key, old to new; they apply to text and to lists of text."""

WEIGHTS = (("normalise.", "normalize."), ("recentre.", "recenter."), ("standardise.", "standardize."),
           (".deviation", ".std"))
"""Renamed parts of the names of weights, old to new."""


def migrate(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of schema version 1 with the names of this release; any other document unchanged.

    >>> migrate({"schema_version": 1, "trained": "moved", "accuracy": {"centred": 0.9}})
    {'schema_version': 2, 'trained': 'random', 'accuracy': {'centered': 0.9}}
    """
    if document.get("schema_version") != 1:
        return document
    return renamed(document) | {"schema_version": SCHEMA_VERSION}


def renamed(value: T, key: str = "") -> T:
    """Return a value of a version 1 document, which is stored under `key`, with the names of this release."""
    found: Any = value
    if isinstance(value, dict):
        pairs = ((KEYS.get(name, name) if isinstance(name, str) else name, part) for name, part in value.items())
        found = {name: renamed(part, name) for name, part in pairs}
    elif isinstance(value, list | tuple):
        found = type(value)(renamed(part, key) for part in value)
    elif isinstance(value, str):
        found = VALUES.get(key, {}).get(value, value) if key != "job" else new_job_name(value)
    return found


def new_job_name(name: str) -> str:
    """Return the name of a job of a run in this release.

    >>> new_job_name("two-full-centred-seed0")
    'two-full-centered-seed0'
    """
    return re.sub(r"-centred(?=-seed\d+$)", "-centered", re.sub(r"^recentred(?=-)", "recentered", name))


def stored_path(path: Path) -> Path:
    """Return the path itself, or that of the same file or folder in a run of release 0.1 if only this one exists."""
    if path.exists():
        return path
    old = path.with_name(re.sub(r"-centered(?=-seed\d+$)", "-centred", re.sub(r"^recentered(?=-)", "recentred",
                                                                            path.name)))
    return old if old.exists() else path


def migrate_weights(weights: Mapping[str, T], expected: Iterable[str]) -> dict[str, T]:
    """Return weights under the names that a model expects, where it has them under a name of release 0.1.

    >>> migrate_weights({"normalise.deviation": 0.3, "fc1.bias": 0.1}, ["normalize.std", "fc1.bias"])
    {'normalize.std': 0.3, 'fc1.bias': 0.1}
    """
    names = set(expected)
    return {_weight_name(name, names): value for name, value in weights.items()}


def _weight_name(name: str, expected: set[str]) -> str:
    new = name
    for old_part, new_part in WEIGHTS:
        new = new.replace(old_part, new_part)
    return new if name not in expected and new in expected else name
