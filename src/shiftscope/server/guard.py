"""Who may ask, and for what: everything that keeps other people and other pages out stands here.

A server on 127.0.0.1 can be reached by every program of the machine and, through a browser, by every page that its user
visits. So each request must know a random token, name this server as its host (a foreign name that was rebound to
127.0.0.1 does not), and come from no other origin; it can only read. Refusals are a word, the same for all reasons.

References:
    OWASP, "Cross-Site Request Forgery Prevention Cheat Sheet", Fetch Metadata headers;
    Jackson, Barth, Bortz, Shao, Boneh, "Protecting Browsers from DNS Rebinding Attacks", CCS 2007.
"""

import hmac
import re
import secrets
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD")
LONGEST_PATH = 400
"""A token has 43 letters, the name of a figure at most 204."""

_PLAIN_PATH = re.compile(rb"(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+/?")
"""No percent, no backslash, no empty part and none that begins with a dot: nothing that could mean another file."""

POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
"""What the page may do: its own script, style and pictures, and questions to this server."""

HEADERS = {
    "content-security-policy": POLICY, "cache-control": "no-store", "x-content-type-options": "nosniff",
    "x-frame-options": "DENY", "referrer-policy": "no-referrer", "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
"""On every answer; an answer's own value stands."""


def new_token() -> str:
    """Return a token that nobody can guess: 32 random bytes.

    >>> len(new_token())
    43
    """
    return secrets.token_urlsafe(32)


class Guard:
    """ASGI application that lets pass what may be asked, without the token, and refuses the rest.

    Args:
        app: what answers; it is given paths below the token: "/", "/events".
        token: first part of every path.
        port: where the server listens.
    """

    def __init__(self, app: ASGIApp, *, token: str, port: int):
        self.app, self.token = app, token.encode()
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        if port == 80:  # browsers leave the usual port out
            self.hosts |= {"127.0.0.1", "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await _turn_away(scope, receive, send)
            return
        response, rest = self._judge(scope)
        answer = response or self.app
        below = dict(scope) | {"path": rest, "raw_path": rest.encode(), "root_path": ""}
        await answer(below, receive, _guarded(send))

    def _judge(self, scope: MutableMapping[str, Any]) -> tuple[Response | None, str]:
        """Return the refusal, if it is one, and the path below the token."""
        headers, path = Headers(scope=scope), scope.get("raw_path") or scope["path"].encode()
        path = path.partition(b"?")[0]
        if scope["method"] not in METHODS:
            return PlainTextResponse("not allowed\n", 405, {"allow": ", ".join(METHODS)}), ""
        if len(path) > LONGEST_PATH:
            return PlainTextResponse("too long\n", 414), ""
        if not self._is_own(headers):
            return PlainTextResponse("forbidden\n", 403), ""
        given, slash, rest = path[1:].partition(b"/")
        if not _PLAIN_PATH.fullmatch(path) or not hmac.compare_digest(given, self.token):
            return PlainTextResponse("not found\n", 404), ""
        if not slash:  # the address without its last letter
            return RedirectResponse(f"/{self.token.decode()}/"), ""
        return None, "/" + rest.decode("ascii")

    def _is_own(self, headers: Headers) -> bool:
        """Whether host, origin and site of a request are this server, or the address bar of a browser."""
        hosts, origins, sites = (headers.getlist(name) for name in ("host", "origin", "sec-fetch-site"))
        return (len(hosts) == 1 and hosts[0].lower() in self.hosts
                and all(origin.lower() == f"http://{hosts[0].lower()}" for origin in origins)
                and all(site in ("same-origin", "none") for site in sites))


def _guarded(send: Send) -> Send:
    """Return `send` with `HEADERS` on every answer."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a web socket, and take part in the server's beginning and end."""
    while scope["type"] == "lifespan":
        phase = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{phase}.complete"})
        if phase == "shutdown":
            return
    await receive()
    await send({"type": "websocket.close", "code": 1008})
