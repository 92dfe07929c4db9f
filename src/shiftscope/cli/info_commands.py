"""`shiftscope models list`, `shiftscope protocols` and `shiftscope doctor`."""

from pathlib import Path
from typing import Annotated, Any

from shiftscope.cli import output as shown
from shiftscope.cli.flags import Switch

MAX_NAMES = 6
"""Number of entries of a folder that the table names."""

CLAIMS_NOTE = """\
exact: for any weights, up to rounding. approximate: changes are reduced, not removed.
In mode canvas, moving an object that is fully visible on an empty canvas of one level is a circular shift."""


def show_models(*, json: Annotated[bool, Switch] = False) -> None:
    """List the models that can be trained by name, and in which modes they are translation-invariant.

    Args:
        json: Print the list as one JSON document.
    """
    from shiftscope.models import DESCRIPTIONS, REGISTRY, build_model, count_parameters
    from shiftscope.models.claims import CLAIMS, REPAIR_CLAIMS

    def plain(claims: Any) -> dict[str, dict[str, str]]:
        return {mode: claim.to_dict() for mode, claim in claims.items()}

    models = [{"name": name, "description": DESCRIPTIONS[name], "parameters": count_parameters(build_model(name)),
               "claims": plain(CLAIMS[name])} for name in REGISTRY]
    repairs = [{"name": name, "claims": plain(claims)} for name, claims in REPAIR_CLAIMS.items()]
    if json:
        shown.write_result({"models": models, "repairs": repairs})
        return
    shown.write_table(("name", "parameters", "description"),
                      [(one["name"], f"{one['parameters']:,}", one["description"]) for one in models],
                      numbers=("parameters",), title="Models, with their parameters on a canvas of 56 x 56")
    _show_claims("Is the prediction the same at every placement?", models)
    _show_claims("The same for a course model after shiftscope repair --method NAME:", repairs)
    shown.write_line(CLAIMS_NOTE)


def _show_claims(title: str, subjects: list[dict[str, Any]]) -> None:
    """Print one line per claim; modes with the same claim share a line, as do models with the same claim in a mode."""
    shared = {mode: claim for mode, claim in subjects[0]["claims"].items()
              if all(one["claims"][mode] == claim for one in subjects)}
    rows = []
    for subject in subjects:
        modes: dict[tuple[str, str], list[str]] = {}
        for mode, claim in subject["claims"].items():
            if mode not in shared:
                modes.setdefault((claim["level"], claim["why"]), []).append(mode)
        rows += [(subject["name"], ", ".join(names), level, why) for (level, why), names in modes.items()]
    rows += [("all", mode, claim["level"], claim["why"]) for mode, claim in shared.items()]
    shown.write_table(("name", "mode", "claim", "why"), rows, title=title)


def protocols(*, json: Annotated[bool, Switch] = False) -> None:
    """List published evaluations of translation robustness, with their definitions, sources and published figures.

    Args:
        json: Print the list as one JSON document.
    """
    from shiftscope.protocols import PROTOCOLS

    if json:
        shown.write_result({"protocols": [protocol.to_dict() for protocol in PROTOCOLS.values()]})
        return
    for protocol in PROTOCOLS.values():
        more = "" if protocol.published else " (published figures are not included)"
        shown.write_line(f"{protocol.name}, mode {protocol.mode}\n  {protocol.definition}\n  Source: {protocol.source}"
                         f"\n  Metrics: {', '.join(protocol.metrics)}{more}\n")
        if protocol.published:
            shown.write_table((f"published (%), {protocol.dataset}", *protocol.metrics),
                              [(row.model, *(f"{value:.2f}" for value in row.percent)) for row in protocol.published],
                              numbers=tuple(protocol.metrics))
    shown.write_line("Evaluate a model with one of them: shiftscope audit MODEL --data DATA --protocol NAME")


def doctor(*, data_dir: Path | None = None, json: Annotated[bool, Switch] = False) -> None:
    """Show versions, devices and folders on this machine, and how to fix problems.

    Args:
        data_dir: A further folder of datasets.
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
    system, threads = findings["system"], findings["torch_threads"]
    rows = [(name, version or "missing") for name, version in findings["versions"].items()]
    rows += [("system", system["platform"]), ("processor", system["processor"]),
             ("cores", f"{system['cores']}, {'unknown' if threads is None else threads} threads for torch"),
             ("memory", f"{_gigabytes(system['memory'])}, {_gigabytes(system['memory_free'])} free"),
             ("load", " ".join(f"{value:.1f}" for value in system["load"] or ()) or "unknown")]
    rows += [("device", f"{device['name']}: {device['description']}") for device in findings["devices"]]
    rows += [(folder["role"], _describe(folder)) for folder in findings["folders"]]
    return [*rows, ("browser", findings["browser"] or "none on the PATH")]


def _describe(folder: dict[str, Any]) -> str:
    state = "writable" if folder["writable"] else "not writable"
    more = len(folder["holds"]) - MAX_NAMES
    held = ", ".join(folder["holds"][:MAX_NAMES]) + (f" and {more} more" if more > 0 else "") or "empty"
    return f"{folder['path']} ({state if folder['exists'] else f'does not exist yet, {state}'}; {held})"


def _gigabytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 2**30:.1f} GB"
