"""Measured figures of audits beside the published ones of their protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

from shiftscope.protocols import PROTOCOLS, Protocol
from shiftscope.reporting.audit_grid import audit_title
from shiftscope.reporting.formatting import percent
from shiftscope.results import Audit


@dataclass(frozen=True)
class ProtocolRow:
    """The figures of one model."""

    model: str
    origin: str
    """"measured", "estimated" (from sampled placements), or "published"."""
    cells: list[str]
    """The metrics of the protocol in percent; measured ones with their confidence interval."""


@dataclass(frozen=True)
class ProtocolTable:
    """Measured and published figures of one protocol."""

    title: str
    definition: str
    source: str
    columns: tuple[str, ...]
    rows: list[ProtocolRow]
    published_on: str
    """The images of the published figures; "" if there are none."""


def protocol_tables(audits: Sequence[Audit]) -> list[ProtocolTable]:
    """Return a table for each protocol of the audits, with a row for each audit; unknown protocols are left out.

    >>> protocol_tables([])
    []
    """
    names = dict.fromkeys(audit.protocol for audit in audits)
    return [_table(PROTOCOLS[name], [audit for audit in audits if audit.protocol == name])
            for name in names if name in PROTOCOLS]


def _table(protocol: Protocol, audits: Sequence[Audit]) -> ProtocolTable:
    measured = [ProtocolRow(audit_title(audit), "estimated" if audit.sampled else "measured",
                            [_cell(audit, name) for name in protocol.metrics.values()]) for audit in audits]
    published = [ProtocolRow(row.model, "published", [f"{value:.2f} %" for value in row.percent])
                 for row in protocol.published]
    return ProtocolTable(f"Protocol {protocol.name}", protocol.definition, protocol.source,
                         ("Model", "Figures", *map(str.capitalize, protocol.metrics)), measured + published,
                         protocol.dataset if published else "")


def _cell(audit: Audit, name: str) -> str:
    interval = audit.intervals.get(name, ())
    known = [f"{100 * value:.1f}" for value in interval if value is not None and value == value]  # not NaN
    return percent(getattr(audit, name), 2) + (f" ({' to '.join(known)})" if known else "")
