"""`--devices 2` and torchrun's variables: the command line in several processes, its messages and its bad inputs."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from torch.distributed import HashStore

from shiftscope.cli import main
from shiftscope.distributed.group import Group
from shiftscope.distributed.together import Team
from shiftscope.errors import UsageError
from shiftscope.models import load
from shiftscope.results import Audit

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
TRAIN = ["train", "two-full", "--limit", "300", "--seed", "1"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv on Windows")]


def shiftscope(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "shiftscope", *arguments], cwd=cwd, env=ONE_THREAD, timeout=120,
                          capture_output=True, text=True, check=False)


def errors(text: str) -> list[str]:
    """The lines with errors."""
    return [line for line in text.splitlines() if line.startswith("error:") or "Traceback" in line or "[E" in line]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A perceptron trained by two processes."""
    folder = tmp_path_factory.mktemp("trained")
    done = shiftscope(*TRAIN, "--epochs", "2", "--out", "two", "--devices", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["two/checkpoints/two-full-seed1"]  # said once
    assert "epoch 2" in done.stderr and done.stderr.count("took") == 1 and not errors(done.stderr)
    return folder / "two/checkpoints/two-full-seed1"


def test_two_processes_write_one_checkpoint_that_loads(checkpoint):
    assert sum(value.numel() for value in load(checkpoint).parameters()) > 300_000
    assert [part.name for part in checkpoint.parent.iterdir()] == ["two-full-seed1"]


def test_the_script_of_the_page_on_scale_runs(checkpoint, ranks, free_port, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    script, = (block for block in re.findall(r"^```python\n(.*?)^```", page, flags=re.M | re.S) if "in_step" in block)
    (tmp_path / "ckpt").symlink_to(checkpoint)
    (tmp_path / "script.py").write_text(script)
    ranks.start(["script.py"], ["script.py"], port=free_port)
    (code, printed, _), second = ranks.ends()
    assert code == second[0] == 0 and second[1] == ""
    mean, worst = map(float, printed.split())
    assert 0 <= worst < mean < 1


def test_an_audit_by_two_processes_equals_that_by_one(checkpoint, tmp_path, capsys):
    common = ["audit", str(checkpoint), "--limit", "40", "--engine", "brute", "--quiet"]
    done = shiftscope(*common, "--out", "two", "--devices", "2", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "" and done.stdout.count("worst-case accuracy") == 1
    assert main([*common, "--out", str(tmp_path / "one")]) == 0
    two, one = Audit.load(tmp_path / "two"), Audit.load(tmp_path / "one")
    assert (two.predictions == one.predictions).all() and two.ties == one.ties and two.images == 40
    assert two.accuracy_map.tolist() == one.accuracy_map.tolist() and two.intervals == one.intervals


def test_arguments_that_cannot_be_sent_are_refused_before_sending():
    team = Team(Group(rank=0, size=2), HashStore(), None)
    with pytest.raises(UsageError, match="shown cannot be shared among processes.*define models and functions at"):
        team.lead(shown, {"what": lambda: 3}, ())


def shown(what):
    return what


LINE = ["-m", "shiftscope", *TRAIN, "--epochs", "1", "--quiet", "--out", "run"]


def test_different_arguments_are_refused_by_all_and_reported_once(ranks, free_port, tmp_path):
    ranks.start(LINE, [*LINE, "--batch-size", "50"], port=free_port)
    ends = ranks.ends()
    assert [code for code, _, _ in ends] == [2, 2]
    said = [line for _, _, text in ends for line in errors(text)]
    assert len(said) == 1 and "process 1 was started as" in said[0] and "--batch-size 50" in said[0]
    assert not (tmp_path / "run").exists()


def test_different_versions_are_refused(ranks, free_port, tmp_path):
    (tmp_path / "older.py").write_text(
        "import sys, shiftscope, shiftscope.cli\n"
        "shiftscope.__version__ = '0.0.1'\n"
        f"sys.exit(shiftscope.cli.main({LINE[2:]}))\n")
    ranks.start(LINE, ["older.py"], port=free_port)
    ends = ranks.ends()
    assert [code for code, _, _ in ends] == [2, 2]
    said = [line for _, _, text in ends for line in errors(text)]
    assert len(said) == 1 and "process 1 runs shiftscope 0.0.1" in said[0] and "install the same versions" in said[0]


def test_devices_must_equal_the_number_of_started_processes(ranks, free_port):
    ranks.start(*[[*LINE, "--devices", "3"]] * 2, port=free_port)
    ends = ranks.ends()
    said = [line for _, _, text in ends for line in errors(text)]
    assert ends[0][0] == 2 and len(said) == 1
    assert "devices must equal the number of started processes, 2, got 3" in said[0]


def test_a_port_in_use_is_named(ranks, free_port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        ranks.start(LINE, port=free_port)
        first = ranks.ends()[0]
    assert first[0] == 2 and len(errors(first[2])) == 1
    assert f"the port of 127.0.0.1:{free_port} is in use" in first[2] and "MASTER_PORT" in first[2]


def test_an_error_in_one_process_ends_both_and_is_reported_once(ranks, free_port, tmp_path):
    (tmp_path / "broken.py").write_text(
        "import sys\n"
        "import shiftscope.data.base as base\n"
        "from shiftscope.cli import main\n"
        "from shiftscope.errors import DataError\n"
        "def gather(self, indices):\n"
        "    raise DataError('the disk of this process is broken')\n"
        "base.Subset.gather = gather\n"
        f"sys.exit(main({LINE[2:]}))\n")
    ranks.start(LINE, ["broken.py"], port=free_port)
    ends = ranks.ends()
    assert ends[1][0] == 3 and ends[0][0] == 5
    assert [line for _, _, text in ends for line in errors(text)] == ["error: the disk of this process is broken"]


def test_processes_stay_in_step_after_an_error_in_all(ranks, free_port, tmp_path):
    (tmp_path / "goes_on.py").write_text(
        "import sys\n"
        "import shiftscope\n"
        "from shiftscope.cli import processes\n"
        "from shiftscope.errors import UsageError\n"
        "from shiftscope.models import build_model\n"
        "def command():\n"
        "    data, place = shiftscope.load_dataset('garments').limit(40), shiftscope.Placement(image=(28, 28), "
        "canvas=(56, 56))\n"
        "    model = build_model('two-full')\n"
        "    try:\n"
        "        shiftscope.train(model, data, placement=place, settings=shiftscope.TrainSettings(batch_size=1))\n"
        "    except UsageError as error:\n"
        "        print(error)\n"
        "    print(shiftscope.evaluate(model, data, placement=place).images)\n"
        "    return 0\n"
        "sys.exit(processes.run_together(sys.argv, command))\n")
    ranks.start(["goes_on.py"], ["goes_on.py"], port=free_port)
    (code, printed, said), second = ranks.ends()
    assert code == second[0] == 0 and said == second[1] == second[2] == ""
    assert printed.splitlines() == ["batch_size must be at least the number of processes, 2, each of which computes"
                                    " a part of every batch, got 1", "40"]


@pytest.mark.parametrize("variables, line, expected", [
    ({}, ["--devices", "0"], "devices must be an integer of at least 1, got 0"),
    ({"RANK": "0", "WORLD_SIZE": "many"}, [], "the variable WORLD_SIZE must be an integer of at least 1"),
    ({"RANK": "0", "WORLD_SIZE": "2"}, [], "RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT must be those that torchrun"),
])
def test_invalid_settings_are_refused(variables, line, expected, monkeypatch, capsys):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main([*TRAIN, *line]) == 2
    said = capsys.readouterr().err
    assert expected in said and len(said.splitlines()) == 1


def test_torchrun_with_one_process_runs_alone(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert main([*TRAIN, "--epochs", "1", "--quiet", "--out", str(tmp_path / "run")]) == 0
