"""Activation statistics of the units of a model on real images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from shiftscope.reading import as_type
from shiftscope.results.base import Record
from shiftscope.results.validation import Count, unlike


@dataclass(frozen=True)
class UnitRow:
    """Statistics of one layer. Units are neurons of fully connected layers or channels of convolutions.

    The lists of units, which may be long, are not printed.
    """

    layer: str
    after_relu: bool
    """True if the statistics are of the output of the ReLU that follows the layer."""
    units: int
    dead: tuple[int, ...] = field(repr=False)
    """Units that are never above zero after the ReLU; without a ReLU, units with constant output."""
    duplicates: tuple[tuple[int, int], ...] = field(repr=False)
    """Pairs whose activations have a correlation above 0.99 or below -0.99, over all images and positions."""
    mean: float
    """Mean activation over images, units and positions."""
    sparsity: float | None
    """Fraction of activations that are not above zero; None without a ReLU."""

    @property
    def repeated(self) -> int:
        """Number of units that duplicate an earlier one.

        >>> UnitRow("fc1", True, 5, (), ((0, 2), (0, 3), (2, 3)), 0.5, 0.5).repeated
        2
        """
        return len({second for _, second in self.duplicates})


@dataclass(frozen=True, kw_only=True)
class UnitTable(Record):
    """One row per layer, and arrays over the units of all layers in order."""

    kind: ClassVar[str] = "units"
    arrays: ClassVar[tuple[str, ...]] = ("maximum", "means", "active")
    layout: ClassVar[Mapping[str, str]] = {"maximum": "f U", "means": "f U", "active": "f U"}

    model: str
    dataset: str
    split: str
    images: Count
    seed: int
    """Seed of the placements."""
    placement: dict[str, Any]
    rows: list[dict[str, Any]]
    """One `UnitRow` per layer, as plain values."""
    notes: list[str]

    maximum: np.ndarray
    """float32 (U,), largest activation of each unit over all images and positions."""
    means: np.ndarray
    """float32 (U,), mean activation."""
    active: np.ndarray
    """float32 (U,), fraction of activations above zero."""

    @property
    def layers(self) -> list[UnitRow]:
        """The rows as records."""
        return as_type(self.rows, list[UnitRow], "rows")

    def misfits(self) -> list[str]:
        return unlike("rows", self.rows, list[UnitRow]) or super().misfits()
