"""Quality metrics of synthesized images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds


@dataclass(frozen=True, kw_only=True)
class Quality(Record):
    """Quality metrics of a `Synthesis`. A metric that was not requested or is undefined is None or NaN.

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
    """Time of the synthesis per unit."""
    exceeds_real: float | None
    """Fraction of units whose activation on their synthesized image exceeds that on every real image; None without real
    images."""
    dead: float | None
    """Fraction of the layer's units whose activation is never above 0 for a real image (dead units). None for classes,
    for objectives with several layers, and without real images."""
    dead_units: list[int]
    """Indices of the dead units."""
    judge: str | None
    """Name of the second model that classifies the synthesized images."""
    transfer: float | None
    """Fraction of images synthesized for classes that the judge assigns to the target class."""
    seeds: Count
    """Number of random start images for `seed_stability`; 0 if not requested."""
    shift: Count
    """Shift in pixels for `placement_stability`."""
    pictures: str
    """The real images that were searched, in a sentence; empty if none."""

    over_best: np.ndarray
    """float32 (U,), ratio of the activation on the synthesized image to the largest activation on real images; NaN if
    the latter is not above 0."""
    selectivity: np.ndarray
    """float32 (U,), the unit's activation divided by the sum of positive activations of its layer; for a class its
    softmax probability. The chance level is 1 over the number of units."""
    seed_stability: np.ndarray
    """float32 (U,), mean pairwise correlation of the images from different random starts."""
    placement_stability: np.ndarray
    """float32 (U,), mean fraction of the activation that remains when the image is rolled by `shift` pixels in eight
    directions; NaN if the activation is not above 0."""
    judged: np.ndarray
    """int64 (U,), class predicted by the judge; -1 without a judge."""
    judged_correct: np.ndarray
    """bool (U,), True if the judge predicts the target class."""

    def sizes(self) -> dict[str, int]:
        return {"U": len(self.units)}

    def means(self) -> dict[str, float | None]:
        """Return the mean of each metric over units, ignoring NaN; None if all are NaN."""
        found = {name: getattr(self, name) for name in self.arrays if not name.startswith("judged")}
        return {name: float(np.nanmean(values)) if np.isfinite(values).any() else None
                for name, values in found.items()}

    def summary(self) -> dict[str, Any]:
        """Return all fields as plain values, with the means of the metrics under "means"."""
        arrays = {name: getattr(self, name).tolist() for name in self.arrays}
        return self.to_dict() | {"means": self.means()} | arrays
