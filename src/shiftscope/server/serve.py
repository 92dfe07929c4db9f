"""The server itself: a socket on this machine alone, served until Ctrl-C."""

import contextlib
import errno
import os
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
          note: Callable[[str], None] = lambda sentence: None) -> None:
    """Show a run on a page until Ctrl-C.

    Args:
        run: the run folder.
        port: where to listen, on 127.0.0.1 only; 0: any port that is free.
        ready: called with the address as soon as it can be opened.
        note: called with a sentence, at most once, where no connection can be opened.

    Raises:
        CheckpointError: there is no run.
        UsageError: starlette or uvicorn is not installed; the port is taken or none.
    """
    try:
        import uvicorn

        from shiftscope.server.bounded import BoundedServer, Connection, most_connections, quiet_asyncio
        from shiftscope.server.guard import new_token
        from shiftscope.server.pages import live_page
    except ImportError as error:
        raise UsageError(f"shiftscope watch needs {error.name}, which is not installed: {INSTALL}") from error
    from shiftscope.server.run_files import RunFiles

    files = RunFiles(run)
    with listening(port) as listener:
        token, port = new_token(), listener.getsockname()[1]
        server = BoundedServer(uvicorn.Config(
            live_page(files, token=token, port=port, closing=lambda: server.should_exit,
                      streams=most_connections() // 2), http=Connection, ws="none",
            lifespan="off", log_config=None, log_level="critical", access_log=False, server_header=False,
            proxy_headers=False, timeout_graceful_shutdown=2), note)
        with ended_by_interrupt(server), quiet_asyncio():
            ready(f"http://{HOST}:{port}/{token}/")
            server.run(sockets=[listener])


@contextlib.contextmanager
def ended_by_interrupt(server: "uvicorn.Server") -> Iterator[None]:
    """Let Ctrl-C end the server from the first moment on.

    The server listens for it itself, but only once it runs: an exception raised before, in the middle of an import, can
    be lost, and the server would run on. Signals reach the main thread alone, so
    in another one none is listened for.
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
    """Return a socket that listens on this machine alone.

    Raises:
        UsageError: the port is no port, taken, or not for everybody.

    Example:
        >>> with listening(0) as listener:
        ...     listener.getsockname()[0]
        '127.0.0.1'
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"port must be from 0 to 65535, got {port}: leave it out for one that is free")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # else the port of a server that has just ended is taken for a minute
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise _explain(port, error) from error
    return listener


def _explain(port: int, error: OSError) -> UsageError | OutputError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"port {port} is in use by another program: choose another one with --port, or leave it out "
                          "for one that is free")
    if error.errno == errno.EACCES:
        return UsageError(f"port {port} is only for the system: choose one from 1024 with --port, or leave it out for "
                          "one that is free")
    return OutputError(f"cannot listen on {HOST}, port {port}: {error.strerror}")
