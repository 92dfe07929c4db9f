"""A process that shares a training is killed, for real; or all are asked to stop by Ctrl-C."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from shiftscope.cli import main
from shiftscope.models import TwoFullNet
from shiftscope.runs import RunFolder
from shiftscope.training.state import load_state

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
TRAIN = ["train", "two-full", "--limit", "300", "--epochs", "400", "--out", "run", "--quiet"]
BY_TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "shiftscope", *TRAIN]

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds child processes in /proc")]


def wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def ranks_of(pid: int) -> list[int]:
    """The processes that share the work, by rank, below the one that started them."""
    started = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    ranks = {}
    for one in started:
        variables = Path(f"/proc/{one}/environ").read_bytes().split(b"\0")
        ranks |= {int(value.removeprefix(b"RANK=")): one for value in variables if value.startswith(b"RANK=")}
    return [ranks[rank] for rank in sorted(ranks)]


@contextmanager
def training(line: list[str], folder: Path) -> Iterator[subprocess.Popen]:
    """A training by two processes that has logged two epochs, and so stored the first of them."""
    started = subprocess.Popen([sys.executable, *line], cwd=folder, env=ONE_THREAD, text=True, stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, start_new_session=True)
    log = RunFolder(folder / "run").log
    try:
        wait_for(lambda: len(log.read()) >= 2)
        yield started
    finally:
        for one in (*ranks_of(started.pid), started.pid) if started.poll() is None else ():
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)
        started.communicate()


def epochs_done(folder: Path) -> int:
    stored = load_state(folder / "run/checkpoints/two-full-seed0", torch.device("cpu"), TwoFullNet())
    assert stored is not None
    return stored["state"].epoch


@pytest.mark.parametrize("victim", [0, 1])
def test_all_end_soon_with_one_message_and_the_state_is_kept(tmp_path, victim):
    with training(["-m", "shiftscope", *TRAIN, "--devices", "2"], tmp_path) as launcher:
        ranks = ranks_of(launcher.pid)
        os.kill(ranks[victim], signal.SIGKILL)
        killed = time.monotonic()
        _, said = launcher.communicate(timeout=60)
        assert time.monotonic() - killed < 30
    assert launcher.returncode == 5
    assert said.splitlines() == [
        f"error: process {victim + 1} of 2 was ended by SIGKILL, possibly because memory ran out, and the others were "
        "ended with it; saved checkpoints and results are kept: run the command again, with --resume if it has that "
        "option"]
    assert not any(Path(f"/proc/{one}").exists() for one in ranks)
    assert epochs_done(tmp_path) >= 1


def test_under_torchrun_a_remaining_process_reports_the_loss(tmp_path):
    with training(BY_TORCHRUN, tmp_path) as torchrun:
        os.kill(ranks_of(torchrun.pid)[1], signal.SIGKILL)
        killed = time.monotonic()
        _, said = torchrun.communicate(timeout=60)
        assert time.monotonic() - killed < 30
    assert torchrun.returncode != 0
    ours = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(ours) == 1 and "another of the processes that share the work has ended" in ours[0], said
    assert epochs_done(tmp_path) >= 1


def test_ctrl_c_saves_and_one_process_resumes(tmp_path, monkeypatch, capsys):
    with training(["-m", "shiftscope", *TRAIN, "--devices", "2"], tmp_path) as launcher:
        launcher.send_signal(signal.SIGINT)
        printed, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 130 and printed == ""
    assert len(said.splitlines()) == 1 and "stopped in epoch" in said and "--resume" in said
    done = epochs_done(tmp_path)
    assert 2 <= done < 400
    monkeypatch.chdir(tmp_path)
    assert main([*TRAIN, "--resume", "--max-time", "1s"]) == 0
    assert epochs_done(tmp_path) > done
