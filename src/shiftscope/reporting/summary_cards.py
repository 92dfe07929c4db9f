"""The first part of a report: a card for each model with its main metrics and a small accuracy map."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from shiftscope.reporting.audit_grid import MAPS, PlacementGrid, common_scale, position_map
from shiftscope.reporting.formatting import percent
from shiftscope.reporting.selection import first_seeds
from shiftscope.reporting.tables import audit_rows, model_rows
from shiftscope.results import Audit, Evaluation, TrainResult

_METRICS = ("Mean accuracy", "Worst-case accuracy", "Consistency", "Centered accuracy")
_UNLABELED = ("Consistency", "Unanimity")


@dataclass(frozen=True)
class SummaryCard:
    """The main results of one model and training placement."""

    title: str
    details: str
    """Training placement, number of parameters and seeds."""
    metrics: list[tuple[str, str, str]]
    """(name, value, uncertainty)."""
    map: str = ""
    """Accuracy by position as a data URI with one pixel per placement; "" without an audit."""
    extremes: str = ""
    """Lowest and highest accuracy in the map."""


def summary_cards(audits: Sequence[Audit], training: Sequence[TrainResult] = (),
                  evaluations: Sequence[Evaluation] = ()) -> list[SummaryCard]:
    """Return a card for each audited model; for evaluated models if there are no audits. Maps share one scale.

    >>> summary_cards([])
    []
    """
    rows = {(row.model, row.trained): row for row in model_rows(training, evaluations)}
    tested = {(one.model, one.trained) for one in evaluations if one.split == "test"}
    if not audits:
        return [SummaryCard(row.title, _details(row.trained, row.parameters, row.seeds), [
                    ("Accuracy, random placements", row.accuracy["test random"], ""),
                    ("Accuracy, centered", row.accuracy["test centered"], "")])
                for key, row in rows.items() if key in tested]
    first = first_seeds(audits)
    scale = common_scale([position_map(audit) for audit in first])
    cards = []
    for audit, row in zip(first, audit_rows(audits), strict=True):
        known = rows.get((audit.model, audit.trained))
        values = PlacementGrid(audit).arrange(position_map(audit))
        finite = values[np.isfinite(values)]
        cards.append(SummaryCard(
            row.title, _details(audit.trained, known.parameters if known else "", row.seeds),
            [(name, *cell) for name, cell in row.named_cells().items()
             if name in (_METRICS if audit.labeled else _UNLABELED)],
            map_uri(MAPS(scale(np.ma.masked_invalid(values)))),
            f"{percent(float(finite.min()), 0)} to {percent(float(finite.max()), 0)}" if len(finite) else ""))
    return cards


def _details(trained: str, parameters: str, seeds: int) -> str:
    training = {"random": "trained on random placements", "centered": "trained on centered images"}.get(trained, "")
    return ", ".join(filter(None, (training, f"{parameters} parameters" if parameters[:1].isdigit() else "",
                                   f"{seeds} seeds" if seeds > 1 else "")))


def map_uri(colors: np.ndarray) -> str:
    """Return colors (R, Q, 4) from 0 to 1 as the data URI of a PNG file with R x Q pixels."""
    buffer = io.BytesIO()
    Image.fromarray(np.round(255 * colors[..., :3]).astype(np.uint8)).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
