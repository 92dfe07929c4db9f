"""The command: messages, address, and end."""

import builtins
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from shiftscope.cli import main
from shiftscope.errors import UsageError
from shiftscope.server.serve import listening, serve


@pytest.fixture
def taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_taken_port_is_an_error(run, taken, capsys):
    assert main(["watch", str(run.path), "--port", str(taken)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"error: port {taken} is in use by another program: choose another --port, or omit it\n"


@pytest.mark.parametrize("port", [-1, 65536])
def test_invalid_ports_raise(run, port):
    with pytest.raises(UsageError, match=rf"port must be from 0 to 65535, got {port}"):
        listening(port)


def test_the_server_listens_on_this_machine_only():
    with listening(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1" and listener.getsockname()[1] > 0


def test_a_system_port_raises(monkeypatch):
    def bind(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "socket", lambda *_: _Socket(bind))
    with pytest.raises(UsageError, match="port 80 is reserved for the system: choose one from 1024"):
        listening(80)


class _Socket:
    def __init__(self, bind):
        self.bind = bind

    def setsockopt(self, *_): ...

    def close(self): ...


@pytest.mark.parametrize("name, code, message", [
    ("my run/env.json", 3, "is a file, not a run"), (".", 3, "is not a run because it has no env.json, and it")])
def test_folders_without_a_run(run, capsys, monkeypatch, name, code, message):
    monkeypatch.chdir(run.path.parent)
    assert main(["watch", name]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and message in captured.err
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_a_run_that_never_begins_is_awaited_until_ctrl_c(tmp_path):
    server = subprocess.Popen([sys.executable, "-m", "shiftscope", "watch", str(tmp_path / "later")], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert server.stdout is not None and server.stderr is not None
    assert server.stdout.readline().startswith("http://127.0.0.1:")
    assert server.stderr.readline() == (f"there is no run at {tmp_path / 'later'} yet, so the page waits for it to "
                                        "begin; Ctrl-C ends the wait\n")
    server.send_signal(signal.SIGINT)
    assert server.communicate(timeout=30) == ("", "") and server.returncode == 0
    assert not (tmp_path / "later").exists()


@pytest.mark.parametrize("missing", ["uvicorn", "starlette"])
def test_without_the_extra_the_message_names_it(run, capsys, monkeypatch, missing):
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


def test_open_opens_the_printed_address_with_a_random_token(run, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("uvicorn.Server.run", lambda server, sockets: None)
    assert main(["watch", str(run.path), "--open"]) == 0
    assert main(["watch", str(run.path)]) == 0
    printed = capsys.readouterr().out.split()
    assert len(printed) == 2 and opened == printed[:1] and printed[0].startswith("http://127.0.0.1:")
    tokens = {address.split("/")[3] for address in printed}
    assert len(tokens) == 2 and {len(token) for token in tokens} == {43}


def test_serving_from_a_thread(run):
    def ready(address):
        raise OSError(address)  # ends the server

    with ThreadPoolExecutor(1) as threads, pytest.raises(OSError, match=r"http://127\.0\.0\.1:"):
        threads.submit(serve, run.path, ready=ready).result(30)


INTERRUPTED = """
import signal, sys
from shiftscope.server.serve import serve

class Lost:
    def __del__(self):  # Python ignores exceptions here, as in parts of an import
        signal.raise_signal(signal.SIGINT)

before = signal.getsignal(signal.SIGINT)
serve(sys.argv[1], ready=lambda address: Lost() and None)
assert signal.getsignal(signal.SIGINT) is before
print("ended")
"""


def test_ctrl_c_before_the_server_runs_ends_it(run):
    command = [sys.executable, "-c", INTERRUPTED, str(run.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
