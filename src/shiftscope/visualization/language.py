"""Objectives as strings: `class:Bag - 0.5 class:Shirt`, `conv2:7@3,4`, `fc1+relu:0-99`."""

import re
from collections.abc import Sequence

from shiftscope.errors import UsageError
from shiftscope.visualization.anatomy import CLASSES
from shiftscope.visualization.objectives import Objective, Units

FORMS = ("layer:units, as in class:2, class:Bag, class:all, fc1:0-99, fc1:3,7, conv2:7, conv2:7@3,4 or conv2:*, or a "
         "sum of such, as in class:Bag - 0.5 class:Shirt")

_SCALE = r"(?:(?P<scale>\d+(?:\.\d*)?|\.\d+)(?:\s*\*\s*|\s+))?"
_FIRST = re.compile(rf"\s*(?P<sign>[+-])?\s*{_SCALE}")
_NEXT = re.compile(rf"\s*(?P<sign>[+-])\s*{_SCALE}(?=[\w.]+(?:\+relu)?\s*:)")
_PLACE = re.compile(r"(?P<units>.+?)\s*@\s*(?P<row>\d+)\s*,\s*(?P<column>\d+)")


def objective(text: str, class_names: Sequence[str] = ()) -> Objective:
    """Return the objective that a string describes; whether there are such units shows when a model is given.

    A term is `layer:units`; `+relu` after the layer's name takes what a ReLU leaves of it. Terms are joined by + and
    -, each with a factor before it or without.

    ====================  ==============================================================================
    units                 means
    ====================  ==============================================================================
    `7`, `0-99`, `3,7,9`  these units, one picture each
    `all`                 every unit, one picture each
    `7@3,4`               the unit at row 3, column 4 of the layer's output
    `*`                   the whole layer: the mean square of all it gives (DeepDream), one picture
    `Bag`                 of `class`: the class of that name
    ====================  ==============================================================================

    Args:
        class_names: names of classes that may hold spaces, hyphens and colons; without them a name ends where the
            next term begins.

    Raises:
        UsageError: another form.

    Example:
        >>> objective("fc1:0-99").parts
        ((1.0, Units(layer='fc1', units='0-99', place=None, after=False)),)
        >>> str(objective("class:T-shirt/top-.5 class:Bag"))
        'class:T-shirt/top - 0.5 class:Bag'
    """
    parts, rest, pattern = [], text, _FIRST
    while found := pattern.match(rest):
        term = rest[found.end():]
        end = _end_of_term(term, class_names)
        factor = float(found["scale"] or 1) * (-1 if found["sign"] == "-" else 1)
        parts.append((factor, _term(term[:end], text)))
        rest, pattern = term[end:], _NEXT
    return Objective(tuple(parts))


def _end_of_term(text: str, class_names: Sequence[str]) -> int:
    """Return where the term at the beginning of `text` ends."""
    begin = re.match(rf"{CLASSES}\s*:\s*", text)
    for name in sorted(class_names, key=len, reverse=True) if begin else ():
        end = begin.end() + len(name) if begin else 0
        if text[:end].endswith(name) and (not text[end:].strip() or _NEXT.match(text, end)):
            return end
    following = _NEXT.search(text, max(text.find(":"), 0))  # what stands before the colon is the layer's: fc1+relu
    return following.start() if following else len(text)


def _term(term: str, text: str) -> Units:
    layer, colon, units = (part.strip() for part in term.partition(":"))
    if not (layer and colon and units):
        raise UsageError(f"the objective {text!r} must have the form {FORMS}")
    after, layer = layer.endswith("+relu"), layer.removesuffix("+relu").strip()
    placed = _PLACE.fullmatch(units) if layer != CLASSES else None
    if placed is None:
        return Units(layer, units, after=after)
    return Units(layer, placed["units"], (int(placed["row"]), int(placed["column"])), after)
