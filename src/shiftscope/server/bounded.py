"""A server that no client can exhaust: few connections, a time limit on what each may wait for, and fast answers.

uvicorn lets asyncio accept connections. Without free file descriptors, asyncio then logs a traceback for every
connection that waits, and tries again; and it turns off Nagle's algorithm only on some sockets, so that a small answer
waits for the client's delayed acknowledgement. Here connections are accepted one by one.

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

MOST_CONNECTIONS = 64
"""At once; a browser opens six for each of its windows at most."""

HEADER_SECONDS = 10.0
"""For a whole request, from the connection or the last answer on."""

READ_SECONDS = 30.0
"""For the client to read what was sent."""

RETRY_SECONDS = 1.0
"""Between two tries to accept a connection where it cannot be opened, as without free file descriptors."""

_FULL_SECONDS = 0.05  # between two looks for room while all connections are in use
_LEAST = 4  # connections: a page and its stream of events, twice
_SPARE = 4  # file descriptors that are left free for files, where they turn out to be few
_RESERVED = 24  # file descriptors of the process itself: streams, event loop, files that are being read


def most_connections() -> int:
    """Return how many connections may be open at once, fewer where the process may open few files."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST_CONNECTIONS
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return min(MOST_CONNECTIONS, max(_LEAST, allowed - _RESERVED))


class Connection(H11Protocol):
    """One connection, which knows since when it waits for its client."""

    waiting_since: float | None = None
    """When it began to wait for a request; None while one is answered."""
    unread_since: float | None = None
    """When the client stopped to read; None while it reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        self.waiting_since = self.loop.time()
        super().connection_made(transport)

    def handle_events(self) -> None:
        """Handle what has arrived."""
        super().handle_events()
        if self.cycle is not None and not self.cycle.response_complete:
            self.waiting_since = None

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self.waiting_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        self.unread_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        self.unread_since = None
        super().resume_writing()

    def overdue(self, now: float) -> bool:
        """Return whether its client has taken too long."""
        waited = self.waiting_since is not None and now - self.waiting_since > HEADER_SECONDS
        return waited or (self.unread_since is not None and now - self.unread_since > READ_SECONDS)

    def drop(self) -> None:
        """Close it at once, whatever has not been sent."""
        self.transport.abort()


class BoundedServer(uvicorn.Server):
    """A uvicorn server with limits.

    Args:
        config: of uvicorn; its protocol must be `Connection`.
        note: called with a sentence, at most once, where no connection can be opened.
    """

    def __init__(self, config: uvicorn.Config, note: Callable[[str], None]):
        super().__init__(config)
        self.note: Callable[[str], None] | None = note
        self.most = most_connections()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        self.servers = []
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in sockets or ()]
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, drop those that wait, and end the others."""
        for task in self._accepting:
            task.cancel()
        for connection in self._waiting():
            connection.drop()
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Drop connections whose clients take too long; return whether the server is to end."""
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections()):
            if connection.overdue(now):
                connection.drop()
        return await super().on_tick(counter)

    def _connections(self) -> set[Any]:
        return self.server_state.connections

    def _waiting(self) -> list[Connection]:
        """Return the connections on which no request is being answered, those that have waited longest first."""
        waiting = [one for one in self._connections() if one.waiting_since is not None]
        return sorted(waiting, key=lambda one: one.waiting_since)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            await self._make_room()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except ConnectionError:  # it went away before it was accepted
                continue
            except OSError as error:
                await self._wait_after(error)
                continue
            with contextlib.suppress(OSError):  # it may be closed again already
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.connect_accepted_socket(self._connection, accepted)

    def _connection(self) -> Connection:
        return Connection(config=self.config, server_state=self.server_state, app_state={})

    async def _make_room(self) -> None:
        """Return as soon as another connection may be open; drop the one that has waited longest, if any does."""
        while len(self._connections()) >= self.most:
            for connection in self._waiting()[:1]:
                connection.drop()
            await asyncio.sleep(_FULL_SECONDS if not self._waiting() else 0)

    async def _wait_after(self, error: OSError) -> None:
        if self.note is not None:
            self.note(f"no connection can be opened ({error.strerror}): clients wait until others end; `ulimit -n` "
                      "shows how many files a process may open")
            self.note = None
        self.most = max(_LEAST, min(self.most, len(self._connections()) - _SPARE))
        await asyncio.sleep(0 if len(self._connections()) >= self.most else RETRY_SECONDS)


@contextlib.contextmanager
def quiet_asyncio() -> Iterator[None]:
    """Keep asyncio from writing about clients that went away."""
    logger = logging.getLogger("asyncio")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
