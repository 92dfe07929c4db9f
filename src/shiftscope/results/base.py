"""What all result records share: `to_dict`, `from_dict`, `save` and `load`."""

import io
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from shiftscope import files
from shiftscope.errors import CheckpointError

SCHEMA_VERSION = 1
"""Rises when a key is removed or changes its meaning."""

RESULT_FILE, ARRAYS_FILE = "result.json", "arrays.npz"

KINDS: dict[str, type["Record"]] = {}
"""Every record class by its `kind`."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base of all results. Small values are fields; numpy arrays are the fields named in `arrays`."""

    kind: ClassVar[str] = ""
    arrays: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        KINDS[cls.kind] = cls

    def to_dict(self) -> dict[str, Any]:
        """Return the small values as plain JSON (without the arrays)."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in self.arrays}
        return {"schema_version": SCHEMA_VERSION, "kind": self.kind} | files.plain(values)

    @classmethod
    def from_dict(cls, values: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> Self:
        """Rebuild a record from `to_dict` and its arrays.

        Raises:
            CheckpointError: another schema version or kind, or keys missing.
        """
        check_version(values, f"a result of kind {cls.kind!r}")
        known = {field.name for field in fields(cls)}
        given = {key: value for key, value in values.items() if key in known} | (arrays or {})
        missing = sorted(known - set(given))
        if values.get("kind") != cls.kind or missing:
            raise CheckpointError(f"this is no complete result of kind {cls.kind!r}: it says {values.get('kind')!r} "
                                  f"and lacks {missing}; make it anew")
        return cls(**given)

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


def check_version(values: dict[str, Any], what: str) -> None:
    """Raise a `CheckpointError` unless `values` has the schema version that this release reads."""
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        raise CheckpointError(f"{what} has schema version {version}, this release reads version {SCHEMA_VERSION}: use "
                              "the release that wrote it, or make it anew with this one")


def load_record(folder: Path | str) -> Record:
    """Read the record in `folder`, whatever its kind.

    Raises:
        CheckpointError: nothing there, unreadable, of an unknown kind or another version.
    """
    folder = Path(folder)
    try:
        values = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        cls = KINDS[values["kind"]]
        arrays = {}
        if cls.arrays:
            with np.load(folder / ARRAYS_FILE, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in cls.arrays}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"cannot read a result from {folder}: {error}; make it anew") from error
    return cls.from_dict(values, arrays)
