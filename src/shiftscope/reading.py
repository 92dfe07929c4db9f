"""Reads JSON documents: the size is checked first, then the text, then the type of every value."""

import dataclasses
from collections.abc import Collection
from functools import cache
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec

from shiftscope.files import UnfitFileError, read_regular

MAX_JSON_BYTES = 32 * 2**20
"""Size limit of a JSON document. The largest ones that Shiftscope writes have a few megabytes."""

MAX_DEPTH = 40
"""Largest number of nested levels of a JSON document, a limit for recursive readers."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of 64 bits; larger ones do not fit into an array."""

T = TypeVar("T")


def decode(content: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        UnfitFileError: if the text is not JSON, or nested too deeply.

    Example:
        >>> decode(b'{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:  # the last one: an unpaired surrogate
        raise UnfitFileError(f"it is not JSON: {error}") from error
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level if isinstance(parent, dict | list)
                 for child in (parent.values() if isinstance(parent, dict) else parent)]
    if level:
        raise UnfitFileError(f"its values are nested in more than {MAX_DEPTH} levels")
    return value


def read_json(path: Path | str, kind: type[T] = dict[str, Any], limit: int = MAX_JSON_BYTES) -> T:
    """Return a JSON document of the given type; see `as_type`.

    Raises:
        OSError: if the file is missing or unreadable.
        UnfitFileError: if it is not a regular file, too large, not JSON, or of another type; an OSError too.
    """
    return as_type(decode(read_regular(path, limit)), kind)


def as_type(value: Any, kind: type[T], name: str = "") -> T:
    """Return a value of a JSON document as the given type: a dataclass, a TypedDict, or types of plain values.

    Unknown keys are ignored; fields with defaults may be missing. Null becomes NaN if a float is expected, because
    JSON has no NaN. Integers have at most 64 bits.

    Args:
        value: result of `decode`, or a part of it.
        kind: the expected type.
        name: name of the value in messages.

    Raises:
        UnfitFileError: if the value has another type; the message names the path within the value.
        UsageError: from the dataclass itself, for invalid values.

    Example:
        >>> as_type([1, None], list[float])
        [1.0, nan]
        >>> as_type({"a": ["x"]}, dict[str, list[int]])
        Traceback (most recent call last):
        shiftscope.files.UnfitFileError: [...][0]: expected int, got str
    """
    try:
        plain = msgspec.convert(value, readable(kind), dec_hook=_number)
        return msgspec.convert(plain, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        problem, _, path = str(error).replace("`", "").partition(" - at $")
        where = f"{name}{path}".removeprefix(".")
        raise UnfitFileError(f"{where}: " * bool(where) + problem[0].lower() + problem[1:]) from error


class _Reals(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, float)


class _Real(metaclass=_Reals):
    """Replaces float in the types that msgspec checks, so that it calls `_number` for null."""


def _number(kind: type, value: Any) -> Any:
    if kind is not _Real:  # a type that JSON does not have, such as an array
        return value
    if value is None:
        return float("nan")
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise ValueError("Number out of range") from error
    raise ValueError(f"Expected `float`, got `{type(value).__name__}`")


@cache
def readable(kind: Any) -> Any:
    """Return the type of the same values in JSON: dataclasses are objects, a float may be null."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (float, int):
        return _Real if kind is float else Int64
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return readable(object_of(kind))
    if is_typeddict(kind):
        parts = {name: readable(part) for name, part in get_type_hints(kind, include_extras=True).items()}
        return typed_dict({name: Required[part] if name in kind.__required_keys__ else NotRequired[part]
                           for name, part in parts.items()})
    if origin in (Required, NotRequired):
        return readable(parts[0])
    if origin in (Union, UnionType):  # msgspec allows only one custom type in a union
        return Union[tuple(part if part is float else readable(part) for part in parts)]
    if origin is Annotated:
        return Annotated[readable(parts[0]), *parts[1:]] if get_origin(parts[0]) in (list, tuple, dict) else kind
    if origin in (list, tuple, dict):
        plain: Any = origin
        return plain[tuple(part if part is ... else readable(part) for part in parts)]
    return kind


def object_of(kind: type, without: Collection[str] = ()) -> Any:
    """Return a TypedDict of a dataclass's fields without those in `without`; fields with a default may be missing."""
    hints, fields = get_type_hints(kind, include_extras=True), {}
    for field in dataclasses.fields(kind):
        if field.name not in without:
            optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            fields[field.name] = NotRequired[hints[field.name]] if optional else Required[hints[field.name]]
    return typed_dict(fields)


def typed_dict(kinds: dict[str, Any]) -> Any:
    """Return a TypedDict with the given keys and types.

    >>> as_type({"a": 1, "b": 2}, typed_dict({"a": int}))
    {'a': 1}
    """
    make: Any = TypedDict  # type checkers accept literal keys only
    return make("Values", kinds)
