"""Trains in separate processes, each of which may be killed with SIGKILL at its n-th write, fsync or rename.

Usage: killed_trainer.py NPZ_FILE, then lines "OUT_FOLDER KILL_AT" on standard input (KILL_AT 0: never). For each, it
prints the process's number, then "STATUS CALLS": minus the signal or the exit code, and how many such calls there were.
Processes are forked from this one, which has imported everything and computed nothing, so each takes a moment only.
"""

import os
import signal
import sys
from pathlib import Path

import torch._dynamo  # noqa: F401  (an optimizer's first step would: most of the time that a process takes)

from shiftscope.progress import SilentProgress
from shiftscope.settings import DataSettings, TrainSettings
from shiftscope.workflows.train_models import train_one

calls = 0
REAL = {name: getattr(os, name) for name in ("write", "fsync", "replace")}


def deadly(name: str, kill_at: int):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == kill_at:
            if name == "write":  # half a write is the worst of it
                REAL["write"](arguments[0], arguments[1][: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return REAL[name](*arguments, **options)

    return call


def child(out: str, kill_at: int, report: int) -> None:
    for name in REAL:
        setattr(os, name, deadly(name, kill_at))
    settings = TrainSettings(epochs=2, batch_size=50, optimizer="sgd", learning_rate=0.05, momentum=0.9, seed=7)
    train_one("two-conv", DataSettings(data=f"npz:{sys.argv[1]}"), settings, device="cpu", out=Path(out), resume=True,
              progress=SilentProgress())
    REAL["write"](report, str(calls).encode())


for line in sys.stdin:
    folder, kill_at_text = line.rsplit(" ", 1)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            child(folder, int(kill_at_text), writing)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    os.close(writing)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    counted = os.read(reading, 20).decode() or "0"
    os.close(reading)
    print(os.waitstatus_to_exitcode(status), counted, flush=True)
