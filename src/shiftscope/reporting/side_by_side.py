"""Which results belong beside each other on a page."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from shiftscope.results import Audit


class OfModel(Protocol):
    """A result that says which model it is of, and how that was trained."""

    @property
    def model(self) -> str: ...

    @property
    def trained(self) -> str: ...


AnyResult = TypeVar("AnyResult", bound=OfModel)


def first_seeds(results: Sequence[AnyResult]) -> list[AnyResult]:
    """Return the first result of each model and way of training: the others are its seeds."""
    first: dict[tuple[str, str], AnyResult] = {}
    for result in results:
        first.setdefault((result.model, result.trained), result)
    return list(first.values())


def same_sets(audits: Sequence[Audit]) -> list[list[int]]:
    """Return which audits are of the same images and placements, as places in `audits`; some may be of fewer images.

    >>> same_sets([])
    []
    """
    sets: dict[str, list[int]] = {}
    for place, audit in enumerate(audits):
        key = repr((audit.dataset, audit.split, audit.class_names, sorted(audit.placement.items()),
                    audit.offsets.tobytes(), audit.labels[:1].tobytes()))
        sets.setdefault(key, []).append(place)
    return list(sets.values())
