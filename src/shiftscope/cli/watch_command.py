"""`shiftscope watch`."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shiftscope.cli import output as shown
from shiftscope.cli.flags import Switch
from shiftscope.progress import default_progress


def watch(run: Path, /, *, port: int = 0, open_: Annotated[bool, Parameter(name="--open"), Switch] = False) -> None:
    """Show a run on a page of your own browser while it trains, or when it is done.

    The page shows curves, sample pictures, rate and time left; it only reads, from this run alone, and only this
    machine can open it, at the address that is printed. Ctrl-C ends it; the run goes on.

    Args:
        run: Folder that `shiftscope run` or `shiftscope train` writes into.
        port: Where to listen; 0: any port that is free.
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
