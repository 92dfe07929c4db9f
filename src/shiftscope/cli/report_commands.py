"""`shiftscope report`, `compare` and `watch`."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import OUTPUT, Image, Names, OutputFlags, Result, Switch
from shiftscope.progress import default_progress

ROWS = (("random", "random"), ("centered", "centered"), ("middle", "audit, centered"),
        ("worst_case", "audit, worst case"), ("mean", "audit, mean"))
"""(key, title) of compared accuracies, in the order of the table."""


def report(*runs: Path, output: OutputFlags = OUTPUT, out: Annotated[Path, Result] = Path("report.html"),
           title: Annotated[str | None, Result] = None, overwrite: Annotated[bool, Switch, Result] = False,
           data_dir: Annotated[Path | None, Image] = None, device: Annotated[str, Result] = "auto") -> None:
    """Write one interactive page about finished runs, as a single file.

    Models of all runs are shown side by side. Nothing is trained and no dataset is needed. If checkpoints and dataset
    are available, all models are evaluated on the same images.

    Args:
        runs: Folders that shiftscope run, train, evaluate, audit, visualize or repair wrote.
        out: The page.
        title: Title of the page.
        overwrite: Replace an existing page.
        data_dir: Folder with the dataset's files.
        device: One of auto, cpu, cuda or mps.
    """
    from shiftscope.workflows.report.page import report_runs

    with shown.clean_stdout(output.json):
        page = report_runs(runs, out=out, title=title, overwrite=overwrite, data_dir=data_dir, device=device,
                           progress=output.progress())
    if output.json:
        shown.write_result({"report": str(page)})
    else:
        shown.write_path(page)


def compare(first: Path, second: Path, /, *, models: Annotated[tuple[str, ...], Names, Result] = (),
            output: OutputFlags = OUTPUT, out: Annotated[Path | None, Result] = None,
            overwrite: Annotated[bool, Switch, Result] = False) -> None:
    """Test whether models of two runs differ by more than chance, and show images on which they disagree.

    Both must have been evaluated or audited at the same positions. They are compared on the images that both have.

    Args:
        first: Folder that shiftscope run, evaluate, audit or repair wrote.
        second: Another one, or the same with --models.
        models: A model of the first folder and one of the second (default: those of the same name and seed).
        out: Folder for the comparison and a figure of the disagreements (default: none are written).
        overwrite: Replace files of an earlier comparison in --out.
    """
    from shiftscope.workflows.compare_runs import compare_runs
    from shiftscope.workflows.load_inputs import require_checkpoint

    for folder in (first, second):
        require_checkpoint(folder, "compare", "audit both with shiftscope audit MODEL --against OTHER --data IMAGES")
    with shown.clean_stdout(output.json):
        found = compare_runs(first, second, models=models, out=out, overwrite=overwrite, progress=output.progress())
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
    """Print one row per compared accuracy: accuracies in percent, differences in points."""
    audit = pair["audit"] or {}
    parts = {"random": pair["random"], "centered": pair["centered"]} | {
        key: audit.get(key) for key in ("middle", "worst_case", "mean")}
    rows = [_row(title, part) for key, title in ROWS if (part := parts[key]) is not None]
    names = [_name(pair[side], run) for side, run in zip("ab", runs, strict=True)]
    columns = ("A", "B", "A - B", "only A", "only B", "p")
    shown.write_table(("accuracy", *columns), rows, numbers=columns, title=f"A: {names[0]}, B: {names[1]}")


def _name(side: dict[str, Any], run: str) -> str:
    centered = ", trained centered" if side["trained"] == "centered" else ""
    return f"{side['model']}{centered}, seed {side['seed']}, of {run}"


def _row(title: str, part: dict[str, Any]) -> tuple[str, ...]:
    low, high = part["interval"]
    difference = f"{100 * part['difference']:+.1f} ({100 * low:+.1f}, {100 * high:+.1f})"
    counts = [str(part[key]) if key in part else "" for key in ("only_a", "only_b")]
    return title, shown.percent(part["a"]), shown.percent(part["b"]), difference, *counts, f"{part['p_value']:.2g}"


def watch(run: Path, /, *, port: int = 0, open_: Annotated[bool, Parameter(name="--open"), Switch] = False) -> None:
    """Show a run in your browser, before it begins, while it trains, or afterwards.

    The page shows curves, sample images, the current training, evaluation or audit, rate and time left. It only reads
    this run, and only this machine can open it, at the printed address. Ctrl-C ends it; the run continues.

    Args:
        run: Folder of `shiftscope run` or `shiftscope train`; the page waits if the run has not begun.
        port: Port of the page; 0: any free one.
        open_: Open the page in the browser.
    """
    from shiftscope.server.serve import serve

    def ready(address: str) -> None:
        shown.write_line(address)
        sys.stdout.flush()
        if open_:
            import webbrowser

            webbrowser.open(address)

    serve(run, port=port, ready=ready, note=default_progress().note)
