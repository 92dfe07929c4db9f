"""The least stable images of an audit as a table: consistency, margins and confidence over all placements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shiftscope.reporting.audit_grid import audit_title
from shiftscope.reporting.formatting import MISSING, image_title, percent
from shiftscope.reporting.selection import first_seeds
from shiftscope.results import Audit

MOST = 100
"""Largest number of images in a table; the CSV file has all."""

COLUMNS = ("Image", "Class", "Most frequent prediction", "Consistency", "Smallest margin", "Median margin",
           "Largest margin", "Lowest confidence", "Highest confidence")
"""Headings of `StabilityTable.rows`."""


@dataclass(frozen=True)
class StabilityTable:
    """The images of one model with the lowest consistency."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[tuple[str, float | str]]]
    """(text, value for sorting) of each cell."""
    inconsistent: int
    """Images of the audit with several predictions."""
    images: int
    """All images of the audit."""

    def named_cells(self, row: list[tuple[str, float | str]]) -> list[tuple[str, tuple[str, float | str]]]:
        """Return (heading, cell) of each cell of a row."""
        return list(zip(self.columns, row, strict=True))


def stability_tables(audits: Sequence[Audit]) -> list[StabilityTable]:
    """Return a table for the first seed of each model that has an inconsistent image.

    >>> stability_tables([])
    []
    """
    return [table for audit in first_seeds(audits) if (table := _table(audit)).rows]


def _table(audit: Audit) -> StabilityTable:
    values, order = audit.table(), audit.least_stable()
    inconsistent = round((1 - audit.unanimity) * audit.images)
    hidden = {name for name, missing in (("Class", not audit.labeled),
                                         ("Lowest confidence", np.isnan(audit.confidences).all()),
                                         ("Highest confidence", np.isnan(audit.confidences).all()))
              if missing}
    rows = [{name: cell for name, cell in zip(COLUMNS, _cells(audit, values, index), strict=True) if name not in hidden}
            for index in order[:min(MOST, inconsistent)].tolist()]
    return StabilityTable(audit_title(audit), tuple(name for name in COLUMNS if name not in hidden),
                          [list(row.values()) for row in rows], inconsistent, audit.images)


def _cells(audit: Audit, values: dict[str, np.ndarray], index: int) -> list[tuple[str, float | str]]:
    margins = [float(values[f"{which}_top_margin"][index]) for which in ("smallest", "median", "largest")]
    fractions = [float(values[name][index]) for name in ("consistency", "lowest_confidence", "highest_confidence")]
    consistency, *confidences = [(percent(value), value) if np.isfinite(value) else (MISSING, "")
                                for value in fractions]
    return [(image_title(audit.image_names, index), index), (str(values["label"][index]), str(values["label"][index])),
            (str(values["prediction"][index]), str(values["prediction"][index])), consistency,
            *[(f"{value:.3g}", value) if np.isfinite(value) else (MISSING, "") for value in margins], *confidences]
