"""`shiftscope watch`: serves the live page on a local socket until Ctrl-C."""

import contextlib
import errno
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from shiftscope.errors import OutputError, UsageError

if TYPE_CHECKING:
    import uvicorn

HOST = "127.0.0.1"
INSTALL = "install the extra: pip install 'shiftscope[server]'"


def serve(run: Path | str, *, port: int = 0, ready: Callable[[str], None],
          note: Callable[[str], None] = lambda message: None) -> None:
    """Serve the live page of a run until Ctrl-C.

    Args:
        run: the run folder.
        port: port on 127.0.0.1; 0: any free port.
        ready: called with the address of the page once it can be opened.
        note: called with a message if the run has not begun, and at most once if no connection can be opened.

    Raises:
        CheckpointError: if the path is a file, or a folder in which no run can begin.
        UsageError: if starlette or uvicorn is not installed, or the port is taken or invalid.
    """
    try:
        import uvicorn

        from shiftscope.server.limits import Connection, LimitedServer, max_connections, quiet_asyncio
        from shiftscope.server.pages import live_page
    except ImportError as error:
        raise UsageError(f"shiftscope watch needs {error.name}, which is not installed: {INSTALL}") from error
    from shiftscope.server.run_files import RunFiles

    files = RunFiles(run)
    with listening(port) as listener:
        token, port = secrets.token_urlsafe(32), listener.getsockname()[1]
        app = live_page(files, token=token, port=port, closing=lambda: server.should_exit,
                        streams=max_connections() // 2)
        server = LimitedServer(uvicorn.Config(
            app, http=Connection, ws="none", lifespan="off", log_config=None, log_level="critical", access_log=False,
            server_header=False, proxy_headers=False, timeout_graceful_shutdown=2), note)
        with _ended_by_interrupt(server), quiet_asyncio():
            ready(f"http://{HOST}:{port}/{token}/")
            waiting = files.waiting_note()
            if waiting is not None:
                note(waiting)
            server.run(sockets=[listener])


@contextlib.contextmanager
def _ended_by_interrupt(server: "uvicorn.Server") -> Iterator[None]:
    """Let Ctrl-C end the server even before it runs.

    uvicorn handles the signal only while it runs; a KeyboardInterrupt raised before, for instance during an import, can
    be lost. Only the main thread receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def listening(port: int) -> socket.socket:
    """Return a socket that listens on 127.0.0.1.

    Raises:
        UsageError: if the port is invalid, taken or reserved.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port must be from 0 to 65535, got {port}: omit it to use a free port")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # otherwise the port stays in use for a minute after a server ends
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use by another program: choose another --port, or omit it") from error
        if error.errno == errno.EACCES:
            raise UsageError(f"port {port} is reserved for the system: choose one from 1024, or omit it") from error
        raise OutputError(f"cannot listen on {HOST}, port {port}: {error.strerror}") from error
    return listener
