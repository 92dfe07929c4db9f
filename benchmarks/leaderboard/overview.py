"""Existing and missing records for the terminal and for scripts, and the documentation page."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leaderboard.entries import Entry, LeaderboardSettings, entries_named
from leaderboard.figures import Board, leaderboard_figure
from leaderboard.ranking import board
from leaderboard.records import LeaderboardRecord, read_records
from leaderboard.tables import detail_tables, main_result, main_table
from page_markers import replace_between_markers
from shiftscope import files
from shiftscope.errors import DataError, UsageError
from shiftscope.reporting.figure_style import render_figure
from shiftscope.results import SCHEMA_VERSION

FIGURE_FILE = "leaderboard.png"

MAX_PAGE_BYTES = 16 * 2**20
"""Size limit of a page of the documentation, bytes."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Entries with existing and missing seeds, the table, and the records."""

    entries: list[dict[str, Any]]
    board: Board
    records: list[LeaderboardRecord]


def overview(settings: LeaderboardSettings) -> Overview:
    """Compare the folder of records with the settings."""
    records = read_records(settings.results)
    existing = {(one.entry, one.seed) for one in records}
    seeds = range(settings.seed, settings.seed + settings.seeds)
    return Overview(entries=[_listed(entry, existing, seeds) for entry in entries_named(settings.entries)],
                    board=board(records), records=records)


def _listed(entry: Entry, existing: set[tuple[str, int]], seeds: range) -> dict[str, Any]:
    return {"name": entry.name, "title": entry.title, "description": entry.description,
            "seeds": sorted(seed for name, seed in existing if name == entry.name),
            "missing": [seed for seed in seeds if (entry.name, seed) not in existing]}


def document(overview: Overview) -> dict[str, Any]:
    """Return the overview as plain JSON: entries, rows of the table, and the records without their counts."""
    records = [{key: value for key, value in one.to_dict().items() if key != "packed_counts"}
               for one in overview.records]
    return files.plain({"schema_version": SCHEMA_VERSION, "entries": overview.entries, "board": asdict(overview.board),
                        "records": records})


def page_parts(results: Path) -> dict[str, str]:
    """Return the generated parts of the page as Markdown, by the name of their markers."""
    rows = board(read_records(results))
    image = f"![Mean and worst-case accuracy of every entry](images/{FIGURE_FILE})"
    return {"leaderboard": f"{main_result(rows)}\n\n{image}\n\n{main_table(rows)}",
            "leaderboard-details": detail_tables(rows)}


def write_page(results: Path, page: Path) -> None:
    """Write tables and figure of the records into a page of the documentation.

    Raises:
        DataError: if the page cannot be read.
        UsageError: if it lacks a marker or another image has the name of the figure.
    """
    try:
        before = files.read_regular(page, MAX_PAGE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {page}: {error}; name a Markdown page with the markers of the parts "
                        "'leaderboard' and 'leaderboard-details'") from error
    after = before
    for name, text in page_parts(results).items():
        after = replace_between_markers(after, name, text, str(page))
    figure = page.parent / "images" / FIGURE_FILE
    if os.path.lexists(figure) and f"(images/{FIGURE_FILE})" not in before:
        raise UsageError(f"{figure} already exists, and {page} does not show it; move it, or choose another page "
                         "with --table")
    files.write_bytes(figure, render_figure(leaderboard_figure(board(read_records(results))), "png"))
    files.write_text(page, after)
