"""What the live page is made of: its address, its files, and the stream of what happens."""

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
from shiftscope.server.run_files import PICTURE, RunFiles
from shiftscope.server.watcher import Watcher

PERIOD = 0.5
"""Seconds between two looks at the run folder."""

ALIVE = 15.0
"""Seconds after which a quiet stream says that it is still there, and so finds out whether anybody listens."""

TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8",
         "png": "image/png", "svg": "image/svg+xml"}

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
REPORT_POLICY = ("default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
                 "connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
                 "sandbox allow-scripts")
"""A report is a file that someone may have tampered with. Its own policy names its script; this one, on top, puts it
into a world of its own: it can ask neither this server nor any other."""

SHARED = ("app.js", "explorer.css", "style.css")
"""The front end that report, notebook and live page have in common."""


def page_file(name: str) -> str:
    """Return the text of a file of this package.

    >>> page_file("watch.html").splitlines()[0]
    '<!DOCTYPE html>'
    """
    return (importlib.resources.files("shiftscope.server") / name).read_text(encoding="utf-8")


def live_page(files: RunFiles, *, token: str, port: int, closing: Callable[[], bool] = lambda: False,
              watcher: Watcher | None = None, streams: int = 32) -> Guard:
    """Return the ASGI application that shows a run.

    Args:
        files: the run folder.
        token: first part of every path.
        port: where the server listens.
        closing: whether the server is about to end: open streams then end as well.
        watcher: looks at the run folder (default: one of its own).
        streams: how many streams of events may be open at once.
    """
    pages = _Pages(files, watcher or Watcher(files), closing, streams)
    routes = [Route("/", pages.page), Route("/events", pages.events), Route("/report", pages.report),
              Route("/figures/{name}", pages.figure),
              *(Route(f"/{name}", pages.file) for name in ("watch.js", "watch.css", *SHARED))]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refuse, Exception: _refuse})
    app.router.redirect_slashes = False
    return Guard(app, token=token, port=port)


async def _refuse(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return PlainTextResponse("not found\n" if status == 404 else "refused\n", status)


class _Pages:
    def __init__(self, files: RunFiles, watcher: Watcher, closing: Callable[[], bool], streams: int):
        self.files, self.watcher, self.closing = files, watcher, closing
        self.free_streams = streams

    async def page(self, request: Request) -> Response:
        return Response(page_file("watch.html"), media_type=TYPES["html"])

    async def file(self, request: Request) -> Response:
        name = request.url.path.removeprefix("/")
        text = asset(name) if name in SHARED else page_file(name)
        return Response(text, media_type=TYPES[name.rpartition(".")[2]])

    async def figure(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = await run_in_threadpool(self.files.read, "figures", name) if PICTURE.fullmatch(name) else None
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type=TYPES[name[-3:]], headers={"content-security-policy": PICTURE_POLICY})

    async def report(self, request: Request) -> Response:
        found = await run_in_threadpool(self.files.read, "report.html")
        if found is None:
            raise HTTPException(404)
        return Response(found, media_type=TYPES["html"], headers={"content-security-policy": REPORT_POLICY})

    async def events(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.free_streams <= 0:
            raise HTTPException(503)
        return StreamingResponse(self._stream(request.headers.get("last-event-id")), media_type="text/event-stream")

    async def _stream(self, seen: str | None) -> AsyncIterator[str]:
        self.free_streams -= 1
        try:
            async for event in self._events(seen):
                yield event
        finally:
            self.free_streams += 1

    async def _events(self, seen: str | None) -> AsyncIterator[str]:
        """Send the present snapshot unless the page has it already, then every new one."""
        yield "retry: 1000\n\n"
        quiet = 0.0
        while not self.closing():
            snapshot = await run_in_threadpool(self.watcher.look)
            quiet += PERIOD
            if snapshot.id != seen:
                seen, quiet = snapshot.id, 0.0
                yield snapshot.event()
            elif quiet >= ALIVE:
                quiet = 0.0
                yield ": still here\n\n"
            await asyncio.sleep(PERIOD)
