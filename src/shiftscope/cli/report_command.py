"""`shiftscope report`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import IMAGES, OUTPUT, RESULTS, OutputFlags, Switch
from shiftscope.progress import default_progress

Shown = Parameter(group=RESULTS)


def report(*runs: Path, output: OutputFlags = OUTPUT, out: Annotated[Path, Shown] = Path("report.html"),
           title: Annotated[str | None, Shown] = None, overwrite: Annotated[bool, Switch, Shown] = False,
           data_dir: Annotated[Path | None, Parameter(group=IMAGES)] = None,
           device: Annotated[str, Shown] = "auto") -> None:
    """Write one interactive page about finished runs, to look at, play with and send by mail.

    Models of all runs stand side by side. Nothing is trained and no dataset is needed, though where checkpoint and
    dataset are still there, every model is asked about the same images.

    Args:
        runs: Folders that shiftscope run, train, evaluate, audit, visualize or repair wrote.
        out: The page.
        title: Its headline.
        overwrite: Replace a page that is there.
        data_dir: Folder that holds the dataset's files.
        device: One of auto, cpu, cuda or mps.
    """
    from shiftscope.results import SCHEMA_VERSION
    from shiftscope.workflows.report.page import report_runs

    with shown.clean_stdout(output.json):
        page = report_runs(runs, out=out, title=title, overwrite=overwrite, data_dir=data_dir, device=device,
                           progress=default_progress(quiet=output.quiet))
    if output.json:
        shown.write_document({"schema_version": SCHEMA_VERSION, "report": str(page)})
    else:
        shown.write_path(page)
