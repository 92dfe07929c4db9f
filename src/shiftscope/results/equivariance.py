"""How far each layer of a model is from commuting with shifts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.whole import Count, Seconds

PIXELS_DB = 50.0
"""Rounding of 8-bit pixels: 6.02 dB a bit and 1.76. A layer above it counts as one that loses nothing."""


@dataclass(frozen=True, kw_only=True)
class Equivariance(Record):
    """What moving the object by d pixels does to each layer, beside moving the layer's answer by d / stride.

    Figures are in dB, 10 log10(signal power / error power): higher is better, infinity where not a bit differs, NaN
    where a layer shows nothing of the images. Shapes: L layers in the order in which they run, D shifts.
    """

    kind: ClassVar[str] = "equivariance"
    arrays: ClassVar[tuple[str, ...]] = ("decibels",)
    layout: ClassVar[Mapping[str, str]] = {"decibels": "f L 2 D"}

    model: str
    dataset: str
    synthetic: bool
    split: str
    mode: str
    placement: dict[str, Any]
    """What `Placement.to_dict` gave. Its image, canvas, mode and background count, not its set of offsets."""
    images: Count
    start: list[int]
    """(dy, dx) that the shifts are counted from."""
    shifts: list[int]
    """D numbers of pixels, from 0."""
    layers: list[str]
    kinds: list[Literal["map", "units"]]
    """"map": the error is what remains when the answer to the unmoved image is moved along, the signal is that answer.
    "units": a layer without rows and columns should not change at all; the error is its change, the signal its spread
    between images. The two are not comparable."""
    shapes: list[list[int]]
    """Of each layer's answer to one image."""
    strides: list[list[int] | None]
    """[down, right], canvas pixels to one pixel of the map; None for units."""
    overall: list[float | None]
    """L figures over all shifts but 0 in both directions; None where infinite or not defined."""
    drops: list[float | None]
    """dB lost since the map before, figures above `PIXELS_DB` taken as that; None for units."""
    loses_most: str | None
    """The map with the largest drop, None where none loses anything."""
    seconds: Seconds
    device: str
    notes: list[str]

    decibels: np.ndarray
    """float64 (L, 2, D), shifts down and shifts right."""

    def sizes(self) -> dict[str, int]:
        return {"L": len(self.layers), "D": len(self.shifts)}

    def misfits(self) -> list[str]:
        lists = ("kinds", "shapes", "strides", "overall", "drops")
        return [*(f"{name} has {len(getattr(self, name))} values for {len(self.layers)} layers" for name in lists
                  if len(getattr(self, name)) != len(self.layers)), *super().misfits()]
