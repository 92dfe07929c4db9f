"""One line on standard error and the right exit code, whatever goes wrong."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shiftscope import errors
from shiftscope.cli import main

SHIFTSCOPE = [sys.executable, "-m", "shiftscope"]


@pytest.mark.parametrize("error, code, line", [
    (errors.ShiftscopeError("plain"), 1, "error: plain"),
    (errors.OutputError("cannot write x"), 1, "error: cannot write x"),
    (errors.TrainingError("loss is nan"), 1, "error: loss is nan"),
    (errors.UsageError("unknown model"), 2, "error: unknown model"),
    (errors.DataError("corrupt"), 3, "error: corrupt"),
    (errors.CheckpointError("hostile"), 3, "error: hostile"),
    (errors.Interrupted("saved after epoch 3"), 130, "saved after epoch 3"),
    (errors.Interrupted("saved after epoch 3", 143), 143, "saved after epoch 3"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (OSError(errno.ENOSPC, "No space left on device", "figure.png"), 1, "error: figure.png: No space left on device"),
    (ValueError("two\nlines"), 1, "error: unexpected ValueError: two lines (SHIFTSCOPE_DEBUG=1 shows the traceback)"),
    (RecursionError(), 1, "error: unexpected RecursionError:  (SHIFTSCOPE_DEBUG=1 shows the traceback)"),
])
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_errors(workflows, capsys, error, code, line, flags):
    workflows.error = error
    assert main(["run", *flags]) == code
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", line + "\n")


def test_debug_shows_the_traceback_of_unexpected_errors(workflows, capsys, monkeypatch):
    monkeypatch.setenv("SHIFTSCOPE_DEBUG", "1")
    workflows.error = ValueError("strange")
    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("Traceback") and said.endswith("ValueError: strange\n")
    workflows.error = errors.DataError("corrupt")
    assert main(["run"]) == 3
    assert capsys.readouterr().err == "error: corrupt\n"


def shell(*line: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*SHIFTSCOPE, *line], capture_output=True, text=True, timeout=60, check=False, **options)


def test_the_process_returns_the_exit_code():
    done = shell("run", "--epocs", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: Unknown option: --epocs. Did you mean --epochs? (see: shiftscope run --help)\n"


@pytest.mark.skipif(os.name != "posix", reason="pipes close differently on other systems")
@pytest.mark.parametrize("line", [["--help"], ["--version"]])
def test_a_closed_pipe_prints_no_error(line):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run([*SHIFTSCOPE, *line], stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60,
                              check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.skipif(os.name != "posix", reason="pipes close differently on other systems")
def test_a_pipe_closed_before_the_document(workflows, monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["run", "--json"]) == 1
    assert capsys.readouterr().err == ""


def test_a_missing_checkpoint(capsys):
    assert main(["evaluate", "nowhere"]) == 3
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("error: ") and "nowhere" in said.err and said.err.count("\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_on_a_full_disk():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SHIFTSCOPE, "--version"], stdout=full, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False)
    assert (done.returncode, done.stderr) == (
        1, "error: cannot write to standard output: No space left on device; send it to another file or program\n")
