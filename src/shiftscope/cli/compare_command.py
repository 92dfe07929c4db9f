"""`shiftscope compare`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, RESULTS, OutputFlags, Switch, parse_names
from shiftscope.progress import default_progress

Shown = Parameter(group=RESULTS)
Names = Parameter(converter=parse_names, consume_multiple=True, metavar="NAME", group=RESULTS)

ROWS = (("random", "random places"), ("centered", "centered"), ("middle", "audit, centered"),
        ("worst_case", "audit, everywhere"), ("mean", "audit, mean"))
"""(key, title) of what is compared, in the order of the table."""


def compare(first: Path, second: Path, /, *, models: Annotated[tuple[str, ...], Names] = (),
            output: OutputFlags = OUTPUT, out: Annotated[Path | None, Shown] = None,
            overwrite: Annotated[bool, Switch, Shown] = False) -> None:
    """Say whether models of two runs differ by more than chance, and show the images about which they disagree.

    Both must have been evaluated or audited on the same images at the same places.

    Args:
        first: Folder that shiftscope run, evaluate, audit or repair wrote.
        second: Another one, or the same with --models.
        models: Which model of the first and which of the second (default: those of the same name and seed).
        out: Folder for the comparison and a figure of the disagreements (default: none are written).
        overwrite: Replace files of an earlier comparison in --out.
    """
    from shiftscope.workflows.compare_runs import compare_runs

    with shown.clean_stdout(output.json):
        found = compare_runs(first, second, models=models, out=out, overwrite=overwrite,
                             progress=default_progress(quiet=output.quiet))
    if output.json:
        shown.write_document(found)
        return
    for pair in found["pairs"]:
        show_pair(pair, found["runs"])
    for note in found["notes"]:
        shown.write_line(note)
    if out is not None:
        shown.write_path(out)


def show_pair(pair: dict[str, Any], runs: list[str]) -> None:
    """Print a row for each way in which two models were compared: shares in percent, differences in points."""
    audit = pair["audit"] or {}
    parts = {"random": pair["random"], "centered": pair["centered"]} | {
        key: audit.get(key) for key in ("middle", "worst_case", "mean")}
    rows = [_row(title, part) for key, title in ROWS if (part := parts[key]) is not None]
    names = [_name(pair[side], run) for side, run in zip("ab", runs, strict=True)]
    columns = ("A", "B", "A - B", "only A", "only B", "p")
    shown.write_table(("images right", *columns), rows, numbers=columns, title=f"A: {names[0]}, B: {names[1]}")


def _name(side: dict[str, Any], run: str) -> str:
    centered = ", trained centered" if side["trained"] == "centered" else ""
    return f"{side['model']}{centered}, seed {side['seed']}, of {run}"


def _row(title: str, part: dict[str, Any]) -> tuple[str, ...]:
    low, high = part["interval"]
    difference = f"{100 * part['difference']:+.1f} ({100 * low:+.1f}, {100 * high:+.1f})"
    counts = [str(part[key]) if key in part else "" for key in ("only_a", "only_b")]
    return title, shown.percent(part["a"]), shown.percent(part["b"]), difference, *counts, f"{part['p_value']:.2g}"
