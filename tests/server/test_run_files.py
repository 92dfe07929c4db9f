import os
import sys

import pytest

from shiftscope.errors import CheckpointError
from shiftscope.server.run_files import RunFiles

links = pytest.mark.skipif(sys.platform == "win32", reason="links and pipes are for some users only on Windows")


def test_a_run_may_begin_later(tmp_path, run):
    found = RunFiles(tmp_path / "my rum")
    assert not found.begun and found.traces() == () and found.figures() == {}
    assert found.waiting_note() == (f"there is no run at {tmp_path / 'my rum'} yet, so the page waits for it to begin; "
                                    "did you mean 'my run'? Ctrl-C ends the wait")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".lock").touch()
    assert not RunFiles(tmp_path / "empty").begun
    assert RunFiles(run.path).begun and RunFiles(run.path).waiting_note() is None


def test_folders_in_which_no_run_can_begin(tmp_path, run):
    with pytest.raises(CheckpointError, match="env.json is a file, not a run: pass the folder"):
        RunFiles(run.path / "env.json")
    with pytest.raises(CheckpointError, match=r"is not a run because it has no env.json, and it contains other files"):
        RunFiles(tmp_path)


@links
def test_nothing_outside_the_folder_is_read(tmp_path, run):
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.png").write_bytes(b"secret")
    run.draw("real.png")
    for name, target in (("link.png", "../../secret.txt"), ("inside.png", "real.png"), ("loop.png", "loop.png")):
        (run.folder.figures / name).symlink_to(target)
    os.mkfifo(run.folder.figures / "pipe.png")
    (run.folder.figures / "folder.png").mkdir()
    (run.path / "results").symlink_to(tmp_path / "outside")
    found = RunFiles(run.path)
    assert found.read("figures", "real.png") == found.read("figures", "inside.png") == run.pixel
    for parts in (("figures", "link.png"), ("figures", "loop.png"), ("figures", "pipe.png"), ("figures", "folder.png"),
                  ("results", "a.png"), ("..", "secret.txt"), (str(tmp_path / "secret.txt"),), ("a\0b",),
                  ("figures", "x" * 5000)):
        assert found.read(*parts) is None and found.time(*parts) is None
    assert list(found.figures()) == ["inside.png", "real.png"]


def test_large_files_are_ignored(run, monkeypatch):
    (run.path / "report.html").write_text("12345")
    found = RunFiles(run.path)
    assert found.read("report.html") == b"12345"
    monkeypatch.setitem(RunFiles.read.__globals__, "MAX_BYTES", 4)
    assert found.read("report.html") is None


def test_figures_are_sorted_by_time_without_duplicates(run):
    run.draw("samples.png", "samples.svg", "print.svg", "curves.png", "notes.txt", ".hidden.png")
    for place, name in enumerate(("curves.png", "samples.png", "print.svg")):
        os.utime(run.folder.figures / name, (1000 + place, 1000 + place))
    assert RunFiles(run.path).figures() == {"curves.png": 1000, "samples.png": 1001, "print.svg": 1002}


@pytest.mark.parametrize("text, why", [
    *((text, "is ignored because it is not a JSON object") for text in ("{", "[1]", "[" * 100_000)),
    ('{"schema_version": 3}', "schema version 3, this release reads version 2"), ("{}", "schema version None")])
def test_unusable_documents_have_a_message(run, text, why):
    (run.path / "metrics.json").write_text(text)
    values, problem = RunFiles(run.path).document("metrics.json")
    assert values is None and problem is not None and problem.startswith("metrics.json ") and why in problem
