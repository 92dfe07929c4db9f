"""Images that maximally activate units of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Seconds


@dataclass(frozen=True, kw_only=True)
class Synthesis(Record):
    """One image per unit, made by gradient ascent on its pixels (activation maximization).

    Shapes: U units, images of C channels and H x W pixels.
    """

    kind: ClassVar[str] = "synthesis"
    arrays: ClassVar[tuple[str, ...]] = ("images", "activations", "activations_start", "predictions", "confidence",
                                         "steps", "dead", "judged")
    layout: ClassVar[Mapping[str, str]] = {
        "images": "f U C H W", "activations": "f U", "activations_start": "f U", "predictions": "i U",
        "confidence": "f U"}

    model: str
    objective: str
    """The objective, for example "fc1:all"."""
    units: list[str]
    """U names, for example "fc1:17" or "class:Bag"."""
    class_names: list[str]
    """Class names; empty if unknown."""
    start: str
    """"zero" (mid-gray), "black", "random", "mean" or "image": the start image."""
    settings: dict[str, Any]
    """The settings, and under "preset" the source of those that were not given."""
    seconds: Seconds
    """Wall-clock time for all units."""
    device: str
    notes: list[str]

    images: np.ndarray
    """float32 (U, C, H, W), pixels in [0, 1]."""
    activations: np.ndarray
    """float32 (U,), activation on the synthesized image: classes before the softmax, channels averaged over
    positions."""
    activations_start: np.ndarray
    """float32 (U,), the same for the start image."""
    predictions: np.ndarray
    """int64 (U,), predicted classes; -1 if the output is not a vector of scores."""
    confidence: np.ndarray
    """float32 (U,), softmax probability of that class."""
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 (U,), number of steps until the score stopped increasing."""
    dead: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """bool (U,), units that could not be activated: their gradient is zero, or their activation stays at or below
    zero."""
    judged: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 (U,), class predicted by another model, the judge; empty without a judge."""

    def sizes(self) -> dict[str, int]:
        return {"U": len(self.units)}
