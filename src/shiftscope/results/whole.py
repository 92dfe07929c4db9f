"""Is what was read from a file a whole record? Types of the small values, kinds and shapes of the arrays."""

from collections.abc import Iterable, Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import numpy as np

KINDS = {"i": "iu", "u": "u", "f": "f", "b": "b"}
"""Letters of a layout, and the kinds of NumPy's types that they stand for."""

PLACEMENT: dict[str, Any] = {"image": list[int], "canvas": list[int], "mode": str}
"""What readers of `Placement.to_dict` rely on."""


@cache
def hints(cls: type) -> dict[str, Any]:
    """Return the types of a class's fields by name."""
    return get_type_hints(cls)


def fits(value: Any, hint: Any) -> bool:
    """Return whether a plain JSON value is of the type that a field is annotated with.

    A number that was not finite is null in JSON, so None passes for a float.

    >>> fits([1, 2], list[int]), fits({"a": "b"}, dict[str, float]), fits(None, float)
    (True, False, True)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and _all_fit(value, parts[:1])
    if origin is dict:
        return isinstance(value, dict) and _all_fit(value, parts[:1]) and _all_fit(value.values(), parts[1:])
    if is_typeddict(hint):
        return isinstance(value, dict) and all(key in value and fits(value[key], part)
                                               for key, part in hints(hint).items())
    return _is_plain(value, hint)


def lacking(name: str, values: Mapping[str, Any], keys: Mapping[str, Any]) -> list[str]:
    """Return a phrase where a field of a record lacks one of the keys, or holds another type under it.

    >>> lacking("placement", {"canvas": [56, 56]}, {"image": list[int], "canvas": list[int]})
    ['placement lacks image']
    """
    lost = [key for key, hint in keys.items() if key not in values or not fits(values[key], hint)]
    return [f"{name} lacks {', '.join(lost)}"] if lost else []


def _all_fit(values: Iterable[Any], hint: tuple[Any, ...]) -> bool:
    return all(fits(value, part) for value in values for part in hint)


def _is_plain(value: Any, hint: Any) -> bool:
    if hint is float:
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def misfits(arrays: Mapping[str, Any], layout: Mapping[str, str], sizes: Mapping[str, int]) -> list[str]:
    """Return a phrase for each array that is not what its layout says.

    Args:
        arrays: by name.
        layout: by name, the kind of its numbers (i whole, u unsigned, f real, b true or false) and the length of each
            axis: a number, or a letter that means the same length everywhere.
        sizes: lengths of letters that are known.

    Example:
        >>> misfits({"a": np.zeros(3), "b": np.zeros((2, 3), int)}, {"a": "f N", "b": "i N 2"}, {})
        ['b is int64 (2, 3), expected i N 2 with N = 3']
    """
    known, found = dict(sizes), []
    for name, text in layout.items():
        kind, *axes = text.split()
        array = arrays[name]
        right = isinstance(array, np.ndarray) and array.dtype.kind in KINDS[kind] and array.ndim == len(axes)
        lengths = [int(axis) if axis.isdecimal() else known.setdefault(axis, length)
                   for axis, length in zip(axes, array.shape, strict=True)] if right else []
        if not right or tuple(lengths) != array.shape:
            told = ", ".join(f"{axis} = {known[axis]}" for axis in dict.fromkeys(axes) if axis in known)
            found.append(f"{name} is {array.dtype} {array.shape}, expected {text}{' with ' if told else ''}{told}")
    return found


def outside(arrays: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return a phrase for each array of whole numbers with one outside its range [low, high).

    >>> outside({"a": np.array([0, 7])}, {"a": (0, 3)})
    ['a goes from 0 to 7, expected 0 to 2']
    """
    return [f"{name} goes from {arrays[name].min()} to {arrays[name].max()}, expected {low} to {high - 1}"
            for name, (low, high) in ranges.items()
            if arrays[name].size and not (arrays[name].min() >= low and arrays[name].max() < high)]
