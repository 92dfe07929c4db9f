import json

import pytest

from shiftscope import files
from shiftscope.errors import CheckpointError, OutputError, UsageError
from shiftscope.runs import EpochLog, MetricsLog, RunFolder, find_checkpoint, slug


def test_incomplete_lines_are_ignored_and_later_epochs_removed(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for job, epoch in (("a", 1), ("a", 2), ("b", 1), ("a", 3)):
        log.append({"job": job, "epoch": epoch, "loss": float("nan")})
    with log.path.open("a") as stream:
        stream.write('{"job": "a", "ep')
    assert [(r["job"], r["epoch"]) for r in log.read()] == [("a", 1), ("a", 2), ("b", 1), ("a", 3)]
    log.truncate("a", 1)
    assert [(r["job"], r["epoch"]) for r in log.read()] == [("a", 1), ("b", 1)]
    log.append({"job": "a", "epoch": 2})
    assert [json.loads(line)["epoch"] for line in log.path.read_text().splitlines()] == [1, 1, 2]


def test_invalid_epochs_do_not_stop_a_resumed_job(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_text("\n".join(('{"job": "a", "epoch": "2"}', '{"job": "a"}', '{"job": 3, "epoch": []}',
                                   '{"job": "a", "epoch": 1}', "[" * 9999, "")))
    log.truncate("a", 1)
    assert log.read() == [{"job": 3, "epoch": []}, {"job": "a", "epoch": 1}]


@pytest.mark.parametrize("text", ["[]", "3", "{", '{"settings": []}', '{"resumed": 3}', '{"resumed": [3]}', "\ud800"])
def test_a_damaged_environment_is_named(text, tmp_path):
    (tmp_path / "env.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(CheckpointError, match=r"env.json cannot be read \(.*\); train again with --overwrite"):
        RunFolder(tmp_path).read_environment()


def test_unicode_line_ends_stay_within_a_line(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append({"job": "a\u2028b\x85c", "epoch": 1})
    assert log.read() == [{"job": "a\u2028b\x85c", "epoch": 1}]


def test_log_lines_contain_the_speed(tmp_path, monkeypatch):
    moments = iter([10.0, 12.0, 16.0])
    monkeypatch.setattr("shiftscope.runs.log.time.perf_counter", lambda: next(moments))
    log = MetricsLog(tmp_path / "metrics.jsonl")
    epochs = EpochLog(log, {"job": "a"}, epochs=9, images=100, done=60)  # resumed after 60 of 100 images
    epochs.add({"epoch": 4})
    epochs.add({"epoch": 5})
    assert log.read() == [
        {"job": "a", "epoch": 4, "epochs": 9, "epoch_seconds": 2.0, "images_per_second": 20.0},
        {"job": "a", "epoch": 5, "epochs": 9, "epoch_seconds": 4.0, "images_per_second": 25.0}]


def test_existing_runs_are_kept_by_default(tmp_path):
    run = RunFolder(tmp_path / "out")
    run.claim()
    run.write_environment({"settings": {}})
    files.write_bytes(run.path / "figures" / "old.png", b"x")
    (run.path / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match=r"already contains a run; continue it with --resume, .* --overwrite"):
        run.claim()
    run.claim(resume=True)
    assert (run.path / "figures" / "old.png").exists()
    run.claim(overwrite=True)
    assert not (run.path / "figures").exists() and not run.holds_run
    assert (run.path / "mine.txt").read_text() == "keep"
    run.release()


def test_unusable_folders_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; choose a folder"):
        RunFolder(tmp_path / "file").claim()
    with pytest.raises(UsageError, match="is not empty and does not contain a run"):
        RunFolder(tmp_path).claim()
    with pytest.raises(OutputError, match="cannot write into"):
        RunFolder(tmp_path / "file" / "below").claim()


def test_checkpoints_are_found_in_a_run(tmp_path):
    one, two = (tmp_path / "checkpoints" / name for name in ("one", "two"))
    one.mkdir(parents=True)
    (one / "config.json").write_text("{}")
    assert find_checkpoint(tmp_path) == one == find_checkpoint(one)
    two.mkdir()
    (two / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="contains 2 checkpoints; choose one"):
        find_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint at .*did you mean 'one'"):
        find_checkpoint(tmp_path / "checkpoints" / "onee")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        find_checkpoint(tmp_path / "checkpoints")


def test_model_names_become_file_names():
    assert slug("pkg.mod:Net") == "pkg.mod-Net" and slug("../..") == "model"
