"""Excessive clients of the real server: too many connections, endless requests, unread responses."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from shiftscope.server.limits import MAX_CONNECTIONS, max_connections

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and signals of POSIX")

IMPATIENT = """
import sys
from shiftscope.cli import main
from shiftscope.server import limits
limits.HEADER_SECONDS = limits.READ_SECONDS = 2.0
sys.exit(main(["watch", sys.argv[1]]))
"""

LIMITED = """
import os, resource, sys
files, held = int(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
from shiftscope.cli import main
from shiftscope.server import serve, limits, pages  # later imports would need free files
kept = [os.open(os.devnull, os.O_RDONLY) for _ in range(held)]
sys.exit(main(["watch", sys.argv[1]]))
"""


class Server:
    """A server in its own process."""

    def __init__(self, script: str, folder: Path, *arguments: int):
        self.process = subprocess.Popen([sys.executable, "-c", script, str(folder), *map(str, arguments)], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        self.address = urllib.parse.urlsplit(self.process.stdout.readline().strip())
        assert self.address.port, self.process.communicate(timeout=10)[1]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.address.port), timeout=10)

    def request(self, path: str = "", *headers: str) -> bytes:
        lines = [f"GET {self.address.path}{path} HTTP/1.1", f"Host: {self.address.netloc}", *headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def status(self, path: str = "") -> int:
        with self.connect() as line:
            line.sendall(self.request(path, "Connection: close"))
            return int(receive_head(line).split(b" ")[1])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, float]:
        """Send a signal; return the exit code, standard error, and the seconds until the end."""
        started = time.monotonic()
        self.process.send_signal(number)
        errors = self.process.communicate(timeout=20)[1]
        return self.process.returncode, errors, time.monotonic() - started


def receive_head(line: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and (part := line.recv(65536)):
        head += part
    return head


def closed_after(line: socket.socket, *, drip: bytes = b"", most: float = 12.0) -> float:
    """Return the seconds until the server closes a connection, while `drip` is sent repeatedly."""
    started = time.monotonic()
    line.settimeout(0.1)
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - started < most:
            if drip:
                line.sendall(drip)
            with contextlib.suppress(TimeoutError):
                if not line.recv(65536):
                    break
    return time.monotonic() - started


@contextlib.contextmanager
def running(script: str, folder: Path, *arguments: int) -> Iterator[Server]:
    server = Server(script, folder, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture(scope="module")
def impatient(tmp_path_factory, fake_run):
    """A server with time limits of two seconds, on a finished run with a large report."""
    folder = tmp_path_factory.mktemp("limits") / "run"
    fake_run(folder).begin().done(report="<!DOCTYPE html>" + "x" * 20_000_000)
    with running(IMPATIENT, folder) as server:
        yield server
        assert server.end(signal.SIGINT)[:2] == (0, "")


SLOW = {"nothing": (b"", b""), "part of a request": (b"GET /", b""), "one letter at a time": (b"GET /", b"a"),
        "one header at a time": (b"GET / HTTP/1.1\r\n", b"a: b\r\n")}


@pytest.mark.parametrize("begin, drip", SLOW.values(), ids=SLOW.keys())
def test_an_endless_request_is_dropped(impatient, begin, drip):
    with impatient.connect() as line:
        line.sendall(begin)
        assert 1.5 < closed_after(line, drip=drip) < 8


def test_an_endless_second_request_is_dropped(impatient):
    with impatient.connect() as line:
        line.sendall(impatient.request())
        assert receive_head(line).startswith(b"HTTP/1.1 200")
        assert 1.5 < closed_after(line, drip=b"G") < 8


def test_an_endless_body_is_dropped(impatient):
    with impatient.connect() as line:
        line.sendall(impatient.request("", "Content-Length: 1000000000"))
        assert receive_head(line).startswith(b"HTTP/1.1 200")
        assert closed_after(line, drip=b"x") < 8


def test_a_client_that_does_not_read_is_dropped(impatient):
    with impatient.connect() as line:
        line.sendall(impatient.request("report"))
        time.sleep(4)
        received = 0
        with contextlib.suppress(ConnectionError):
            while part := line.recv(2**20):
                received += len(part)
        assert received < 20_000_000


def test_a_half_closed_connection_is_dropped(impatient):
    with impatient.connect() as line:
        line.sendall(b"GET / HT")
        line.shutdown(socket.SHUT_WR)
        assert closed_after(line) < 1.5


def test_a_request_of_a_megabyte_is_refused(impatient):
    with impatient.connect() as line, contextlib.suppress(ConnectionError):
        line.sendall(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000)
        assert receive_head(line).startswith(b"HTTP/1.1 400")


def test_an_open_page_stays_connected(impatient):
    with impatient.connect() as line:
        line.sendall(impatient.request("events"))
        assert receive_head(line).startswith(b"HTTP/1.1 200")
        assert closed_after(line, most=4) >= 4


def test_small_responses_are_not_delayed(impatient):
    """With Nagle's algorithm each would wait 40 ms for the acknowledgement of its head."""
    times = []
    with impatient.connect() as line:
        for _ in range(20):
            started = time.perf_counter()
            line.sendall(impatient.request("style.css"))
            head, _, body = receive_head(line).partition(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])
            while len(body) < length:
                body += line.recv(65536)
            times.append(time.perf_counter() - started)
    assert min(times) < 0.02


def test_many_connections_do_not_block_the_page(impatient):
    with contextlib.ExitStack() as stack:
        lines = [stack.enter_context(impatient.connect()) for _ in range(2 * MAX_CONNECTIONS)]
        for line in lines[::2]:  # kept alive after an answer, or never used
            line.sendall(impatient.request("watch.css"))
        assert impatient.status() == 200


def test_event_streams_do_not_block_the_page(impatient):
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CONNECTIONS // 2):
            line = stack.enter_context(impatient.connect())
            line.sendall(impatient.request("events"))
            assert receive_head(line).startswith(b"HTTP/1.1 200")
        assert impatient.status("events") == 503
        assert impatient.status() == 200
    deadline = time.monotonic() + 10
    while (status := stream_status(impatient)) == 503 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 200


def stream_status(server: Server) -> int:
    with server.connect() as line:
        line.sendall(server.request("events"))
        return int(receive_head(line).split(b" ")[1])


@pytest.mark.parametrize("files, held", [(40, 0), (64, 44)], ids=["few files", "fewer files than connections"])
def test_without_free_files_one_message_is_written(run, files, held):
    with running(LIMITED, run.path, files, held) as server, contextlib.ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(server.connect())
        time.sleep(1)
        assert server.status() == 200
        code, errors, seconds = server.end()
        assert (code, seconds < 5) == (-signal.SIGTERM, True)
        assert errors.count("no connection can be opened (Too many open files): clients must wait") == (held > 0)
        assert errors.count("\n") == (held > 0)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_ends_the_server_with_any_clients(run, number, code):
    with running(IMPATIENT, run.path) as server, contextlib.ExitStack() as stack:
        lines = [stack.enter_context(server.connect()) for _ in range(4)]
        for line, sent in zip(lines, (b"", b"GET /", server.request("events"), server.request()), strict=True):
            line.sendall(sent)
        assert receive_head(lines[2])
        ended, errors, seconds = server.end(number)
        assert (ended, errors) == (code, "") and seconds < 5


def test_the_limit_depends_on_the_process(monkeypatch):
    import resource

    for allowed, most in ((resource.RLIM_INFINITY, 64), (1024, 64), (40, 16), (8, 4)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, allowed=allowed: (allowed, allowed))
        assert max_connections() == most
