"""`shiftscope models list`."""

from typing import Annotated, Any

from shiftscope.cli import output as shown
from shiftscope.cli.flags import Switch


def show_models(*, json: Annotated[bool, Switch] = False) -> None:
    """List the models that can be trained by name: which one is indifferent to place, in which mode, and why.

    Args:
        json: Print the list as one JSON document.
    """
    from shiftscope.results import SCHEMA_VERSION
    from shiftscope.workflows.model_list import model_list

    models, repairs = model_list()
    if json:
        shown.write_document({"schema_version": SCHEMA_VERSION, "models": models, "repairs": repairs})
        return
    shown.write_table(("name", "parameters", "what it is"),
                      [(one["name"], f"{one['parameters']:,}", one["description"]) for one in models],
                      numbers=("parameters",), title="Models, with their parameters on a canvas of 56 x 56")
    _show_claims("The same answer at every placement?", models)
    _show_claims("And of a model of the course after shiftscope repair --method ...", repairs)
    shown.write_line(PROMISED)


PROMISED = """\
exact: whatever the weights, up to rounding. approximate: changes are damped, not removed.
In mode canvas an object that lies wholly on an empty canvas of one level is moved by a circular shift."""


def _show_claims(title: str, subjects: list[dict[str, Any]]) -> None:
    """Print a line for each claim; modes with one claim share it, and a mode whose claim all share has its own line."""
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
