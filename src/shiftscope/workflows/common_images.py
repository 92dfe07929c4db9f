"""Restricts results of two models to the images that both have: the first ones of a split."""

from dataclasses import replace
from typing import Any, TypeVar

from shiftscope.auditing.statistics import figures, maps
from shiftscope.results import Audit, Evaluation

INDICES = ("gallery_index", "cell_index", "shown_index")
"""Arrays with indices of images; arrays with the same first axis belong to them."""

One = TypeVar("One", Evaluation, Audit)


def first_images(record: One, count: int) -> One:
    """Return an evaluation or audit of the first `count` images only.

    All arrays with one value per image are cut; of an audit, all figures are computed again. The accuracies and the
    confusion matrices of an evaluation, its notes and counts of ties are those of all images.

    Args:
        record: of at least `count` images.
        count: at least 1.
    """
    axes = {name: layout.split()[1] for name, layout in record.layout.items()}
    kept = {axes[name]: getattr(record, name) < count for name in INDICES if name in axes}
    cut: dict[str, Any] = {name: getattr(record, name)[kept[axis]] for name, axis in axes.items() if axis in kept}
    cut |= {name: getattr(record, name)[:count] for name, axis in axes.items() if axis == "N"}
    if isinstance(record, Audit):
        classes, middle = len(record.class_names), record.geometry.column(record.offsets)
        cut |= figures(cut["predictions"], cut["labels"], classes, int(middle or 0))
        cut |= maps(cut["predictions"], cut["labels"], classes, record.offsets, record.rows, record.columns)
    return replace(record, images=count, **cut)


def common_images(a: One, b: One) -> tuple[One, One]:
    """Return both records restricted to the smaller number of images.

    The images of a split have a fixed order, so the first ones are the same if dataset and split are.
    """
    count = min(a.images, b.images)
    first, second = (one if one.images == count else first_images(one, count) for one in (a, b))
    return first, second
