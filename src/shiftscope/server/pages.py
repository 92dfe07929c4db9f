"""The ASGI application of the live page: its files, and the stream of events."""

import asyncio
import importlib.resources
from collections.abc import AsyncIterator, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from shiftscope.reporting.web_page import asset
from shiftscope.server.guard import Guard
from shiftscope.server.run_files import FIGURE_NAME, RunFiles
from shiftscope.server.run_state import Watcher

PERIOD = 0.5  # seconds between two checks of the run folder
KEEP_ALIVE = 15.0  # seconds without an event after which a comment is sent, which detects disconnected clients

TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8",
         "png": "image/png", "svg": "image/svg+xml"}

FIGURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
REPORT_POLICY = ("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
                 "connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                 "sandbox allow-scripts allow-downloads")
"""In addition to the report's own policy: a report could have been modified, so it is isolated in a sandbox without
access to this server or any other."""

SHARED = ("app.js", "explorer.css", "style.css")
"""Assets that the report, the notebook widget and the live page have in common."""


def live_page(files: RunFiles, *, token: str, port: int, closing: Callable[[], bool] = lambda: False,
              streams: int = 32) -> Guard:
    """Return the ASGI application that shows a run.

    Args:
        files: the run folder.
        token: first part of every path.
        port: port of the server.
        closing: returns True if the server is about to end; open streams then end as well.
        streams: largest number of open event streams.
    """
    pages = _Pages(files, closing, streams)
    routes = [Route("/", pages.page), Route("/events", pages.events), Route("/report", pages.report),
              Route("/figures/{name}", pages.figure),
              *(Route(f"/{name}", pages.file) for name in ("watch.js", "watch.css", *SHARED))]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse, Exception: _refuse})
    app.router.redirect_slashes = False
    return Guard(app, token=token, port=port)


async def _refuse(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return PlainTextResponse("not found\n" if status == 404 else "refused\n", status)


def _page_file(name: str) -> Response:
    text = (asset(name) if name in SHARED
            else (importlib.resources.files("shiftscope.server") / name).read_text(encoding="utf-8"))
    return Response(text, media_type=TYPES[name.rpartition(".")[2]])


class _Pages:
    def __init__(self, files: RunFiles, closing: Callable[[], bool], streams: int):
        self.files, self.watcher, self.closing = files, Watcher(files), closing
        self.free_streams = streams

    async def page(self, request: Request) -> Response:
        return _page_file("watch.html")

    async def file(self, request: Request) -> Response:
        return _page_file(request.url.path.removeprefix("/"))

    async def figure(self, request: Request) -> Response:
        name = request.path_params["name"]
        if not FIGURE_NAME.fullmatch(name):
            raise HTTPException(404)
        return await self._run_file("figures", name, policy=FIGURE_POLICY)

    async def report(self, request: Request) -> Response:
        return await self._run_file("report.html", policy=REPORT_POLICY)

    async def _run_file(self, *parts: str, policy: str) -> Response:
        content = await run_in_threadpool(self.files.read, *parts)
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type=TYPES[parts[-1].rpartition(".")[2]],
                        headers={"content-security-policy": policy})

    async def events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.free_streams <= 0:
            raise HTTPException(503)
        return StreamingResponse(self._stream(request.headers.get("last-event-id")), media_type="text/event-stream")

    async def _stream(self, last_id: str | None) -> AsyncIterator[str]:
        """Send the current snapshot unless the page already has it, then every new one."""
        self.free_streams -= 1
        try:
            yield "retry: 1000\n\n"
            quiet = 0.0
            while not self.closing():
                snapshot = await run_in_threadpool(self.watcher.snapshot)
                quiet += PERIOD
                if snapshot.id != last_id:
                    last_id, quiet = snapshot.id, 0.0
                    yield snapshot.event()
                elif quiet >= KEEP_ALIVE:
                    quiet = 0.0
                    yield ": keep-alive\n\n"
                await asyncio.sleep(PERIOD)
        finally:
            self.free_streams += 1
