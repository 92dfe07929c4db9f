"""The command: what it says, where it listens, how it ends."""

import builtins
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shiftscope.cli import main
from shiftscope.errors import UsageError
from shiftscope.server.guard import new_token
from shiftscope.server.serve import listening, serve


@pytest.fixture
def taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_taken(run, taken, capsys):
    assert main(["watch", str(run.path), "--port", str(taken)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err == (f"error: port {taken} is in use by another program: choose another one with "
                                           "--port, or leave it out for one that is free\n")


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_that_are_none(run, port):
    with pytest.raises(UsageError, match=rf"port must be from 0 to 65535, got {port}"):
        listening(port)


def test_only_this_machine_can_reach_it():
    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1" and listener.getsockname()[1] > 0


def test_a_port_of_the_system(monkeypatch):
    def bind(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", lambda *_: _Socket(bind))
    with pytest.raises(UsageError, match="port 80 is only for the system: choose one from 1024"):
        listening(80)


class _Socket:
    def __init__(self, bind):
        self.bind = bind

    def setsockopt(self, *_): ...

    def close(self): ...


@pytest.mark.parametrize("name, code, says", [
    ("nowhere", 3, "there is no run at "), ("my run/env.json", 3, "is a file, not a run"), (".", 3, "holds no run")])
def test_folders_that_hold_no_run(run, capsys, monkeypatch, name, code, says):
    monkeypatch.chdir(run.path.parent)
    assert main(["watch", name]) == code
    said = capsys.readouterr()
    assert said.out == "" and says in said.err and said.err.startswith("error: ") and said.err.count("\n") == 1


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_extra_it_says_what_to_install(run, capsys, monkeypatch, missing):
    found = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return found(name, *rest)

    for name in [name for name in sys.modules if name.startswith(("shiftscope.server", missing))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["watch", str(run.path)]) == 2
    assert capsys.readouterr().err == (f"error: shiftscope watch needs {missing}, which is not installed: install the "
                                       "extra: pip install 'shiftscope[server]'\n")


def test_open_opens_the_address_that_is_printed(run, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    assert main(["watch", str(run.path), "--open"]) == 0
    assert main(["watch", str(run.path)]) == 0
    printed = capsys.readouterr().out.split()
    assert len(printed) == 2 and opened == printed[:1] and printed[0].startswith("http://127.0.0.1:")


def test_tokens_are_long_and_never_the_same():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100 and {len(token) for token in tokens} == {43}


def test_it_serves_from_a_thread_as_well(run):
    def ready(address):
        raise OSError(address)  # far enough

    with ThreadPoolExecutor(1) as threads, pytest.raises(OSError, match=r"http://127\.0\.0\.1:"):
        threads.submit(serve, run.path, ready=ready).result(30)


INTERRUPTED = """
import signal, sys
from shiftscope.server.serve import serve

class Lost:
    def __del__(self):  # where Python drops exceptions, as it does in parts of an import
        signal.raise_signal(signal.SIGINT)

before = signal.getsignal(signal.SIGINT)
serve(sys.argv[1], ready=lambda address: Lost() and None)
assert signal.getsignal(signal.SIGINT) is before
print("ended")
"""


def test_ctrl_c_before_the_server_runs_ends_it_all_the_same(run):
    command = [sys.executable, "-c", INTERRUPTED, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
