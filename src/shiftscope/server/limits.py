"""A server with limits on connections and on the time that a client may take.

By default asyncio accepts connections for uvicorn. Without free file descriptors it then logs a traceback for every
waiting connection, and it sets TCP_NODELAY only on some sockets, so that small responses wait for the client's delayed
acknowledgement. Here connections are accepted one at a time.

References:
    RFC 896, "Congestion Control in IP/TCP Internetworks" (Nagle); RFC 1122, section 4.2.3.2 (delayed acknowledgements).
"""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS = 64  # open at the same time; a browser opens at most six per window
HEADER_SECONDS = 10.0  # time limit for a whole request, from the connection or the previous response
READ_SECONDS = 30.0  # time limit for the client to read a response
RETRY_SECONDS = 1.0  # between two attempts to accept a connection after a failure
_FULL_SECONDS = 0.05  # time between two checks while all connections are in use
_MIN = 4  # connections: a page and its stream of events, twice
_SPARE = 4  # file descriptors kept free for files if there are few
_RESERVED = 24  # file descriptors of the process itself: streams, event loop, open files


def max_connections() -> int:
    """Return the largest number of open connections; lower if the process may open few files."""
    try:
        import resource
    except ImportError:  # Windows
        return MAX_CONNECTIONS
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return min(MAX_CONNECTIONS, max(_MIN, allowed - _RESERVED))


class Connection(H11Protocol):
    """A connection that records how long it has been waiting for its client."""

    waiting_since: float | None = None
    """Time at which it began to wait for a request; None during a response."""
    unread_since: float | None = None
    """Time at which the client stopped reading; None while it reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        self.waiting_since = self.loop.time()
        super().connection_made(transport)

    def handle_events(self) -> None:
        """Stop waiting once a request is complete."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.waiting_since = None

    def on_response_complete(self) -> None:
        """Start to wait for the next request."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Record that the client does not read."""
        self.unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Record that the client reads again."""
        self.unread_since = None
        super().resume_writing()

    def overdue(self, now: float) -> bool:
        """Return True if a time limit has passed."""
        waited = self.waiting_since is not None and now - self.waiting_since > HEADER_SECONDS
        return waited or (self.unread_since is not None and now - self.unread_since > READ_SECONDS)


class LimitedServer(uvicorn.Server):
    """A uvicorn server with limits.

    Args:
        config: of uvicorn; its protocol must be `Connection`.
        note: called with a message, at most once, if no connection can be opened.
    """

    def __init__(self, config: uvicorn.Config, note: Callable[[str], None]):
        super().__init__(config)
        self.note: Callable[[str], None] | None = note
        self.limit = max_connections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections."""
        self.servers = []
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in sockets or ()]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, drop waiting ones, and end the others."""
        for task in self._accepting:
            task.cancel()
        for connection in self._waiting():
            connection.transport.abort()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Drop overdue connections; return True if the server should end."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections()):
            if connection.overdue(now):
                connection.transport.abort()
        return await super().on_tick(counter)

    def _connections(self) -> set[Any]:
        return self.server_state.connections

    def _waiting(self) -> list[Connection]:
        """Connections without a request in progress, the longest waiting first."""
        waiting = [one for one in self._connections() if one.waiting_since is not None]
        return sorted(waiting, key=lambda one: one.waiting_since)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            await self._make_room()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionError:  # closed before it was accepted
                continue
            except OSError as error:
                await self._wait_after(error)
                continue
            with contextlib.suppress(OSError):  # may already be closed
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.connect_accepted_socket(lambda: Connection(
                    config=self.config, server_state=self.server_state, app_state={}), accepted)

    async def _make_room(self) -> None:
        """Wait until another connection may be open; drop the longest waiting one, if any."""
        while len(self._connections()) >= self.limit:
            for connection in self._waiting()[:1]:
                connection.transport.abort()
            await asyncio.sleep(_FULL_SECONDS if not self._waiting() else 0)

    async def _wait_after(self, error: OSError) -> None:
        if self.note is not None:
            self.note(f"no connection can be opened ({error.strerror}): clients must wait until others disconnect; "
                      "`ulimit -n` shows how many files a process may open")
            self.note = None
        self.limit = max(_MIN, min(self.limit, len(self._connections()) - _SPARE))
        await asyncio.sleep(0 if len(self._connections()) >= self.limit else RETRY_SECONDS)


@contextlib.contextmanager
def quiet_asyncio() -> Iterator[None]:
    """Suppress asyncio's log messages about disconnected clients."""
    logger = logging.getLogger("asyncio")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
