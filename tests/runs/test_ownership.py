"""Which files of a run folder are replaced and removed: those that Shiftscope wrote, and no others."""

import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from shiftscope import files
from shiftscope.errors import OutputError, UsageError
from shiftscope.runs import RunFolder
from shiftscope.runs.manifest import read_manifest, stays_inside

ENVIRONMENT = {"schema_version": 1, "command": ["shiftscope", "run"],
               "settings": {"run": {"models": ["two-full", "my.nets:Net"], "seed": 0, "seeds": 1}}}

OF_0_1 = [
    "env.json", "metrics.json", "metrics.jsonl", "report.html", "figures/samples.png", "figures/curves.svg",
    "figures/accuracy-map.png", "figures/confusion-two-full.png", "figures/class-maps-two-full-centred.svg",
    "figures/weights-my.nets-Net.png", "checkpoints/two-full-seed0/config.json",
    "checkpoints/two-full-centred-seed0/model.safetensors", "checkpoints/my.nets-Net-seed12/training-state.pt",
    "results/two-full-seed0/training/result.json", "results/two-full-seed0/test/arrays.npz",
    "results/two-full-seed0/audit/arrays.npz", "results/two-full-seed0/class-all/neighbours/arrays.npz",
    "results/my.nets-Net-seed0/fc1-0-99/quality/result.json", "results/two-full-seed0/parameters.json"]
"""Some of what release 0.1 writes."""

MINE = [
    "notes.txt", "figures/mine.png", "figures/confusion.png", "figures/weights-other.png", "figures/deep/curves.png",
    "checkpoints/two-full-seed0/notes.txt", "checkpoints/backup/model.safetensors",
    "checkpoints/two-full-seed0-backup/config.json", "results/notes/result.json", "results/two-full-seed0/mine.csv",
    "results/two-full-seed0/training/arrays.npz.bak", "results/backup-two-full-seed0/audit/result.json",
    "mine/env.json"]
"""What a user may have put beside it."""


def fill(folder: Path, names: list[str], text: str = "x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def listed(folder: Path) -> set[str]:
    manifest = read_manifest(folder)
    assert manifest is not None
    return set(manifest.files)


@pytest.fixture
def run(tmp_path):
    """A run folder that this process writes into."""
    found = RunFolder(tmp_path / "run")
    found.claim()
    yield found
    found.release()


def begun(run: RunFolder, names: list[str]) -> None:
    """Leave a run with these files in the folder."""
    run.write_environment(ENVIRONMENT)
    for name in names:
        files.write_text(run.path / name, "ours")


def test_overwrite_removes_only_files_in_the_manifest(run):
    ours = [*(name for name in OF_0_1 if name != "env.json"), "figures/of-a-later-release.png"]
    begun(run, ours)
    assert listed(run.path) == {*ours, "env.json"}
    fill(run.path, MINE, "mine")
    (run.path / "results" / "empty").mkdir()
    run.claim(overwrite=True)
    assert names_in(run.path) == {*MINE, ".lock", "manifest.json"}
    assert all((run.path / name).read_text() == "mine" for name in MINE)
    assert (run.path / "results" / "empty").is_dir()
    assert not (run.path / "checkpoints" / "my.nets-Net-seed12").exists(), "folders that became empty go"


def test_runs_of_0_1_are_replaced_by_exact_file_names(tmp_path):
    fill(tmp_path, OF_0_1)
    (tmp_path / "env.json").write_text(json.dumps(ENVIRONMENT))
    fill(tmp_path, MINE, "mine")
    run = RunFolder(tmp_path)
    with pytest.raises(UsageError, match="already contains a run"):
        run.claim()
    assert not (tmp_path / ".lock").exists() and not (tmp_path / "manifest.json").exists()
    run.claim(overwrite=True)
    run.release()
    assert names_in(tmp_path) == {*MINE, ".lock", "manifest.json"}


def test_resumed_runs_of_0_1_get_a_manifest(tmp_path):
    fill(tmp_path, OF_0_1)
    (tmp_path / "env.json").write_text(json.dumps(ENVIRONMENT))
    fill(tmp_path, MINE, "mine")
    run = RunFolder(tmp_path)
    run.claim(resume=True)
    files.write_text(run.report, "new")
    run.release()
    assert listed(tmp_path) == set(OF_0_1)
    assert run.report.read_text() == "new"


def test_models_of_earlier_calls_are_read_from_the_log(tmp_path):
    fill(tmp_path, ["checkpoints/two-conv-seed3/config.json", "figures/changes-two-conv.png", "figures/changes-x.png"])
    (tmp_path / "env.json").write_text(json.dumps(ENVIRONMENT))
    (tmp_path / "metrics.jsonl").write_text('{"job": "two-conv-seed3", "model": "two-conv", "epoch": 1}\n')
    run = RunFolder(tmp_path)
    run.claim(overwrite=True)
    run.release()
    assert names_in(tmp_path) == {".lock", "manifest.json", "figures/changes-x.png"}


def test_repaired_models_of_0_1_are_replaced(tmp_path):
    ours = ["checkpoints/net-blur-finetuned/config.json", "results/net/audit/result.json", "results/comparison.json",
            "results/net-blur-finetuned/training/result.json", "figures/class-maps-net.png"]
    mine = ["checkpoints/net-blurred/config.json", "results/other/audit/result.json", "figures/class-maps-other.png"]
    fill(tmp_path, ours + mine)
    settings = {"checkpoint": "net", "data": {}, "mend": {"how": "blur", "finetune": 2}}
    (tmp_path / "env.json").write_text(json.dumps(ENVIRONMENT | {"settings": settings}))
    run = RunFolder(tmp_path)
    run.claim(overwrite=True)
    run.release()
    assert names_in(tmp_path) == {*mine, ".lock", "manifest.json"}


@pytest.mark.parametrize("flag", ["resume", "overwrite"])
def test_foreign_files_with_result_names_are_refused_first(run, fingerprint, flag):
    begun(run, ["metrics.jsonl"])
    run.release()
    fill(run.path, ["figures/confusion-two-full.png"], "mine")
    before = fingerprint(run.path)
    with pytest.raises(UsageError, match=r"confusion-two-full.png has the name of a run file but was not"):
        run.claim(resume=flag == "resume", overwrite=flag == "overwrite")
    assert fingerprint(run.path) == before


def test_files_created_during_a_run_are_not_replaced(run):
    begun(run, ["metrics.jsonl"])
    fill(run.path, ["figures/new.png"], "mine")
    with pytest.raises(OutputError, match=r"new\.png was not written by Shiftscope; move it .* continue with --resume"):
        files.write_text(run.path / "figures" / "new.png", "ours")
    assert (run.path / "figures" / "new.png").read_text() == "mine"
    (run.path / "metrics.jsonl").unlink()
    (run.path / "metrics.jsonl").symlink_to(run.path / "figures" / "new.png")
    with pytest.raises(OutputError, match="metrics.jsonl was not written"):
        run.log.append({"job": "a", "epoch": 1})
    assert (run.path / "figures" / "new.png").read_text() == "mine"


def test_only_shiftscope_reports_are_replaced(run):
    begun(run, ["metrics.jsonl"])
    fill(run.path, ["report.html"], '<!DOCTYPE html><meta name="generator" content="Shiftscope">')
    run.claim(resume=True)
    files.write_text(run.report, "new")
    begun(run, [])
    other = RunFolder(run.path.with_name("other"))
    other.claim()
    other.write_environment(ENVIRONMENT)
    fill(other.path, ["report.html"], "<html>my notes</html>")
    with pytest.raises(UsageError, match="report.html has the name"):
        other.claim(resume=True)


def test_a_table_of_images_of_another_program_is_not_replaced(run):
    begun(run, ["metrics.jsonl"])
    fill(run.path, ["images.csv"], "mine")
    for options in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(UsageError, match=r"images\.csv has the name of a run file but was not written"):
            run.claim(**options)
    assert run.images.read_text() == "mine"


def test_edited_results_still_belong_to_the_run(run):
    begun(run, ["metrics.json"])
    run.metrics.write_text("edited")
    run.claim(overwrite=True)
    assert not run.metrics.exists()


# ---------------------------------------------------------------------- manifests from strangers

@pytest.mark.parametrize("name", ["../victim", "/etc/passwd", "figures/../../victim", "", ".", "a//b", "./a", "C:/x",
                                  "..\\victim", "a\0b", "figures/"])
def test_manifest_names_outside_the_folder_are_ignored(run, name):
    assert not stays_inside(name)
    victim = run.path.with_name("victim")
    victim.write_text("mine")
    begun(run, ["metrics.json"])
    stored = json.loads((run.path / "manifest.json").read_text())
    absolute = str(victim) if name.startswith("/") else name
    (run.path / "manifest.json").write_text(json.dumps(stored | {"files": ["metrics.json", "env.json", absolute]}))
    run.claim(overwrite=True)
    assert victim.read_text() == "mine" and not run.metrics.exists()


def test_symbolic_links_are_not_followed(run, tmp_path):
    begun(run, ["figures/curves.png", "metrics.json"])
    fill(tmp_path / "pictures", ["curves.png"], "mine")
    (run.figures / "curves.png").unlink()
    run.figures.rmdir()
    run.figures.symlink_to(tmp_path / "pictures")
    for flag in ("resume", "overwrite"):
        with pytest.raises(UsageError, match=r"figures is a symbolic link, which is not followed"):
            run.claim(resume=flag == "resume", overwrite=flag == "overwrite")
    assert run.metrics.exists() and (tmp_path / "pictures" / "curves.png").read_text() == "mine"


def test_links_in_place_of_results_are_kept(run, tmp_path):
    begun(run, ["figures/old.png", "metrics.json"])
    fill(tmp_path, ["precious.png"], "mine")
    (run.figures / "old.png").unlink()
    (run.figures / "old.png").symlink_to(tmp_path / "precious.png")
    run.claim(overwrite=True)
    assert (run.figures / "old.png").is_symlink() and (tmp_path / "precious.png").read_text() == "mine"


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"schema_version": 2}', "[" * 100_000, '{"files": 3}',
                                  '{"schema_version": 1, "kind": "shiftscope-manifest", "pid": 1, "host": "a", '
                                  '"files": [1]}', '{"name": "My app", "icons": []}'])
def test_foreign_manifests_are_refused(run, fingerprint, text):
    begun(run, ["metrics.json"])
    run.release()
    (run.path / "manifest.json").write_text(text)
    before = fingerprint(run.path)
    for flag in ("resume", "overwrite"):
        with pytest.raises(UsageError, match=r"manifest.json is damaged or was written by another release or program"):
            RunFolder(run.path).claim(resume=flag == "resume", overwrite=flag == "overwrite")
    assert fingerprint(run.path) == before


@pytest.mark.parametrize("name", ["env.json", "manifest.json", "metrics.jsonl"])
def test_pipes_are_not_read(tmp_path, name):
    (tmp_path / "env.json").write_text(json.dumps(ENVIRONMENT))
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError):
        RunFolder(tmp_path).claim(overwrite=True)


# ---------------------------------------------------------------------- locks

@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_file_systems_without_locks_cause_a_warning(tmp_path, monkeypatch, number):
    def refuse(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    notes, run = [], RunFolder(tmp_path / "run")
    run.claim(note=notes.append)
    begun(run, ["metrics.json"])
    run.release()
    assert len(notes) == 1 and "does not support locks" in notes[0] and os.strerror(number) in notes[0]
    assert listed(run.path) == {"env.json", "metrics.json"}
    run.claim(resume=True, note=notes.append)
    run.release()


def test_a_claim_ends_with_its_release(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.claim()
    with pytest.raises(UsageError, match=f"is in use by process {os.getpid()}; wait until it ends"):
        second.claim()
    first.release()
    second.claim()
    second.release()
    files.write_text(tmp_path / "run" / "free.txt", "nobody asks any more")


def test_lock_holders_on_other_machines_are_named(tmp_path):
    first = RunFolder(tmp_path / "run")
    first.claim()
    stored = json.loads((tmp_path / "run" / "manifest.json").read_text())
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(stored | {"host": "elsewhere", "pid": 77}))
    with pytest.raises(UsageError, match="is in use by process 77 on elsewhere"):
        RunFolder(tmp_path / "run").claim()
    first.release()


@pytest.mark.parametrize("blocked", ["lock is a folder", "lock is a link", "parent is a file"])
def test_folders_that_cannot_be_locked_are_refused(tmp_path, blocked):
    run = RunFolder(tmp_path / "run")
    if blocked == "parent is a file":
        (tmp_path / "run").write_text("")
        run = RunFolder(tmp_path / "run" / "below")
    elif blocked == "lock is a folder":
        (tmp_path / "run" / ".lock").mkdir(parents=True)
    else:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OutputError, match="cannot write into"):
        run.claim()
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folders_are_refused(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim()
    begun(run, [])
    run.release()
    (tmp_path / "run").chmod(0o555)
    (tmp_path / "run" / ".lock").chmod(0o444)
    with pytest.raises(OutputError, match="cannot write"):
        run.claim(resume=True)
    (tmp_path / "run").chmod(0o755)
