"""Base class of results: `to_dict`, `from_dict`, `save` and `load`."""

import io
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from shiftscope import files
from shiftscope.errors import CheckpointError, quoted
from shiftscope.files import UnfitFileError
from shiftscope.geometry import Geometry
from shiftscope.migration import KEYS as RENAMED
from shiftscope.migration import SCHEMA_VERSION, migrate
from shiftscope.npz import read_arrays
from shiftscope.reading import as_type, object_of, read_json
from shiftscope.results.validation import misfits, outside, wrong_placement

RESULT_FILE, ARRAYS_FILE = "result.json", "arrays.npz"

KINDS: dict[str, type["Record"]] = {}
"""Every record class by its `kind`."""

NOTEBOOK = "shiftscope.notebook"
"""Package that prints records and displays them in notebooks. It is in a higher layer, so records import it by name."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of all results. Small values are fields; numpy arrays are the fields named in `arrays`.

    `print(record)` shows a summary of at most five lines. In lists and error messages a record is a single line.
    """

    kind: ClassVar[str] = ""
    arrays: ClassVar[tuple[str, ...]] = ()
    layout: ClassVar[Mapping[str, str]] = {}
    """Data kind and axes of each array, see `misfits`; checked when a record is read."""

    def __init_subclass__(cls) -> None:
        KINDS[cls.kind] = cls
        if "__repr__" not in vars(cls):
            cls.__repr__ = Record.__repr__  # else `dataclass` adds one that contains all arrays

    def __str__(self) -> str:
        """Return the summary that a notebook shows."""
        return import_module(f"{NOTEBOOK}.summary").summary(self)

    def __repr__(self) -> str:
        """Return the main values in one line; in angle brackets, because it is not Python code."""
        return import_module(f"{NOTEBOOK}.summary").short_summary(self)

    @property
    def geometry(self) -> Geometry:
        """Geometry of the placements, from the field `placement`.

        Raises:
            CheckpointError: the field is damaged or missing.
        """
        return Geometry.from_dict(getattr(self, "placement", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the arrays as plain JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in self.arrays}
        return {"schema_version": SCHEMA_VERSION, "kind": self.kind} | files.plain(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Self:
        """Create a record from the output of `to_dict` and its arrays.

        Fields with defaults may be missing, because earlier releases did not have them.

        Raises:
            CheckpointError: the schema version or kind differs, a key is missing, or a value or array has another type
                or shape.
        """
        check_version(values, f"a result of kind {cls.kind!r}")
        given = values | (arrays or {})
        missing = sorted(field.name for field in fields(cls) if field.name not in given
                         and field.default is MISSING and field.default_factory is MISSING)
        if values.get("kind") != cls.kind or missing:
            raise CheckpointError(f"this is not a complete result of kind {cls.kind!r}: its kind is "
                                  f"{quoted(values.get('kind'))} and it lacks {missing}; create it again")
        try:
            record = cls(**as_type(values, _small_values(cls)), **(arrays or {}))
        except UnfitFileError as error:
            raise _invalid(cls.kind, str(error)) from error
        wrong = record.misfits()
        if wrong:
            raise _invalid(cls.kind, "; ".join(wrong))
        return record

    def sizes(self) -> dict[str, int]:
        """Return the known lengths of axes, by their letters in `layout`."""
        return {}

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return the range [low, high) of integer arrays by name."""
        return {}

    def misfits(self) -> list[str]:
        """Return a description of each invalid placement or array."""
        arrays = {name: getattr(self, name) for name in self.arrays}
        placement = getattr(self, "placement", {})
        return (wrong_placement(placement, needed=()) or misfits(arrays, self.layout, self.sizes())
                or outside(arrays, self.ranges()))

    def save(self, folder: Path | str) -> None:
        """Write `result.json` and, if the record has arrays, `arrays.npz` into `folder`."""
        folder = Path(folder)
        if self.arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **{name: getattr(self, name) for name in self.arrays})
            files.write_bytes(folder / ARRAYS_FILE, buffer.getvalue())
        files.write_json(folder / RESULT_FILE, self.to_dict())

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a record that `save` wrote."""
        record = load_record(folder)
        if not isinstance(record, cls):
            raise CheckpointError(f"{folder} contains a result of kind {record.kind!r}, expected {cls.kind!r}")
        return record

    def _repr_mimebundle_(self, include: Collection[str] | None = None,
                          exclude: Collection[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the notebook representations by MIME type, and their metadata (called by IPython)."""
        return import_module(f"{NOTEBOOK}.display").mimebundle(self, include, exclude)


def _invalid(kind: str, why: str) -> CheckpointError:
    return CheckpointError(f"this is not a valid result of kind {kind!r}: {why}; create it again")


def _read_arrays(folder: Path, cls: type[Record], renamed: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not cls.arrays:
        return {}
    return {renamed.get(name, name): values
            for name, values in read_arrays(folder / ARRAYS_FILE, (*cls.arrays, *renamed)).items()}


@cache
def _small_values(cls: type[Record]) -> Any:
    return object_of(cls, without=cls.arrays)


def check_version(values: dict[str, Any], what: str) -> None:
    """Raise a `CheckpointError` if `values` does not have the schema version of this release."""
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{what} has schema version {quoted(version)}, this release reads version "
                              f"{SCHEMA_VERSION}; use the release that wrote it, or create it again with this one")


def load_record(folder: Path | str) -> Record:
    """Read the record in `folder`, of any kind.

    Raises:
        CheckpointError: the record is missing, unreadable or damaged, or has an unknown kind or version.
    """
    folder = Path(folder)
    try:
        written = read_json(folder / RESULT_FILE)
        values = migrate(written)
        check_version(values, str(folder))
        kind = values.get("kind")
        cls = KINDS.get(kind) if isinstance(kind, str) else None
        if cls is None:
            raise UnfitFileError(f"its kind {quoted(kind)} is unknown")
        arrays = _read_arrays(folder, cls, RENAMED if values is not written else {})
    except OSError as error:
        raise CheckpointError(f"cannot read a result from {folder}: {files.reason(error)}; create it again") from error
    try:
        return cls.from_dict(values, arrays)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
