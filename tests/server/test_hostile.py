"""Malicious requests to the real server: each is refused, and no refusal reveals anything."""

import contextlib
import os
import re
import socket
import sys
import urllib.parse

import pytest

SECRET = "the-secret-outside"
LEAKS = (SECRET, "my run", "metrics", "env.json", "Traceback", ".py", "garments", "trainings", "uvicorn", "starlette")


@pytest.fixture(scope="module")
def target(tmp_path_factory, fake_run, watching):
    """(port, token) of a server on a finished run, in a folder with secret files."""
    folder = tmp_path_factory.mktemp("hostile")
    run = fake_run(folder / "my run").begin().done()
    (folder / "secret.png").write_text(SECRET)
    for name in ("notes.txt", ".hidden.png", "page.html"):
        (run.folder.figures / name).write_text(SECRET)
    (run.folder.figures / "folder.png").mkdir()
    if sys.platform != "win32":
        (run.folder.figures / "link.png").symlink_to(folder / "secret.png")
        os.mkfifo(run.folder.figures / "pipe.png")
    with watching(run.path) as address:
        parts = urllib.parse.urlsplit(address)
        yield parts.port, parts.path.strip("/")


def ask(port: int, request: bytes) -> tuple[int, bytes, bytes]:
    """Send raw bytes; return status, head and body of the response."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        line.sendall(request)
        answer = b""
        while part := line.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head, body


def request(port: int, path: str, method: str = "GET", host: str = "127.0.0.1:{port}", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host.format(port=port)}"] if host else []), "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def test_allowed_requests_succeed(target):
    port, token = target
    for path in ("/", "/watch.js", "/watch.css", "/app.js", "/style.css", "/explorer.css", "/report",
                 "/figures/samples.png", "/figures/samples.svg", "/figures/samples.png?time=3"):
        for options in ({}, {"host": "localhost:{port}"}, {"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"},
                        {"Origin": f"http://127.0.0.1:{port}"}, {"method": "HEAD"}):
            status, head, body = ask(port, request(port, f"/{token}{path}", **options))
            assert status == 200 and (body != b"") == (options != {"method": "HEAD"}), (path, options)
            for line in (b"cache-control: no-store", b"x-content-type-options: nosniff", b"x-frame-options: DENY",
                         b"referrer-policy: no-referrer", b"content-security-policy: default-src 'none'"):
                assert line in head, (path, line)
            assert b"set-cookie" not in head and b"access-control" not in head and b"\r\nserver:" not in head


def test_the_address_without_its_last_slash_redirects(target):
    port, token = target
    status, head, _ = ask(port, request(port, f"/{token}"))
    assert status == 307 and f"location: /{token}/".encode() in head


WRONG = {
    "no token": "/",
    "no token, a file": "/events",
    "empty token": "//",
    "another token": "/" + "a" * 43,
    "beginning of the token": "/{token:.42}/",
    "more than the token": "/{token}a/",
    "token in the query": "/?token={token}",
    "token in lower case": "/{lower}/",
    "token after another part": "/a/{token}/",
    "dots": "/{token}/figures/../../secret.png",
    "dots above the token": "/{token}/../{token}/",
    "encoded dots": "/{token}/figures/%2e%2e/%2e%2e/secret.png",
    "encoded slashes": "/{token}/figures/..%2f..%2fsecret.png",
    "encoded twice": "/{token}/figures/%252e%252e%252f%252e%252e%252fsecret.png",
    "overlong dots": "/{token}/figures/%c0%ae%c0%ae/%c0%ae%c0%ae/secret.png",
    "backslashes": "/{token}/figures/..\\..\\secret.png",
    "encoded backslashes": "/{token}/figures/..%5c..%5csecret.png",
    "NUL": "/{token}/figures/samples.png%00.txt",
    "NUL, raw": "/{token}/figures/a\0.png",
    "another drive": "/{token}/figures/C:secret.png",
    "absolute path": "/{token}//etc/passwd",
    "file address": "file:///etc/passwd",
    "proxy request": "http://evil.example/{token}/",
    "a link that leaves": "/{token}/figures/link.png",
    "a pipe": "/{token}/figures/pipe.png",
    "a folder": "/{token}/figures/folder.png",
    "listing": "/{token}/figures/",
    "listing without slash": "/{token}/figures",
    "the log": "/{token}/metrics.jsonl",
    "the environment": "/{token}/env.json",
    "the checkpoints": "/{token}/checkpoints/",
    "not a figure": "/{token}/figures/notes.txt",
    "a hidden file": "/{token}/figures/.hidden.png",
    "a page among the figures": "/{token}/figures/page.html",
    "the source": "/{token}/guard.py",
    "a page that does not exist": "/{token}/report/",
    "upper case": "/{token}/REPORT",
    "parameter": "/{token}/figures/samples.png;a=b",
    "long path": "/{token}/" + "a" * 5000,
    "huge path": "/{token}/" + "a" * 60_000,
    "many parts": "/{token}" + "/a" * 5000,
}


@pytest.mark.parametrize("path", WRONG.values(), ids=WRONG.keys())
def test_paths_that_are_refused(target, path):
    port, token = target
    status = assert_refused(target, request(port, path.format(token=token, lower=token.lower())))
    assert (status == 414) == (len(path) > 4000)


def test_an_endless_path_is_cut_off(target):
    port, token = target
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line, contextlib.suppress(ConnectionError):
        for _ in range(1000):
            line.sendall(b"GET /" + b"a" * 100_000)
        raise AssertionError("100 MB of a path were read")
    assert ask(port, request(port, f"/{token}/"))[0] == 200


FOREIGN = {
    "foreign host": {"host": "evil.example"}, "foreign host, our port": {"host": "evil.example:{port}"},
    "host that begins with ours": {"host": "127.0.0.1.evil.example:{port}"}, "host without port": {"host": "127.0.0.1"},
    "another port": {"host": "127.0.0.1:1"}, "another name of this machine": {"host": "0.0.0.0:{port}"},
    "user in the host": {"host": "127.0.0.1:{port}@evil.example"}, "empty host": {"host": " "}, "no host": {"host": ""},
    "two hosts": {"Host": "evil.example"}, "foreign origin": {"Origin": "https://evil.example"},
    "nobody's origin": {"Origin": "null"}, "origin of another port": {"Origin": "http://127.0.0.1:1"},
    "secure origin": {"Origin": "https://127.0.0.1:{port}"}, "empty origin": {"Origin": ""},
    "from another site": {"Sec_Fetch_Site": "cross-site"}, "from the same site": {"Sec_Fetch_Site": "same-site"},
    "web socket": {"Upgrade": "websocket", "Sec_WebSocket_Key": "x", "Sec_WebSocket_Version": "13",
                   "Origin": "https://evil.example"},
    **{method: {"method": method} for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT",
                                                 "PROPFIND")},
}


@pytest.mark.parametrize("path", ["", "events"])
@pytest.mark.parametrize("options", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_requests_with_the_token_are_refused(target, options, path):
    port, token = target
    values = {name: value.format(port=port) for name, value in options.items()}
    status = assert_refused(target, request(port, f"/{token}/{path}", **values))
    if "method" in options:
        assert status == 405


def test_other_methods_list_the_allowed_ones(target):
    _, head, _ = ask(target[0], request(target[0], f"/{target[1]}/", method="POST"))
    assert b"allow: GET, HEAD" in head


def assert_refused(target: tuple[int, str], sent: bytes) -> int:
    port, token = target
    status, head, body = ask(port, sent)
    assert 400 <= status < 500, head
    assert re.fullmatch(rb"[A-Za-z ]+\.?\n?", body) and len(body) < 40  # a few plain words
    for leak in (*LEAKS, token):
        assert leak.encode() not in head + body
    return status
