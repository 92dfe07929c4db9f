import json
import os
import shutil
import time

import pytest

from shiftscope.progress import SilentProgress
from shiftscope.runs import Job
from shiftscope.runs.current_task import RecordedProgress
from shiftscope.server.run_files import RunFiles
from shiftscope.server.run_state import Watcher, run_state

FIRST, CONTROL, LAST = (Job(model="two-full", seed=0), Job(model="two-full", seed=0, centered=True),
                        Job(model="two-conv", seed=0))


def state_of(run, after: float = 0.0) -> dict:
    """The state of a run, some seconds from now."""
    return run_state(RunFiles(run.path), time.time() + after)


def statuses(state: dict) -> list[str]:
    return [training["status"] for training in state["trainings"]]


def test_a_run_from_start_to_end(run):
    state = state_of(run)
    assert (state["phase"], statuses(state)) == ("training", ["training", "waiting", "waiting"])
    assert [t["title"] for t in state["trainings"]] == ["perceptron", "perceptron, trained centered", "convnet"]
    run.log(FIRST, 1, 2, 3, seconds=2.5)
    state = state_of(run)
    first = state["trainings"][0]
    assert (first["epoch"], first["epochs"], first["images_per_second"], first["seconds_left"]) == (3, 4, 3000, 2.5)
    assert first["best"] == {"epoch": 3, "val_accuracy": 0.625}
    assert first["history"][1] == {"epoch": 2, "train_loss": 1.0, "train_accuracy": 0.375, "val_accuracy": 0.5}
    assert state["message"] == "Training: perceptron (0 of 3 training jobs done)."
    run.log(FIRST, 4)
    assert statuses(state_of(run)) == ["evaluating", "waiting", "waiting"]
    run.finish(FIRST)
    assert statuses(state_of(run)) == ["done", "training", "waiting"]
    for job in (CONTROL, LAST):
        run.log(job, 1, 2, 3, 4)
        run.finish(job)
    run.metrics()
    assert (state_of(run)["phase"], state_of(run)["report"]) == ("finishing", None)
    run.draw("samples.png")
    (run.path / "report.html").write_text("<p>")
    state = state_of(run, after=1e6)  # finished runs are never silent
    assert (state["phase"], state["message"], statuses(state)) == ("done", "Done: 3 training jobs.", ["done"] * 3)
    assert state["report"] and [figure["name"] for figure in state["figures"]] == ["samples.png"]


def test_a_run_that_begins_later(fake_run, tmp_path):
    files = RunFiles(tmp_path / "later")
    watcher = Watcher(files)
    waiting = json.loads(watcher.snapshot().text)
    assert (waiting["phase"], waiting["trainings"], waiting["changed"]) == ("waiting", [], 0)
    assert waiting["message"].startswith("No run was started in this folder yet.")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "later").symlink_to(tmp_path / "elsewhere")
    fake_run(tmp_path / "later").begin()
    assert json.loads(watcher.snapshot().text)["phase"] == "training"
    shutil.rmtree(tmp_path / "elsewhere")
    assert json.loads(watcher.snapshot().text)["phase"] == "missing"  # not "waiting": it had begun


def test_the_current_task(run):
    shown = RecordedProgress(SilentProgress(), run.path)
    task = shown.task("audit convnet (test), brute, 841 placements", 200)
    assert (work := state_of(run)["work"]) is not None and (work["done"], work["total"]) == (0, 200)
    task.pace.begun -= 10
    task.next_write = 0
    task.advance(50, accuracy=0.5)
    work = state_of(run)["work"]
    assert (work["task"], work["unit"], work["done"]) == ("audit convnet (test), brute, 841 placements", "images", 50)
    assert work["rate"] == pytest.approx(5, rel=0.1) and work["seconds_left"] == pytest.approx(30, rel=0.1)
    task.advance(50)  # too soon to be written again
    assert state_of(run)["work"]["done"] == 50
    assert state_of(run, after=1e6)["work"] is None  # a silent run works on nothing
    task.close()
    assert state_of(run)["work"] is None


@pytest.mark.parametrize("change", [
    {"ended": True}, {"ended": "no"}, {"task": 3}, {"unit": None}, {"done": -1}, {"done": 201}, {"total": 0},
    {"total": "many"}, {"done": float("inf")}, {"schema_version": 9}])
def test_an_invalid_task_is_ignored(run, change):
    values = {"schema_version": 2, "task": "t", "unit": "images", "done": 50, "total": 200, "rate": 5.0,
              "seconds_left": 30.0, "ended": False}
    (run.path / "progress.json").write_text(json.dumps(values))
    assert state_of(run)["work"] is not None
    (run.path / "progress.json").write_text(json.dumps(values | change))
    assert state_of(run)["work"] is None


def test_a_task_that_cannot_be_written_does_not_stop_the_work(tmp_path):
    (tmp_path / "progress.json").mkdir()
    task = RecordedProgress(SilentProgress(), tmp_path).task("training", 10)
    task.advance(10)
    task.close()
    assert (tmp_path / "progress.json").is_dir()


def test_the_time_left_follows_the_last_five_epochs(run):
    run.log(FIRST, 1, 2, 3, of=10, seconds=100)
    run.log(FIRST, 4, 5, 6, of=10, seconds=8)
    assert state_of(run)["trainings"][0]["seconds_left"] == 4 * 8


def test_each_seed_is_a_job(run):
    run.begin(models=("two-conv",), seed=3, seeds=2)
    assert [t["title"] for t in state_of(run)["trainings"]] == ["convnet, seed 3", "convnet, seed 4"]


def test_the_train_command_needs_no_report(run):
    run.begin_train("two-conv", seed=7)
    assert [t["key"] for t in state_of(run)["trainings"]] == ["two-conv-seed7"]
    run.finish(Job(model="two-conv", seed=7))
    run.metrics()
    assert (state_of(run)["phase"], state_of(run)["message"]) == ("done", "Done: 1 training job.")


def test_a_run_without_output_becomes_silent_at_the_announced_time(run):
    run.log(FIRST, 1, seconds=2)
    assert state_of(run, after=7)["phase"] == "training"
    state = state_of(run, after=9)
    assert (state["phase"], statuses(state)[0]) == ("silent", "silent")
    assert "No output since" in state["message"] and "--resume" in state["message"]
    assert state["silent_at"] == pytest.approx(state["changed"] + 8)
    run.log(FIRST, 2, 3, seconds=30)  # the usual epoch is now a long one
    assert state_of(run, after=89)["phase"] == "training" and state_of(run, after=91)["phase"] == "silent"
    run.finish(FIRST)  # later work has no log lines
    assert state_of(run, after=170)["phase"] == "training" and state_of(run, after=190)["phase"] == "silent"


def test_a_stopped_training_is_marked_until_it_is_resumed(run):
    run.log(FIRST, 1, 2)
    run.stop(FIRST, epochs=2)
    state = state_of(run, after=1e6)
    assert (state["phase"], statuses(state)[0]) == ("stopped", "stopped")
    assert "perceptron after 2 epochs; continue with the same command and --resume" in state["message"]
    run.log(FIRST, 3)
    assert state_of(run)["phase"] == "training"
    run.stop(CONTROL, epochs=0)  # a checkpoint of a job that has not started is ignored
    assert state_of(run)["phase"] == "training"


def test_a_pause_ends_when_the_run_is_resumed(run):
    run.log(FIRST, 1)
    run.stop(FIRST, epochs=1)
    run.metrics(paused="the run paused")
    state = state_of(run, after=1e6)
    assert (state["phase"], statuses(state)[0]) == ("paused", "paused") and "--max-time" in state["message"]
    os.utime(run.folder.metrics, (1e9, 1e9))
    os.utime(run.folder.checkpoint(FIRST.key) / "config.json", (1e9, 1e9))
    assert state_of(run)["phase"] == "training"


@pytest.mark.parametrize("settings", [True, "run", ["run"], {"run": 3}])
def test_a_finished_run_with_settings_of_another_type(run, settings):
    run.done()
    run.folder.write_environment({"schema_version": 1, "settings": settings})
    assert state_of(run)["phase"] in ("done", "finishing")


def test_histories_of_a_run_without_its_log(run):
    run.metrics(models=[{"name": "two-full", "seed": 0, "trained": "random", "epochs": 2, "history": [
        {"epoch": 1, "train_loss": 1.5, "train_accuracy": 0.5, "val_accuracy": None}, {"epoch": "two"}, 3]}, "strange"])
    first = state_of(run)["trainings"][0]
    assert (first["epoch"], first["epochs"], first["best"], first["images_per_second"]) == (1, 2, None, None)
    assert len(first["history"]) == 1


def test_invalid_log_lines_are_counted_and_ignored(run):
    run.log(FIRST, 1, 2)
    good = state_of(run)["trainings"]
    with (run.path / "metrics.jsonl").open("ab") as log:
        log.write(b"nonsense\n\xff\xfe\n[1, 2]\n" + b"[" * 50_000 + b'\n{"job": 3, "epoch": 1}\n{"job": "a", "epoch": '
                  b'-1}\n{"job": "a", "epoch": true}\n{"job": "a", "epoch": 1e99}\n')
        log.write(json.dumps({"job": FIRST.key, "epoch": 2, "train_loss": "x", "val_accuracy": "high",
                              "epochs": "many", "epoch_seconds": None, "images_per_second": []}).encode() + b"\n")
        log.write(b'{"job": "two-full-seed0", "epoch": 3, "train_lo')  # torn: neither shown nor counted
    state = state_of(run)
    assert state["problems"] == ["8 lines of metrics.jsonl are invalid and ignored."]
    assert state["trainings"][0]["history"] == [good[0]["history"][0], {
        "epoch": 2, "train_loss": None, "train_accuracy": None, "val_accuracy": None}]
    assert state["trainings"][0]["images_per_second"] is None and state["trainings"][0]["epochs"] is None


@pytest.mark.parametrize("settings", [
    None, [], {}, {"run": []}, {"run": {"models": "two-full", "seed": 0, "seeds": 1}},
    {"run": {"models": [], "seed": 0, "seeds": 1}}, {"run": {"models": [1], "seed": 0, "seeds": 1}},
    {"run": {"models": ["a"], "seed": 0, "seeds": 10**12}}, {"run": {"models": ["a"], "seed": 10**400, "seeds": 1}},
    {"model": "a", "training": {"seed": "0"}}, {"checkpoint": "x", "repair": {}}])
def test_settings_without_training_still_show_the_log(run, settings):
    run.folder.write_environment({"schema_version": 1, "settings": settings, "dataset": 3, "started": []})
    state = state_of(run)
    assert (state["phase"], state["trainings"], state["dataset"]) == ("other", [], None)
    run.log(LAST, 1)
    assert [t["key"] for t in state_of(run)["trainings"]] == [LAST.key]


def test_files_of_another_version_are_reported(run):
    run.metrics(schema_version=7)
    run.folder.write_environment({"schema_version": "9" * 50})
    problems = state_of(run)["problems"]
    assert [problem.split(",")[0] for problem in problems] == [
        f"env.json has schema version {'9' * 20}…", "metrics.json has schema version 7"]


def test_a_run_that_is_deleted_and_created_again(run):
    watcher = Watcher(RunFiles(run.path))
    run.log(FIRST, 1)
    before = watcher.snapshot()
    shutil.rmtree(run.path)
    gone = json.loads(watcher.snapshot().text)
    assert (gone["phase"], gone["trainings"], gone["figures"]) == ("missing", [], [])
    run.begin()
    run.log(FIRST, 1)
    back = json.loads(watcher.snapshot().text)
    assert back["phase"] == "training"
    assert back["trainings"] == json.loads(before.text)["trainings"]


def test_a_snapshot_is_reused_until_files_change(run, monkeypatch):
    now = [time.time()]
    watcher = Watcher(RunFiles(run.path), clock=lambda: now[0])
    run.log(FIRST, 1, seconds=1)
    first = watcher.snapshot()
    monkeypatch.setattr("shiftscope.server.run_state.run_state", None)  # reading again would fail
    assert watcher.snapshot() is first
    monkeypatch.undo()
    run.log(FIRST, 2, seconds=1)
    second = watcher.snapshot()
    assert second.id != first.id and Watcher(RunFiles(run.path), clock=lambda: now[0]).snapshot().id == second.id
    now[0] += 11
    silent = watcher.snapshot()
    assert json.loads(silent.text)["phase"] == "silent" and watcher.snapshot() is silent
    assert silent.event() == f"id: {silent.id}\nevent: state\ndata: {silent.text}\n\n" and "\n" not in silent.text
