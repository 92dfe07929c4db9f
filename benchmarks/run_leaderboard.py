"""Train, repair and audit the entries of the leaderboard, one record for each seed, and write its page.

    python benchmarks/run_leaderboard.py --data fashion-mnist --entries two-conv two-conv-blur --seeds 3
    python benchmarks/run_leaderboard.py --list
    python benchmarks/run_leaderboard.py --table docs/leaderboard.md

`--list` names the records that exist and those that are missing. `--table` writes the page from the records.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from command_line import command_app, run_app
from leaderboard.entries import LeaderboardSettings
from shiftscope.cli import output as shown
from shiftscope.cli.flags import DATA, OUTPUT, RESULTS, TRAINING, DataFlags, OutputFlags, Switch, parse_names
from shiftscope.progress import default_progress

if TYPE_CHECKING:
    from leaderboard.figures import Row

Training = Parameter(group=TRAINING)
Shown = Parameter(group=RESULTS)


@Parameter(name="*", group=RESULTS)
@dataclass(frozen=True, kw_only=True)
class LeaderboardFlags(LeaderboardSettings):
    """Entries, seeds, and folders."""

    entries: Annotated[tuple[str, ...], Parameter(
        converter=parse_names, consume_multiple=True, metavar="NAME", group=TRAINING)] = ()
    """Compute these entries only (default: all that --list names)."""
    seed: Annotated[int, Training] = LeaderboardSettings.seed
    seeds: Annotated[int, Training] = LeaderboardSettings.seeds
    epochs: Annotated[int | None, Training] = None
    resume: Annotated[bool, Switch] = False
    overwrite: Annotated[bool, Switch] = False


SETTINGS = LeaderboardFlags()


def leaderboard(*, data: DataFlags = DATA, settings: LeaderboardFlags = SETTINGS, output: OutputFlags = OUTPUT,
                list_records: Annotated[bool, Switch, Parameter(name="--list", group=RESULTS)] = False,
                table: Annotated[Path | None, Shown] = None,
                command: Annotated[list[str], Parameter(parse=False)]) -> None:
    """Train, repair and audit the entries without a record, then show the table of records.

    All entries take hours; Ctrl-C stops, --resume continues.

    Args:
        list_records: Only list the existing and the missing records.
        table: Only write the tables of the records into this Markdown page, between its markers, and the figure into
            the folder images beside it.
    """
    from leaderboard.overview import document, overview, write_page
    from leaderboard.run import run_leaderboard

    with shown.clean_stdout(output.json):
        if table is not None:
            write_page(settings.results, table)
        elif not list_records:
            run_leaderboard(data, settings, progress=default_progress(quiet=output.quiet), command=command)
        result = overview(settings)
    if output.json:
        shown.write_document(document(result))
        return
    if list_records:
        _show_entries(result.entries)
    elif result.board.rows:
        _show_rows(result.board.rows)
    if table is not None:
        shown.write_path(table)


def _show_entries(entries: list[dict[str, Any]]) -> None:
    rows = [(one["name"], one["title"], _numbers(one["seeds"]), _numbers(one["missing"])) for one in entries]
    shown.write_table(("entry", "title", "existing seeds", "missing seeds"), rows)


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or "-"


def _show_rows(rows: "Sequence[Row]") -> None:
    """Print the columns that fit a terminal; all values are in --json and on the page."""
    from leaderboard.figures import format_percentage
    from leaderboard.tables import format_time

    columns = {"mean": "mean_accuracy", "worst case": "worst_case_accuracy", "consistency": "consistency"}
    cells = [(row.title, *(f"{format_percentage(row.estimates[name].mean)} %" for name in columns.values()),
              format_time(row.train_seconds), str(row.seeds or "-")) for row in rows]
    headings = (*columns, "trained in", "seeds")
    shown.write_table(("model", *headings), cells, numbers=headings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the leaderboard and return the exit code."""
    app = command_app("run_leaderboard.py", "Train, repair and audit the entries of the leaderboard.")
    app.default(leaderboard)
    return run_app(app, arguments, "benchmarks/run_leaderboard.py")


if __name__ == "__main__":
    sys.exit(main())
