"""Reads JSON documents: the size first, then the text, then every value against the type that it should have."""

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

MOST_BYTES = 32 * 2**20
"""Size limit of a JSON document. The largest that Shiftscope writes have a few megabytes."""

MOST_DEPTH = 40
"""Levels of a JSON document: whoever walks through one by recursion can rely on it."""

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""A whole number of 64 bits: larger ones fit no array."""

T = TypeVar("T")


def decode(content: bytes | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        UnfitFileError: no JSON, or nested too deeply.

    Example:
        >>> decode(b'{"a": [1, null]}')
        {'a': [1, None]}
    """
    try:
        value = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:  # the last: text with half a surrogate
        raise UnfitFileError(f"it is not JSON: {error}") from error
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [part for one in level if isinstance(one, dict | list)
                 for part in (one.values() if isinstance(one, dict) else one)]
    if level:
        raise UnfitFileError(f"its values are nested in more than {MOST_DEPTH} levels")
    return value


def read_json(path: Path | str, kind: type[T] = dict[str, Any], limit: int = MOST_BYTES) -> T:
    """Return a JSON document of the given type; see `as_type`.

    Raises:
        OSError: missing or unreadable.
        UnfitFileError: an OSError too: no regular file, too large, no JSON, or of another type.
    """
    return as_type(decode(read_regular(path, limit)), kind)


def as_type(value: Any, kind: type[T], name: str = "") -> T:
    """Return a value of a JSON document as the given type: a dataclass, a TypedDict, or types of plain values.

    Keys that the type does not name are left out; fields with defaults may be missing. A number that was not finite
    is null in JSON, so null becomes NaN where a float is expected. Whole numbers have at most 64 bits.

    Args:
        value: what `decode` returned, or a part of it.
        kind: the expected type.
        name: what messages call the value.

    Raises:
        UnfitFileError: the value is of another type. The text names the place within the value.
        UsageError: raised by the dataclass itself, whose values cannot be.

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
        problem, _, place = str(error).replace("`", "").partition(" - at $")
        where = f"{name}{place}".removeprefix(".")
        raise UnfitFileError(f"{where}: " * bool(where) + problem[0].lower() + problem[1:]) from error


class _Reals(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, float)


class _Real(metaclass=_Reals):
    """Stands for float in the types that values are checked against, so that `_number` is asked about null."""


def _number(kind: type, value: Any) -> Any:
    if kind is not _Real:  # a type that JSON does not know, such as an array
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
    """Return the type of the same values as JSON holds them: dataclasses are objects, a float may be null."""
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (float, int):
        return _Real if kind is float else Whole
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return readable(object_of(kind))
    if is_typeddict(kind):
        parts = {name: readable(part) for name, part in get_type_hints(kind, include_extras=True).items()}
        return typed_dict({name: Required[part] if name in kind.__required_keys__ else NotRequired[part]
                           for name, part in parts.items()})
    if origin in (Required, NotRequired):
        return readable(parts[0])
    if origin in (Union, UnionType):  # only one type of its own may be part of a union
        return Union[tuple(part if part is float else readable(part) for part in parts)]  # noqa: UP007
    if origin is Annotated:
        return Annotated[readable(parts[0]), *parts[1:]] if get_origin(parts[0]) in (list, tuple, dict) else kind
    if origin in (list, tuple, dict):
        plain: Any = origin
        return plain[tuple(part if part is ... else readable(part) for part in parts)]
    return kind


def object_of(kind: type, without: Collection[str] = ()) -> Any:
    """Return the TypedDict of a dataclass's fields; those with a default may be missing.

    Args:
        kind: the dataclass.
        without: names of fields that are left out.
    """
    hints, found = get_type_hints(kind, include_extras=True), {}
    for field in dataclasses.fields(kind):
        if field.name not in without:
            open_ = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
            found[field.name] = NotRequired[hints[field.name]] if open_ else Required[hints[field.name]]
    return typed_dict(found)


def typed_dict(kinds: dict[str, Any]) -> Any:
    """Return a TypedDict of keys and their types that are computed.

    >>> as_type({"a": 1, "b": 2}, typed_dict({"a": int}))
    {'a': 1}
    """
    make: Any = TypedDict  # type checkers accept keys only where they are written out
    return make("Values", kinds)
