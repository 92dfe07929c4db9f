"""Checks records read from files: values, placement, and types and shapes of arrays."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
from msgspec import Meta

from shiftscope.files import UnfitFileError
from shiftscope.geometry import MOST_PIXELS
from shiftscope.reading import as_type
from shiftscope.settings import Fill, Mode

KINDS = {"i": "iu", "u": "u", "f": "f", "b": "b"}
"""NumPy type kinds by the letters used in a layout."""

Size = Annotated[int, Meta(ge=1, le=MOST_PIXELS)]
"""Height or width in pixels."""


Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]

Shift = Annotated[int, Meta(ge=-MOST_PIXELS, le=MOST_PIXELS)]
"""dy or dx, which mode fill may have below 0."""

Seconds = Annotated[float, Meta(ge=0)]
"""A measured time."""


class StoredPlacement(TypedDict, total=False):
    """Return value of `Placement.to_dict`."""

    image: tuple[Size, Size]
    canvas: tuple[Size, Size]
    mode: Mode
    background: Annotated[int, Meta(ge=0, le=255)] | Literal["texture"]
    max_shift: Count | None
    step: Annotated[int, Meta(ge=1)]
    placements: Count
    offset_list: list[tuple[Shift, Shift]] | None
    reference: tuple[Shift, Shift] | None
    fill: Fill | None


NEEDED = ("image", "canvas", "mode")
"""Required keys of a placement."""


def wrong_placement(values: Mapping[str, Any], needed: Sequence[str] = NEEDED) -> list[str]:
    """Return descriptions of missing keys and invalid values of a stored placement.

    >>> wrong_placement({"image": [4, 6]}), wrong_placement({"image": [4, -6]}, needed=())
    (['placement lacks canvas, mode'], ['placement.image[1]: expected int >= 1'])
    """
    if wrong := unlike("placement", values, StoredPlacement):
        return wrong
    if lost := [name for name in needed if name not in values]:
        return [f"placement lacks {', '.join(lost)}"]
    large = [name for name in ("image", "canvas") if prod(values.get(name, ())) > MOST_PIXELS]
    return [f"placement: its {name} {values[name]} has more than {MOST_PIXELS:,} pixels" for name in large]


def wrong_image_names(names: Sequence[str], images: int) -> list[str]:
    """Return a description if the number of names is neither 0 nor that of the images.

    >>> wrong_image_names(["a.png"], 2)
    ['image_names has 1 names, expected 2 or none']
    """
    return [f"image_names has {len(names)} names, expected {images} or none"] if len(names) not in (0, images) else []


def table(*lengths: int) -> Any:
    """Return the type of nested lists of numbers or None with these lengths.

    >>> unlike("rows", [[1.0, None], [2.0]], table(2, 2))
    ['rows[1]: expected array of length >= 2']
    """
    kind: Any = float | None
    for length in reversed(lengths):
        kind = Annotated[list[kind], Meta(min_length=length, max_length=length)]
    return kind


def unlike(name: str, value: Any, kind: Any) -> list[str]:
    """Return a description if the value of a field does not have a type, see `reading.as_type`.

    >>> unlike("accuracy", {"random": "high"}, dict[str, float])
    ['accuracy[...]: expected float, got str']
    """
    try:
        as_type(value, kind, name)
    except UnfitFileError as error:
        return [str(error)]
    return []


def misfits(arrays: Mapping[str, Any], layout: Mapping[str, str], sizes: Mapping[str, int]) -> list[str]:
    """Return a description of each array that does not match its layout.

    Args:
        arrays: arrays by name.
        layout: by name, the type (i integer, u unsigned, f float, b bool) and the length of each axis: a number, or a
            letter that denotes the same length in all arrays.
        sizes: known lengths by letter.

    Example:
        >>> misfits({"a": np.zeros(3), "b": np.zeros((2, 3), int)}, {"a": "f N", "b": "i N 2"}, {})
        ['b is int64 (2, 3), expected i N 2 with N = 3']
    """
    known, found = dict(sizes), []
    for name, text in layout.items():
        kind, *axes = text.split()
        array = arrays[name]
        matches = isinstance(array, np.ndarray) and array.dtype.kind in KINDS[kind] and array.ndim == len(axes)
        lengths = [int(axis) if axis.isdecimal() else known.setdefault(axis, length)
                   for axis, length in zip(axes, array.shape, strict=True)] if matches else []
        if not matches or tuple(lengths) != array.shape:
            sizes_text = ", ".join(f"{axis} = {known[axis]}" for axis in dict.fromkeys(axes) if axis in known)
            found.append(f"{name} is {array.dtype} {array.shape}, expected {text}"
                         f"{' with ' if sizes_text else ''}{sizes_text}")
    return found


def outside(arrays: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return a description of each integer array with values outside its range [low, high).

    >>> outside({"a": np.array([0, 7])}, {"a": (0, 3)})
    ['a goes from 0 to 7, expected 0 to 2']
    """
    return [f"{name} goes from {arrays[name].min()} to {arrays[name].max()}, expected {low} to {high - 1}"
            for name, (low, high) in ranges.items()
            if arrays[name].size and not (arrays[name].min() >= low and arrays[name].max() < high)]
