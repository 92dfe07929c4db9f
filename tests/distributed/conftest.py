"""Real processes, started as `torchrun` starts them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Ranks:
    """Processes of one group, each with a command line of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.started: list[subprocess.Popen] = []

    def start(self, *lines: list[str], port: int) -> None:
        for rank, line in enumerate(lines):
            variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                         "MASTER_PORT": str(port)}
            self.started.append(subprocess.Popen([sys.executable, *line], cwd=self.folder, env=ONE_THREAD | variables,
                                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))

    def ends(self) -> list[tuple[int, str, str]]:
        """Return exit code, standard output and standard error of each, once all have ended."""
        said = [process.communicate(timeout=90) for process in self.started]
        return [(process.returncode, *both) for process, both in zip(self.started, said, strict=True)]


@pytest.fixture
def ranks(tmp_path) -> Iterator[Ranks]:
    group = Ranks(tmp_path)
    yield group
    for process in group.started:
        process.kill()
        process.communicate()
