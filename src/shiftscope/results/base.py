"""What all result records share: `to_dict`, `from_dict`, `save` and `load`."""

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
from shiftscope.results.whole import misfits, outside, wrong_placement

RESULT_FILE, ARRAYS_FILE = "result.json", "arrays.npz"

KINDS: dict[str, type["Record"]] = {}
"""Every record class by its `kind`."""

NOTEBOOK = "shiftscope.notebook"
"""Who shows records in notebooks. It draws, so it stands above the records, which must not import it and need neither
figures nor torch; IPython asks the records themselves. So they know the place by its name, and load it when asked."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of all results. Small values are fields; numpy arrays are the fields named in `arrays`."""

    kind: ClassVar[str] = ""
    arrays: ClassVar[tuple[str, ...]] = ()
    layout: ClassVar[Mapping[str, str]] = {}
    """Of arrays, by name: kind and axes, see `whole.misfits`; checked when a record is read."""

    def __init_subclass__(cls) -> None:
        KINDS[cls.kind] = cls

    @property
    def geometry(self) -> Geometry:
        """The placements of the result, from its field `placement`.

        Raises:
            CheckpointError: the field is damaged, or the result has none.
        """
        return Geometry.from_dict(getattr(self, "placement", {}))

    def to_dict(self) -> dict[str, Any]:
        """Return the small values as plain JSON (without the arrays)."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in self.arrays}
        return {"schema_version": SCHEMA_VERSION, "kind": self.kind} | files.plain(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Self:
        """Rebuild a record from `to_dict` and its arrays.

        Fields that have a default came later than the others: records of earlier releases lack them.

        Raises:
            CheckpointError: another schema version or kind, keys missing, values or arrays of other types or shapes.
        """
        check_version(values, f"a result of kind {cls.kind!r}")
        given = values | (arrays or {})
        missing = sorted(field.name for field in fields(cls) if field.name not in given
                         and field.default is MISSING and field.default_factory is MISSING)
        if values.get("kind") != cls.kind or missing:
            raise CheckpointError(f"this is no complete result of kind {cls.kind!r}: it says "
                                  f"{quoted(values.get('kind'))} and lacks {missing}; make it anew")
        try:
            record = cls(**as_type(values, _small_values(cls)), **(arrays or {}))
        except UnfitFileError as error:
            raise _no_whole(cls.kind, str(error)) from error
        wrong = record.misfits()
        if wrong:
            raise _no_whole(cls.kind, "; ".join(wrong))
        return record

    def sizes(self) -> dict[str, int]:
        """Return the lengths of axes that the small values tell, by their letters in `layout`."""
        return {}

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Return the range [low, high) of arrays that other things are counted by."""
        return {}

    def misfits(self) -> list[str]:
        """Return a phrase for a placement that cannot be, and for each array that does not fit the others or the small
        values."""
        arrays = {name: getattr(self, name) for name in self.arrays}
        placement = getattr(self, "placement", {})
        return (wrong_placement(placement, needed=()) or misfits(arrays, self.layout, self.sizes())
                or outside(arrays, self.ranges()))

    def save(self, folder: Path | str) -> None:
        """Write `result.json` and, where there are arrays, `arrays.npz` into `folder`."""
        folder = Path(folder)
        if self.arrays:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **{name: getattr(self, name) for name in self.arrays})
            files.write_bytes(folder / ARRAYS_FILE, buffer.getvalue())
        files.write_json(folder / RESULT_FILE, self.to_dict())

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read what `save` wrote."""
        record = load_record(folder)
        if not isinstance(record, cls):
            raise CheckpointError(f"{folder} holds a result of kind {record.kind!r}, expected {cls.kind!r}")
        return record

    def _repr_mimebundle_(self, include: Collection[str] | None = None,
                          exclude: Collection[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what a notebook shows, by MIME type, and how large it is: IPython calls this."""
        return import_module(f"{NOTEBOOK}.display").mimebundle(self, include, exclude)


def _no_whole(kind: str, why: str) -> CheckpointError:
    return CheckpointError(f"this is no whole result of kind {kind!r}: {why}; make it anew")


def _read_arrays(folder: Path, cls: type[Record], renamed: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not cls.arrays:
        return {}
    return {renamed.get(name, name): values
            for name, values in read_arrays(folder / ARRAYS_FILE, (*cls.arrays, *renamed)).items()}


@cache
def _small_values(cls: type[Record]) -> Any:
    return object_of(cls, without=cls.arrays)


def check_version(values: dict[str, Any], what: str) -> None:
    """Raise a `CheckpointError` unless `values` has the schema version that this release reads."""
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{what} has schema version {quoted(version)}, this release reads version "
                              f"{SCHEMA_VERSION}: use the release that wrote it, or make it anew with this one")


def load_record(folder: Path | str) -> Record:
    """Read the record in `folder`, whatever its kind.

    Raises:
        CheckpointError: nothing there, unreadable, damaged, of an unknown kind or another version.
    """
    folder = Path(folder)
    try:
        written = read_json(folder / RESULT_FILE)
        values = migrate(written)
        check_version(values, str(folder))
        kind = values.get("kind")
        cls = KINDS.get(kind) if isinstance(kind, str) else None
        if cls is None:
            raise UnfitFileError(f"it is of the unknown kind {quoted(kind)}")
        arrays = _read_arrays(folder, cls, RENAMED if values is not written else {})
    except OSError as error:
        raise CheckpointError(f"cannot read a result from {folder}: {files.reason(error)}; make it anew") from error
    try:
        return cls.from_dict(values, arrays)
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
