"""How the units of a model's layers behave on real images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from shiftscope.reading import as_type
from shiftscope.results.base import Record
from shiftscope.results.whole import Count, unlike


@dataclass(frozen=True)
class UnitRow:
    """One layer: fully connected, its units are neurons; a convolution, its units are channels."""

    layer: str
    after_relu: bool
    """Whether the figures are of what the ReLU after the layer gives; else of the layer itself, which has none."""
    units: int
    dead: tuple[int, ...]
    """Units that are never above zero after their ReLU; of a layer without one, units that never change."""
    duplicates: tuple[tuple[int, int], ...]
    """Pairs whose activations have a correlation above 0.99 or below -0.99, over all images and places."""
    mean: float
    """Mean activation over images, units and places."""
    sparsity: float | None
    """Share of activations that are not above zero; None without a ReLU, where zero means nothing."""

    @property
    def repeated(self) -> int:
        """Number of units that double an earlier one: so many could be left out.

        >>> UnitRow("fc1", True, 5, (), ((0, 2), (0, 3), (2, 3)), 0.5, 0.5).repeated
        2
        """
        return len({second for _, second in self.duplicates})


@dataclass(frozen=True, kw_only=True)
class UnitTable(Record):
    """One row a layer, with arrays over all its units, layer after layer."""

    kind: ClassVar[str] = "units"
    arrays: ClassVar[tuple[str, ...]] = ("maximum", "means", "active")
    layout: ClassVar[Mapping[str, str]] = {"maximum": "f U", "means": "f U", "active": "f U"}

    model: str
    dataset: str
    split: str
    images: Count
    seed: int
    """Of the placements."""
    placement: dict[str, Any]
    rows: list[dict[str, Any]]
    """One `UnitRow` a layer, as plain values."""
    notes: list[str]

    maximum: np.ndarray
    """float32 (U,), largest activation of each unit over all images and places."""
    means: np.ndarray
    """float32 (U,), mean activation."""
    active: np.ndarray
    """float32 (U,), share of activations above zero."""

    @property
    def layers(self) -> list[UnitRow]:
        """The rows as records."""
        return as_type(self.rows, list[UnitRow], "rows")

    def misfits(self) -> list[str]:
        return unlike("rows", self.rows, list[UnitRow]) or super().misfits()
