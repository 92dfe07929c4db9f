"""Run folders in real processes: what a refused command changes (nothing), locks, and folders that vanish."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

LONG = 100_000
"""Epochs of a training that is killed before it ends."""


def epochs(folder: Path) -> list[int]:
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line)["epoch"] for line in text.split("\n")[:-1]]


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "checkpoints" / "two-full-seed0" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def training(commands, train_line, tmp_path, wait_for):
    """A training that goes on: the process and its folder."""
    folder = tmp_path / "run"
    process = commands.start(*train_line(folder, LONG))
    wait_for(lambda: len(epochs(folder)) >= 2)
    yield process, folder
    process.kill()


@pytest.mark.parametrize("command, flags", [
    ("train", ()), ("train", ("--overwrite",)), ("run", ("--resume",))])
def test_folders_with_other_files_are_refused_unchanged(commands, train_line, data, tmp_path, fingerprint,
                                                              command, flags):
    for name in (".x.part", "deep/er/.y.part", ".metrics.json.abcdefgh.part", "deep/.env.json.abcdefgh.part", ".lock",
                 "thesis.tex"):
        (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mine" / name).write_text("mine")
    (tmp_path / "mine" / "empty").mkdir()
    before = fingerprint(tmp_path / "mine")
    line = train_line(tmp_path / "mine", 1, *flags) if command == "train" else [
        command, "--data", f"npz:{data}", "--canvas", "12", "--quiet", "--out", tmp_path / "mine", *flags]
    code, said = commands.run(*line, cwd=tmp_path)
    assert code == 2 and "is not empty and does not contain a run" in said
    assert fingerprint(tmp_path / "mine") == before
    assert list(tmp_path.iterdir()) == [tmp_path / "mine"], "nor is anything made beside it"


@pytest.mark.parametrize("text", ['{"PATH": "/usr/bin"}', "[" * 100_000])
def test_foreign_env_json_does_not_mark_a_run(commands, train_line, tmp_path, fingerprint, text):
    (tmp_path / "env.json").write_text(text)
    (tmp_path / "metrics.json").write_text("mine")
    (tmp_path / "results").mkdir()
    before = fingerprint(tmp_path)
    for flag in ("--resume", "--overwrite"):
        code, said = commands.run(*train_line(tmp_path, 1, flag))
        assert code == 2 and "does not contain a run" in said
    assert fingerprint(tmp_path) == before


def test_refused_commands_do_not_affect_a_training(commands, train_line, data, training):
    process, folder = training
    (folder / "checkpoints" / ".x.part").write_text("mine")
    tried = [commands.start(*train_line(folder, LONG, *flags)) for flags in ((), ("--resume",), ("--overwrite",))]
    tried.append(commands.start(*train_line(folder.parent, 1)))
    tried.append(commands.start("run", "--data", f"npz:{data}", "--quiet", "--out", folder / "checkpoints"))
    assert [other.wait() for other in tried] == [2] * 5
    assert process.runs() and (folder / "checkpoints" / ".x.part").exists()
    for other in tried[1:3]:
        assert f"is in use by process {process.pid}; wait until it ends" in other.said()
    done = epochs(folder)
    assert done == list(range(1, len(done) + 1))


def test_concurrent_resumes_write_each_epoch_once(commands, train_line, training):
    process, folder = training
    process.kill()
    both = [commands.start(*train_line(folder, LONG, "--resume", "--max-time", "3s")) for _ in range(2)]
    assert sorted(str(one.wait()) for one in both) == ["0", "2"]
    done = epochs(folder)
    assert done == list(range(1, len(done) + 1))


def test_partial_files_are_removed_and_foreign_ones_kept(commands, train_line, training):
    process, folder = training
    process.kill()
    checkpoint = folder / "checkpoints" / "two-full-seed0"
    ours = [checkpoint / ".training-state.pt.abcd_123.part", folder / ".manifest.json.abcd_123.part"]
    others = [folder / ".x.part", checkpoint / ".notes.txt.abcd_123.part", folder / ".metrics.json.part",
              folder / "mine" / ".metrics.json.abcd_123.part"]
    for path in ours + others:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    done = len(epochs(folder))
    assert commands.run(*train_line(folder, LONG, "--resume", "--max-time", "1s"))[0] == 0
    assert not any(path.exists() for path in ours)
    assert all(path.read_text() == "half" for path in others)
    assert epochs(folder) == list(range(1, len(epochs(folder)) + 1)) and len(epochs(folder)) > done


def test_surviving_workers_do_not_keep_the_lock(commands, train_line, tmp_path, wait_for):
    process = commands.start("!claim-and-fork", tmp_path / "run")
    wait_for((tmp_path / "run" / "forked").exists)
    assert f"in use by process {process.pid}" in commands.run(*train_line(tmp_path / "run", 1, "--resume"))[1]
    (tmp_path / "run" / "forked").unlink()
    process.kill()
    code, said = commands.run(*train_line(tmp_path / "run", 1, "--resume"))
    assert code == 0, said


@pytest.mark.parametrize("loss", ["removed", "renamed", "replaced", "unlocked"])
def test_removed_folders_end_the_training_with_one_sentence(training, loss):
    process, folder = training
    elsewhere = folder.with_name("elsewhere")
    if loss == "unlocked":
        (folder / ".lock").unlink()
    else:
        folder.rename(elsewhere)
    if loss == "removed":
        shutil.rmtree(elsewhere)
    if loss == "replaced":
        folder.mkdir()
    assert process.wait() == 1
    said = process.said()
    assert f"error: the folder {folder} was removed or renamed" in said
    assert len(said.splitlines()) == 1 and len(said) < 400 + len(str(folder))
    if loss in ("removed", "renamed"):
        assert not folder.exists(), "it is not made again"
    if loss == "replaced":
        assert not list(folder.iterdir())
    if loss == "unlocked":
        assert not list(folder.rglob("*.part"))


def test_renamed_folders_can_be_resumed(commands, train_line, training):
    process, folder = training
    folder.rename(folder.with_name("new"))
    process.wait()
    done = epochs(folder.with_name("new"))
    code, said = commands.run(*train_line(folder.with_name("new"), LONG, "--resume", "--max-time", "1s"))
    assert code == 0, said
    again = epochs(folder.with_name("new"))
    assert again == list(range(1, len(again) + 1)) and len(again) > len(done)
    assert not list(folder.with_name("new").rglob("*.part")), "a write that the renaming cut off leaves nothing"


def test_resuming_with_other_settings_changes_nothing(commands, train_line, tmp_path, fingerprint):
    folder = tmp_path / "run"
    assert commands.run(*train_line(folder, 2))[0] == 0
    for name in (".lock", "manifest.json"):
        (folder / name).unlink()  # as release 0.1 left it
    before = fingerprint(folder)
    code, said = commands.run(*train_line(folder, 2, "--resume", "--seed", "3"))
    assert code == 2 and "was started with seed 0, now 3" in said
    assert fingerprint(folder) == before


def test_reading_commands_do_not_change_an_active_run(commands, train_line, training, tmp_path):
    process, folder = training
    (folder / "figures").mkdir()
    (folder / "figures" / ".curves.png.abcd_123.part").write_text("half")
    assert commands.run("report", folder, "--out", tmp_path / "page.html")[0] == 3, "there are no results yet"
    assert process.runs() and (folder / "figures" / ".curves.png.abcd_123.part").exists()


@pytest.mark.parametrize("flag", ["--overwrite", "--resume"])
def test_runs_killed_at_the_start_can_be_started_again(commands, tmp_path, flag):
    def prepared(name: str) -> Path:
        folder = tmp_path / name
        assert commands.run("!begin", folder)[0] == 0
        (folder / "figures" / "mine.txt").write_text("mine")
        return folder

    first = commands.start("!begin", prepared("first"), flag, kill_at=10**9)
    assert first.wait() == 0
    calls = int(first.said("calls"))
    assert calls >= 20
    for kill_at in range(1, calls + 1, max(1, calls // 12)):
        folder = prepared(str(kill_at))
        assert commands.run("!begin", folder, flag, kill_at=kill_at)[0] is None
        assert (folder / "figures" / "mine.txt").read_text() == "mine"
        code, said = commands.run("!begin", folder, flag)
        assert code == 0, f"killed at call {kill_at}: {said}"
        assert (folder / "figures" / "mine.txt").read_text() == "mine"
        assert json.loads((folder / "manifest.json").read_text())["files"] == [
            "checkpoints/net-seed0/training-state.pt", "env.json", "figures/curves.png", "metrics.jsonl", "report.html"]
        assert not list(folder.rglob("*.part"))
