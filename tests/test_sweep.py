"""The sweep of examples/ can be shared by processes and resumed after a kill."""

import csv
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

pytest.importorskip("optuna", reason="needs Optuna, see the extra [tune]")
SWEEP = Path(__file__).parents[1] / "examples" / "sweep.py"


def start(folder: Path, trials: int, *more: str) -> subprocess.Popen[str]:
    line = [sys.executable, str(SWEEP), "--data", "garments:400,100", "--epochs", "1", "--trials", str(trials),
            "--out", str(folder), *more]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> str:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output


def numbers(output: str) -> set[int]:
    return {int(number) for number in re.findall(r"^trial (\d+)", output, flags=re.M)}


def test_a_killed_sweep_resumes_and_is_shared_by_processes(tmp_path):
    folder = tmp_path / "sweep"
    killed = start(folder, 100)
    assert killed.stdout is not None
    next(line for line in killed.stdout if line.startswith("trial 0: "))
    killed.kill()
    killed.communicate()
    pair = [start(folder, 12) for _ in range(2)]
    outputs = [finish(process) for process in pair]
    before = [int(re.match(r"(\d+) of 12 trials are done", text)[1]) for text in outputs]
    assert min(before) >= 1
    own = [numbers(text) for text in outputs]
    assert not own[0] & own[1] and all(before)
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    accuracy = [float(row["val_accuracy"]) for row in rows]
    assert len(rows) in (12, 13) and accuracy == sorted(accuracy, reverse=True) and accuracy[0] > accuracy[-1]
    found = {int(row["trial"]) for row in rows}
    assert 0 in found - own[0] - own[1] and len((own[0] | own[1]) - found) <= 1  # one may have ended after the table
    assert len({row["learning_rate"] for row in rows}) == len(rows)  # nothing was tried twice
    assert f"validation {accuracy[0]:.1%}   test " in outputs[0] + outputs[1]
    with Image.open(folder / "sweep.png") as picture:
        assert picture.format == "PNG" and len(picture.convert("L").getcolors()) > 50


def test_a_sweep_with_other_settings_is_rejected(tmp_path, monkeypatch):
    import optuna

    storage = f"sqlite:///{tmp_path / 'mine.db'}"
    study = optuna.create_study(study_name="small-network", storage=storage)
    study.set_user_attr("asked", {"data": "fashion-mnist"})
    monkeypatch.setattr(sys, "argv", ["sweep.py", "--storage", storage, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match=r"was started with .*, not with .* use the same settings or"):
        runpy.run_path(str(SWEEP), run_name="__main__")
