"""Pictures that excite the units of a model."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.results.base import Record


@dataclass(frozen=True, kw_only=True)
class Synthesis(Record):
    """One picture a unit, made by gradient ascent on its pixels (activation maximisation).

    Shapes: U units, pictures of C channels and H x W pixels.
    """

    kind: ClassVar[str] = "synthesis"
    arrays: ClassVar[tuple[str, ...]] = ("images", "activations", "activations_start", "predictions", "confidence")

    model: str
    objective: str
    """What was climbed, for instance "fc1:all"."""
    units: list[str]
    """U names, for instance "fc1:17" or "class:Bag"."""
    class_names: list[str]
    """Names of the model's classes; empty where they are not known."""
    start: str
    """"zero" (mid-grey), "black", "random" or "image": what the ascent began with."""
    settings: dict[str, Any]
    """What `SynthesisSettings.to_dict` gave."""
    seconds: float
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
