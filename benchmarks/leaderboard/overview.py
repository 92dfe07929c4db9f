"""What there is and what is missing: for the terminal, for scripts, and for the page of the documentation."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leaderboard.entries import Entry, entries_named
from leaderboard.figures import Board, leaderboard_figure, leaderboard_table
from leaderboard.ranking import board
from leaderboard.records import read_standings
from leaderboard.settings import LeaderboardSettings
from leaderboard.standing import Standing
from marked import replace_marked
from shiftscope import files
from shiftscope.errors import DataError, UsageError
from shiftscope.reporting.figure_style import render_figure
from shiftscope.results import SCHEMA_VERSION

PART = "leaderboard"
"""Name of the marks between which the table stands on a page."""

PICTURE = "leaderboard.png"

MOST_PAGE = 16 * 2**20
"""Size limit of a page of the documentation, bytes."""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Entries with the seeds that are there and missing, the table, and the records."""

    entries: list[dict[str, Any]]
    board: Board
    standings: list[Standing]


def overview(settings: LeaderboardSettings) -> Overview:
    """Return what the folder of records holds, against what the settings ask for."""
    standings = read_standings(settings.results)
    there = {(one.entry, one.seed) for one in standings}
    wanted = range(settings.seed, settings.seed + settings.seeds)
    return Overview(entries=[_listed(entry, there, wanted) for entry in entries_named(settings.entries)],
                    board=board(standings), standings=standings)


def _listed(entry: Entry, there: set[tuple[str, int]], wanted: range) -> dict[str, Any]:
    return {"name": entry.name, "title": entry.title, "made": entry.made,
            "seeds": sorted(seed for name, seed in there if name == entry.name),
            "missing": [seed for seed in wanted if (entry.name, seed) not in there]}


def document(found: Overview) -> dict[str, Any]:
    """Return the overview as plain JSON: entries, rows of the table, and the records without their counts."""
    records = [{key: value for key, value in one.to_dict().items() if key != "packed_counts"}
               for one in found.standings]
    return files.plain({"schema_version": SCHEMA_VERSION, "entries": found.entries, "board": asdict(found.board),
                        "records": records})


def page_part(results: Path) -> str:
    """Return what stands between the marks of a page: the table, and the figure above it."""
    made = board(read_standings(results))
    return f"![Mean and worst-case accuracy of every entry](images/{PICTURE})\n\n{leaderboard_table(made)}"


def write_page(results: Path, page: Path) -> None:
    """Write table and figure of the records into a page of the documentation.

    Raises:
        DataError: the page cannot be read.
        UsageError: it has no marks, there are no records, or another picture has the name of the figure.
    """
    try:
        before = files.read_regular(page, MOST_PAGE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {page}: {error}; name a Markdown page with the marks of the part "
                        f"{PART!r}") from error
    after = replace_marked(before, PART, page_part(results), str(page))
    figure = page.parent / "images" / PICTURE
    if os.path.lexists(figure) and f"(images/{PICTURE})" not in before:
        raise UsageError(f"{figure} already exists, and {page} does not show it: move it away, or choose another page "
                         "with --table")
    files.write_bytes(figure,
                      render_figure(leaderboard_figure(board(read_standings(results))), "png"))
    files.write_text(page, after)
