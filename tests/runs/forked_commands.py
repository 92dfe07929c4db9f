"""Runs commands in processes of their own, forked from this one, which has imported everything and computed nothing.

Reads lines of JSON on standard input: {"line": [...], "cwd": ..., "log": ..., "kill_at": N}; prints the process's
number for each. The process writes its standard output and error to LOG.out and LOG.err, and its exit code to LOG.code
as its last act. Lines that begin with "!" are the functions below, others are command lines of Shiftscope. With
`kill_at`, the process kills itself with SIGKILL at its n-th write, fsync, rename, removal or creation of a file or
folder; LOG.calls holds how many there were.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import torch._dynamo  # noqa: F401  (an optimizer's first step would import it)

import shiftscope.workflows.audit_model
import shiftscope.workflows.train_models
import shiftscope.workflows.use_checkpoint  # noqa: F401
from shiftscope.cli import main
from shiftscope.runs import RunFolder

CHANGES = ("write", "fsync", "replace", "unlink", "rmdir", "mkdir", "open")
REAL = {name: getattr(os, name) for name in CHANGES}
calls = 0


def deadly(name: str, kill_at: int):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return REAL[name](*arguments, **options)

    return call


def begin_run(folder: str, flag: str = "") -> int:
    """Claim a folder and leave there what a very short run would."""
    run = RunFolder(folder)
    run.claim(resume=flag == "--resume", overwrite=flag == "--overwrite")
    run.write_environment({"schema_version": 1, "command": [], "settings": {"run": {"models": ["net"]}}})
    run.log.append({"job": "net-seed0", "model": "net", "epoch": 1})
    for path in (run.checkpoint("net-seed0") / "training-state.pt", run.figures / "curves.png", run.report):
        from shiftscope import files

        files.write_text(path, "ours")
    run.release()
    return 0


def claim_and_fork(folder: str) -> int:
    """Claim a folder, start a worker by fork, and wait for the end."""
    RunFolder(folder).claim(resume=True)
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    Path(folder, "forked").touch()
    time.sleep(30)
    return 1


FUNCTIONS = {"!begin": begin_run, "!claim-and-fork": claim_and_fork}


def child(line: list[str], cwd: str, log: str, kill_at: int) -> None:
    os.chdir(cwd)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT), number)
    for name in CHANGES if kill_at else ():
        setattr(os, name, deadly(name, kill_at))
    code = FUNCTIONS[line[0]](*line[1:]) if line[0] in FUNCTIONS else main(line)
    sys.stdout.flush()
    sys.stderr.flush()
    for name, real in REAL.items():
        setattr(os, name, real)
    Path(f"{log}.calls").write_text(str(calls))
    Path(f"{log}.code").write_text(str(code))


signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the processes: the system removes them
for text in sys.stdin:
    asked = json.loads(text)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            child(asked["line"], asked["cwd"], asked["log"], asked["kill_at"])
        finally:
            os._exit(0)
    print(pid, flush=True)
