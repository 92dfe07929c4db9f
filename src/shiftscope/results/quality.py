"""How good the pictures of a synthesis are, in figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.whole import Count, Seconds


@dataclass(frozen=True, kw_only=True)
class Quality(Record):
    """Figures of merit of a `Synthesis`. A figure that was not asked for, or has no meaning, is None or NaN.

    Shapes: U units.
    """

    kind: ClassVar[str] = "quality"
    arrays: ClassVar[tuple[str, ...]] = (
        "over_best", "selectivity", "seed_stability", "placement_stability", "judged", "judged_correct")
    layout: ClassVar[Mapping[str, str]] = {
        "over_best": "f U", "selectivity": "f U", "seed_stability": "f U", "placement_stability": "f U",
        "judged": "i U", "judged_correct": "b U"}

    model: str
    objective: str
    units: list[str]
    seconds_per_unit: Seconds
    """Time of the synthesis over its units."""
    exceeds_real: float | None
    """Share of the units whose picture excites them more than every real image did; None without real images."""
    dead: float | None
    """Share of the layer's units that were never above 0 for a real image: behind a ReLU they are silent. None for
    classes, for objectives about several layers, and without real images."""
    dead_units: list[int]
    """Their numbers."""
    judge: str | None
    """Name of the independent model."""
    transfer: float | None
    """Share of the class pictures that the judge takes for the class they were made for."""
    seeds: Count
    """Random starts that `seed_stability` is about; 0 where it was not asked for."""
    shift: Count
    """Pixels by which pictures were rolled for `placement_stability`."""
    pictures: str
    """Which real pictures were looked at, in a sentence; empty where there were none."""

    over_best: np.ndarray
    """float32 (U,), activation reached over the largest one among the real pictures; NaN where that is not above 0."""
    selectivity: np.ndarray
    """float32 (U,), the unit's share of what all units of its layer give for its picture, counting what is above 0; for
    a class its softmax probability. Chance is 1 over the number of units."""
    seed_stability: np.ndarray
    """float32 (U,), mean correlation of the pictures from each two of the random starts."""
    placement_stability: np.ndarray
    """float32 (U,), mean share of the activation that is left when the picture is rolled by `shift` pixels in each of
    eight directions; NaN where the activation is not above 0."""
    judged: np.ndarray
    """int64 (U,), class that the judge takes each picture for; -1 without a judge."""
    judged_correct: np.ndarray
    """bool (U,), whether that is the class that the picture was made for."""

    def sizes(self) -> dict[str, int]:
        return {"U": len(self.units)}

    def means(self) -> dict[str, float | None]:
        """Return the mean of each figure over the units that have one, None where none has."""
        found = {name: getattr(self, name) for name in self.arrays if not name.startswith("judged")}
        return {name: float(np.nanmean(values)) if np.isfinite(values).any() else None
                for name, values in found.items()}

    def summary(self) -> dict[str, Any]:
        """Return everything as plain values: the small fields, under "means" those of each figure, and the arrays."""
        arrays = {name: getattr(self, name).tolist() for name in self.arrays}
        return self.to_dict() | {"means": self.means()} | arrays
