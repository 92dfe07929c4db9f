"""`shiftscope doctor` on a whole and on a broken machine."""

import json
import sys
from pathlib import Path

import pytest

from shiftscope.cli import main
from shiftscope.workflows import doctor


def test_the_json_document(capsys):
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 2
    assert found["versions"]["python"].startswith("3.")
    assert found["versions"]["torch"] and found["versions"]["cyclopts"]
    assert "pytest" not in found["versions"]
    assert found["system"]["cores"] >= 1 and found["torch_threads"] >= 1
    assert found["devices"][0]["name"] == "cpu"


def test_the_table(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "problems", lambda findings, error: [{"problem": "it rains", "remedy": "wait"}])
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "problem: it rains; wait"
    assert any(line.split()[:1] == ["torch"] for line in lines)
    monkeypatch.setattr(doctor, "problems", lambda findings, error: [])
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no problems found"


def test_folders(tmp_path, monkeypatch, capsys):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("b.gz", "a.gz", ".hidden"):
        (data / name).touch()
    monkeypatch.setenv("SHIFTSCOPE_DATA_DIR", str(data))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["doctor", "--json"]) == 0
    first, *rest = json.loads(capsys.readouterr().out)["folders"]
    assert (first["role"], first["path"], first["holds"]) == ("SHIFTSCOPE_DATA_DIR", str(data), ["a.gz", "b.gz"])
    assert first["exists"] and first["writable"]
    assert [folder["role"] for folder in rest] == ["cache"]


def test_a_missing_data_folder(tmp_path):
    found = doctor.examine(tmp_path / "nowhere")
    folder = next(folder for folder in found["folders"] if folder["role"] == "--data-dir")
    assert (folder["exists"], folder["writable"], folder["holds"]) == (False, True, [])
    assert any(f"{tmp_path / 'nowhere'} does not exist" in item["problem"] for item in found["problems"])


def test_a_broken_torch_installation(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = doctor.examine()
    assert found["torch_threads"] is None and found["devices"] == []
    problem = found["problems"][0]
    assert problem["problem"].startswith("PyTorch does not import (ModuleNotFoundError")
    assert main(["doctor"]) == 0
    assert "unknown threads for torch" in capsys.readouterr().out


def whole(**changes):
    return {"versions": {"torch": "2"}, "devices": [{"name": "cpu"}], "folders": [], "browser": "/bin/chromium",
            "system": {"memory_free": 2**34, "load": [0.1, 0.1, 0.1], "cores": 2}} | changes


@pytest.fixture
def no_driver(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)


def test_a_complete_installation_has_no_problems(no_driver):
    assert doctor.problems(whole(), None) == []


@pytest.mark.parametrize("changes, problem, remedy", [
    ({"versions": {"pooch": None}}, "pooch is not installed", "pip install pooch"),
    ({"system": {"memory_free": 2**29, "load": None, "cores": 2}}, "only 0.5 GB of memory are free", "--limit"),
    ({"system": {"memory_free": None, "load": [9.0, 1.0, 1.0], "cores": 2}}, "busy (load 9.0)", "wait"),
    ({"folders": [{"role": "cache", "path": "/c", "exists": False, "writable": False, "free": 2**40, "holds": []}]},
     "the cache folder /c is not writable and has no dataset", "--data-dir"),
    ({"folders": [{"role": "cache", "path": "/c", "exists": True, "writable": True, "free": 2**20, "holds": []}]},
     "only 1 MB are free in the cache folder /c", "free some space"),
])
def test_problems_and_remedies(no_driver, changes, problem, remedy):
    (found,) = doctor.problems(whole(**changes), None)
    assert problem in found["problem"] and remedy in found["remedy"]


def test_an_unused_driver_is_reported(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    (found,) = doctor.problems(whole(), None)
    assert found["remedy"] == "install a CUDA build of PyTorch"
    assert doctor.problems(whole(devices=[{"name": "cpu"}, {"name": "cuda:0"}]), None) == []


def test_no_browser(no_driver, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    (found,) = doctor.problems(whole(browser=None), None)
    assert found["problem"] == "no browser is on the PATH"


def test_only_a_few_files_of_a_folder_are_named(tmp_path, capsys):
    for number in range(9):
        Path(f"file{number}").touch()
    assert main(["doctor", "--data-dir", "."]) == 0
    assert "file5 and 3 more" in " ".join(capsys.readouterr().out.split())
