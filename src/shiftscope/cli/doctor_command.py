"""`shiftscope doctor`."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from shiftscope.cli import output as shown

NAMES_SHOWN = 6
"""Entries of a folder that its line names."""


def doctor(*, data_dir: Path | None = None, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Show what Shiftscope finds on this machine, and how to repair what is missing.

    Args:
        data_dir: A folder of datasets to look into as well.
        json: Print the result as one JSON document.
    """
    from shiftscope.workflows.doctor import examine

    with shown.clean_stdout(json):
        findings = examine(data_dir)
    if json:
        shown.write_document(findings)
        return
    shown.write_table(("what", "found"), _rows(findings))
    for problem in findings["problems"]:
        shown.write_line(f"problem: {problem['problem']}; {problem['remedy']}")
    if not findings["problems"]:
        shown.write_line("no problems found")


def _rows(findings: dict[str, Any]) -> list[tuple[str, str]]:
    system = findings["system"]
    rows = [(name, version or "missing") for name, version in findings["versions"].items()]
    rows += [("system", system["platform"]), ("processor", system["processor"]),
             ("cores", f"{system['cores']}, {_or_unknown(findings['torch_threads'])} threads for torch"),
             ("memory", f"{_gigabytes(system['memory'])}, {_gigabytes(system['memory_free'])} free"),
             ("load", " ".join(f"{value:.1f}" for value in system["load"] or ()) or "unknown")]
    rows += [("device", f"{device['name']}: {device['description']}") for device in findings["devices"]]
    rows += [(folder["role"], _describe(folder)) for folder in findings["folders"]]
    return [*rows, ("browser", findings["browser"] or "none on the PATH")]


def _describe(folder: dict[str, Any]) -> str:
    state = "writable" if folder["writable"] else "not writable"
    more = len(folder["holds"]) - NAMES_SHOWN
    held = ", ".join(folder["holds"][:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "") or "empty"
    return f"{folder['path']} ({state if folder['exists'] else f'not there yet, {state}'}; {held})"


def _or_unknown(value: object) -> str:
    return "unknown" if value is None else str(value)


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 2**30:.1f} GB"
