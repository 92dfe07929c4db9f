"""Access control: refuses requests of other users and of other web pages.

A server on 127.0.0.1 is reachable by every program of the machine and, through a browser, by every web page that its
user visits. So each request must contain a random token, name this server as its host (which prevents DNS rebinding),
and have no other origin; only reading is allowed. Refusals do not reveal their reason.

References:
    OWASP, "Cross-Site Request Forgery Prevention Cheat Sheet", Fetch Metadata headers;
    Jackson, Barth, Bortz, Shao, Boneh, "Protecting Browsers from DNS Rebinding Attacks", CCS 2007.
"""

import hmac
import re
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD")
MAX_PATH = 400
"""A token has 43 characters, the name of a figure at most 204."""

_PLAIN_PATH = re.compile(rb"(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+/?")
"""No percent sign, no backslash, no empty part and none that begins with a dot: no alias of another file."""

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
"""The page may only use scripts, styles and images of this server, and send requests to it."""

HEADERS = {
    "content-security-policy": POLICY, "cache-control": "no-store", "x-content-type-options": "nosniff",
    "x-frame-options": "DENY", "referrer-policy": "no-referrer", "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""Default headers of every response."""


class Guard:
    """ASGI application that passes allowed requests on and refuses all others.

    Args:
        app: receives paths without the token: "/", "/events".
        token: first part of every path.
        port: port of the server.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int):
        self.app, self.token = app, token.encode()
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if port == 80:  # browsers omit the default port
            self.hosts |= {"127.0.0.1", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        response, path = self._check(scope)
        handler = response or self.app
        await handler(dict(scope) | {"path": path, "raw_path": path.encode(), "root_path": ""}, receive,
                      _with_headers(send))

    def _check(self, scope: MutableMapping[str, Any]) -> tuple[Response | None, str]:
        """Return the refusal, if any, and the path without the token."""
        headers, path = Headers(scope=scope), scope.get("raw_path") or scope["path"].encode()
        path = path.partition(b"?")[0]
        if scope["method"] not in METHODS:
            return PlainTextResponse("not allowed\n", 405, {"allow": ", ".join(METHODS)}), ""
        if len(path) > MAX_PATH:
            return PlainTextResponse("too long\n", 414), ""
        if not self._same_origin(headers):
            return PlainTextResponse("forbidden\n", 403), ""
        token, slash, rest = path[1:].partition(b"/")
        if not _PLAIN_PATH.fullmatch(path) or not hmac.compare_digest(token, self.token):
            return PlainTextResponse("not found\n", 404), ""
        if not slash:
            return RedirectResponse(f"/{self.token.decode()}/"), ""
        return None, "/" + rest.decode("ascii")

    def _same_origin(self, headers: Headers) -> bool:
        """Return True if host, origin and site are this server, or the browser's address bar."""
        hosts, origins, sites = (headers.getlist(name) for name in ("host", "origin", "sec-fetch-site"))
        return (len(hosts) == 1 and hosts[0].lower() in self.hosts
                and all(origin.lower() == f"http://{hosts[0].lower()}" for origin in origins)
                and all(site in ("same-origin", "none") for site in sites))


def _with_headers(send: Send) -> Send:
    """Add `HEADERS` to every response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


async def _refuse_other(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse web sockets, and complete startup and shutdown events."""
    while scope["type"] == "lifespan":
        phase = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{phase}.complete"})
        if phase == "shutdown":
            return
    await receive()
    await send({"type": "websocket.close", "code": 1008})
