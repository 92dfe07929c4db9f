"""Runs `shiftscope` in forked processes whose standard streams are closed or poor, as a process may begin with them.

Usage: forked_commands.py, then JSON lines {"line", "closed", "encoding", "gone"} on standard input: the words of the
command, the numbers of the streams that are closed, the encoding of the open ones, and whether the current folder is to
be a deleted one. For each, it prints a JSON line {"code", "out", "err"}. This process has imported what commands need.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import torch._dynamo  # noqa: F401

import shiftscope.workflows.report.page
import shiftscope.workflows.train_models
import shiftscope.workflows.visualize_checkpoint  # noqa: F401
from shiftscope.cli import main

NAMES = ("stdin", "stdout", "stderr")


def stream(number: int, closed: bool, encoding: str | None):
    """What Python would make of a standard stream at its start."""
    if closed:
        os.close(number)
        return None
    return open(number, "r" if number == 0 else "w", encoding=encoding, closefd=False,
                errors="backslashreplace" if number == 2 else "strict")


def child(case: dict, files: list[int]) -> int:
    for number, handle in zip((1, 2), files, strict=True):
        os.dup2(handle, number)
        os.close(handle)
    for number, name in enumerate(NAMES):
        made = stream(number, number in case["closed"], case["encoding"])
        setattr(sys, name, made)
        setattr(sys, f"__{name}__", made)
    if case["gone"]:
        folder = tempfile.mkdtemp()
        os.chdir(folder)
        Path(folder).rmdir()
    code = main(case["line"])
    for made in (sys.stdout, sys.stderr):
        if made is not None:
            made.flush()
    return code


def run(case: dict) -> dict:
    files = [os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR) for _ in range(2)]
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = child(case, files)
        except BaseException as error:
            os.write(2, repr(error).encode())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    output = [os.pread(handle, 10**6, 0).decode("utf-8", "replace") for handle in files]
    for handle in files:
        os.close(handle)
    return {"code": os.waitstatus_to_exitcode(status), "out": output[0], "err": output[1]}


for text in sys.stdin:
    print(json.dumps(run(json.loads(text))), flush=True)
