"""Is what was read from a file a whole record? Its placement, and kinds and shapes of its arrays."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
from msgspec import Meta

from shiftscope.files import UnfitFileError
from shiftscope.geometry import MOST_PIXELS
from shiftscope.reading import as_type
from shiftscope.settings import Mode

KINDS = {"i": "iu", "u": "u", "f": "f", "b": "b"}
"""Letters of a layout, and the kinds of NumPy's types that they stand for."""

Size = Annotated[int, Meta(ge=1, le=MOST_PIXELS)]
"""Pixels of one side."""


Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]

Seconds = Annotated[float, Meta(ge=0)]
"""A time that was measured, so it is there and finite."""


class StoredPlacement(TypedDict, total=False):
    """What `Placement.to_dict` gives and readers rely on."""

    image: tuple[Size, Size]
    canvas: tuple[Size, Size]
    mode: Mode
    background: Annotated[int, Meta(ge=0, le=255)] | Literal["texture"]
    max_shift: Count | None
    step: Annotated[int, Meta(ge=1)]
    placements: Count
    offset_list: list[tuple[Count, Count]] | None
    reference: tuple[Count, Count] | None


NEEDED = ("image", "canvas", "mode")
"""What a placement cannot be rebuilt without."""


def wrong_placement(values: Mapping[str, Any], needed: Sequence[str] = NEEDED) -> list[str]:
    """Return a phrase where a stored placement lacks a key that is needed, or holds a value that cannot be.

    >>> wrong_placement({"image": [4, 6]}), wrong_placement({"image": [4, -6]}, needed=())
    (['placement lacks canvas, mode'], ['placement.image[1]: expected int >= 1'])
    """
    if wrong := unlike("placement", values, StoredPlacement):
        return wrong
    if lost := [name for name in needed if name not in values]:
        return [f"placement lacks {', '.join(lost)}"]
    large = [name for name in ("image", "canvas") if prod(values.get(name, ())) > MOST_PIXELS]
    return [f"placement: its {name} {values[name]} has more than {MOST_PIXELS:,} pixels" for name in large]


def table(*lengths: int) -> Any:
    """Return the type of nested lists of numbers with these lengths, where a number may be None.

    >>> unlike("rows", [[1.0, None], [2.0]], table(2, 2))
    ['rows[1]: expected array of length >= 2']
    """
    kind: Any = float | None
    for length in reversed(lengths):
        kind = Annotated[list[kind], Meta(min_length=length, max_length=length)]
    return kind


def unlike(name: str, value: Any, kind: Any) -> list[str]:
    """Return a phrase where the value of a field is not of a type, see `reading.as_type`.

    >>> unlike("accuracy", {"random": "high"}, dict[str, float])
    ['accuracy[...]: expected float, got str']
    """
    try:
        as_type(value, kind, name)
    except UnfitFileError as error:
        return [str(error)]
    return []


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
