"""Shift equivariance of each layer of a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from shiftscope.results.base import Record
from shiftscope.results.validation import Count, Seconds

PIXELS_DB = 50.0
"""Signal-to-noise ratio of 8-bit rounding (6.02 dB per bit plus 1.76 dB). Layers above it count as equivariant."""


@dataclass(frozen=True, kw_only=True)
class Equivariance(Record):
    """Compares each layer's output for an image shifted by d pixels with its output shifted by d / stride.

    Values are signal-to-noise ratios in dB, 10 log10(signal power / error power): higher is better, infinity if the two
    are equal, NaN if a layer's output is constant. Shapes: L layers in execution order, D shifts.
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
    """Return value of `Placement.to_dict`. Only image, canvas, mode and background matter, not the set of offsets."""
    images: Count
    start: list[int]
    """Offset (dy, dx) of shift 0."""
    shifts: list[int]
    """D shifts in pixels, starting at 0."""
    layers: list[str]
    kinds: list[Literal["map", "units"]]
    """"map": the signal is the layer's output for the unshifted image, the error is the difference from it after
    shifting back. "units": a layer without rows and columns should not change; the error is its change, the signal its
    variation between images. The two kinds are not comparable."""
    shapes: list[list[int]]
    """Shape of each layer's output for one image."""
    strides: list[list[int] | None]
    """[down, right], canvas pixels per pixel of the map; None for units."""
    overall: list[float | None]
    """L values over all nonzero shifts in both directions; None if infinite or undefined."""
    drops: list[float | None]
    """Decrease in dB from the previous map, values capped at `PIXELS_DB`; None for units."""
    loses_most: str | None
    """Name of the map with the largest drop, None if there is none."""
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
