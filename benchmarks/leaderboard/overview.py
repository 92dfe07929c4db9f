"""Existing and missing records for the terminal, for scripts, and for the documentation page."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leaderboard.entries import Entry, LeaderboardSettings, entries_named
from leaderboard.figures import Board, leaderboard_figure, leaderboard_table
from leaderboard.ranking import board
from leaderboard.records import LeaderboardRecord, read_records
from page_markers import replace_between_markers
from shiftscope import files
from shiftscope.errors import DataError, UsageError
from shiftscope.reporting.figure_style import render_figure
from shiftscope.results import SCHEMA_VERSION

PART = "leaderboard"
"""Name of the markers around the table on the page."""

PICTURE = "leaderboard.png"

MOST_PAGE = 16 * 2**20
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
    there = {(one.entry, one.seed) for one in records}
    wanted = range(settings.seed, settings.seed + settings.seeds)
    return Overview(entries=[_listed(entry, there, wanted) for entry in entries_named(settings.entries)],
                    board=board(records), records=records)


def _listed(entry: Entry, there: set[tuple[str, int]], wanted: range) -> dict[str, Any]:
    return {"name": entry.name, "title": entry.title, "description": entry.description,
            "seeds": sorted(seed for name, seed in there if name == entry.name),
            "missing": [seed for seed in wanted if (entry.name, seed) not in there]}


def document(found: Overview) -> dict[str, Any]:
    """Return the overview as plain JSON: entries, rows of the table, and the records without their counts."""
    records = [{key: value for key, value in one.to_dict().items() if key != "packed_counts"}
               for one in found.records]
    return files.plain({"schema_version": SCHEMA_VERSION, "entries": found.entries, "board": asdict(found.board),
                        "records": records})


def page_part(results: Path) -> str:
    """Return the Markdown of the page: the figure and the table."""
    table = leaderboard_table(board(read_records(results)))
    return f"![Mean and worst-case accuracy of every entry](images/{PICTURE})\n\n{table}"


def write_page(results: Path, page: Path) -> None:
    """Write table and figure of the records into a page of the documentation.

    Raises:
        DataError: if the page cannot be read.
        UsageError: if it has no markers or another image has the name of the figure.
    """
    try:
        before = files.read_regular(page, MOST_PAGE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {page}: {error}; name a Markdown page with the markers of the part "
                        f"{PART!r}") from error
    after = replace_between_markers(before, PART, page_part(results), str(page))
    figure = page.parent / "images" / PICTURE
    if os.path.lexists(figure) and f"(images/{PICTURE})" not in before:
        raise UsageError(f"{figure} already exists, and {page} does not show it; move it, or choose another page "
                         "with --table")
    files.write_bytes(figure,
                      render_figure(leaderboard_figure(board(read_records(results))), "png"))
    files.write_text(page, after)
