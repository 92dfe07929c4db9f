"""Pictures that excite the units of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.whole import Seconds


@dataclass(frozen=True, kw_only=True)
class Synthesis(Record):
    """One picture a unit, made by gradient ascent on its pixels (activation maximization).

    Shapes: U units, pictures of C channels and H x W pixels.
    """

    kind: ClassVar[str] = "synthesis"
    arrays: ClassVar[tuple[str, ...]] = ("images", "activations", "activations_start", "predictions", "confidence",
                                         "steps", "dead", "judged")
    layout: ClassVar[Mapping[str, str]] = {
        "images": "f U C H W", "activations": "f U", "activations_start": "f U", "predictions": "i U",
        "confidence": "f U"}

    model: str
    objective: str
    """What was climbed, for instance "fc1:all"."""
    units: list[str]
    """U names, for instance "fc1:17" or "class:Bag"."""
    class_names: list[str]
    """Names of the model's classes; empty where they are not known."""
    start: str
    """"zero" (mid-gray), "black", "random", "mean" or "image": what the ascent began with."""
    settings: dict[str, Any]
    """Everything that decided how: the settings, and under "preset" what they were taken from where left open."""
    seconds: Seconds
    """Wall-clock time for all units together."""
    device: str
    notes: list[str]

    images: np.ndarray
    """float32 (U, C, H, W), pixels in [0, 1]."""
    activations: np.ndarray
    """float32 (U,), what each unit gives for its picture: classes before the softmax, channels as their mean."""
    activations_start: np.ndarray
    """float32 (U,), the same for the picture that the ascent began with."""
    predictions: np.ndarray
    """int64 (U,), the class that the model takes each picture for; -1 where its output is no row of scores."""
    confidence: np.ndarray
    """float32 (U,), softmax probability of that class."""
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 (U,), steps that each picture took before its score stopped rising."""
    dead: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    """bool (U,), units that nothing excites: no pixel changes them, or they stay at or below zero on their picture."""
    judged: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """int64 (U,), the class that the judge, another model, takes each picture for; empty where there was none."""

    def sizes(self) -> dict[str, int]:
        return {"U": len(self.units)}
