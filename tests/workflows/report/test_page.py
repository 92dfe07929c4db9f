"""A report of the folders that commands write, and the errors for invalid folders."""

import base64
import json
import re
import shutil
import zlib

import numpy as np
import pytest
import torch

import shiftscope
from shiftscope.cli import main
from shiftscope.data import load_dataset
from shiftscope.errors import CheckpointError, UsageError
from shiftscope.progress import SilentProgress
from shiftscope.results import Audit, Evaluation, TrainResult
from shiftscope.results.image_table import to_csv
from shiftscope.runs.records import find_records, unfinished
from shiftscope.workflows.report.gather import load_stored_model, merged, read_run
from shiftscope.workflows.report.page import report, report_runs

pytestmark = pytest.mark.slow

QUIET = SilentProgress()


@pytest.fixture(scope="module")
def runs(done, npz, tmp_path_factory):
    """The folder of a run, and small folders of other commands, by the command's name."""
    folder, checkpoints = tmp_path_factory.mktemp("small"), done[0] / "checkpoints"
    lines = {"train": ["train", "two-full", "--data", f"npz:{npz}", "--canvas", "24x26", "--epochs", "1", "--out"],
             "audit": ["audit", str(checkpoints / "two-full-seed4"), "--data", f"npz:{npz}", "--limit", "30", "--out"],
             "evaluate": ["evaluate", str(checkpoints / "two-conv-seed4"), "--data", f"npz:{npz}", "--out"],
             "visualize": ["visualize", str(checkpoints / "two-full-seed4"), "class:top", "--neighbors", "0",
                           "--steps", "3", "--out"],
             "repair": ["repair", str(checkpoints / "two-conv-seed4"), "--data", f"npz:{npz}", "--method", "recenter",
                      "--out"]}
    for name, line in lines.items():
        assert main([*line, str(folder / name), "--quiet"]) == 0, name
    return {name: folder / name for name in lines} | {"run": done[0]}


@pytest.fixture
def copied(done, tmp_path):
    """A copy of a run's results to damage, without its checkpoints and figures."""
    for name in ("env.json", "metrics.json"):
        (tmp_path / "copy").mkdir(exist_ok=True)
        shutil.copy(done[0] / name, tmp_path / "copy" / name)
    for name in ("training", "test", "train", "audit"):
        shutil.copytree(done[0] / "results" / "two-conv-seed4" / name,
                        tmp_path / "copy" / "results" / "two-conv-seed4" / name)
    return tmp_path / "copy"


def made(tmp_path, *folders, **options):
    return report_runs(folders, out=tmp_path / "page.html", progress=QUIET, **options).read_text()


def payloads(html):
    """All JSON documents of the page."""
    return [json.loads(text) for text in re.findall(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', html,
                                                   re.DOTALL)]


def explorer(html):
    """The groups of the explorer."""
    for document in payloads(html):
        found = document.get("groups") or (document.get("explorer") or {}).get("groups")
        if found:
            return found
    raise AssertionError("the page has no explorer")


@pytest.fixture(scope="module")
def again(done, tmp_path_factory):
    """A second report of the run."""
    return made(tmp_path_factory.mktemp("again"), done[0])


def test_the_report_of_a_run_can_be_made_again(done, again):
    out = (done[0] / "report.html").read_text()
    for text in ("perceptron", "convnet", "All parameters of the convnet", "trained centered", "default-src 'none'"):
        assert text in again and text in out
    assert again.count("<img") == out.count("<img") and explorer(again) == explorer(out)


def test_models_of_several_folders_are_shown_side_by_side(runs, tmp_path):
    html = made(tmp_path, runs["repair"], runs["train"], runs["audit"], title="Mine <b>")
    assert "Mine &lt;b&gt;" in html
    (group,) = explorer(html)
    assert [model["model"] for model in group["models"]] == ["two-conv", "two-conv-recenter", "perceptron (audit)"]
    assert "perceptron (train)" in html  # it may be another one than the audited model
    numbers = group["images"]["numbers"]
    assert len(numbers) == 24 and numbers[:12] == list(range(12))


def test_the_audit_of_one_model_counts_once(runs):
    found = merged([read_run(runs["run"]), read_run(runs["repair"]), read_run(runs["audit"])])
    audits = [one.record.model for one in found.stored if isinstance(one.record, Audit)]
    assert sorted(audits) == sorted(["two-full", "two-full", "two-conv"] * 2 + ["two-conv-recenter"])


def test_seeds_in_different_folders_remain_seeds(done, runs, tmp_path):
    for seed in (4, 5):
        job = f"two-full-seed{seed}"
        shutil.copytree(done[0] / "results" / job, tmp_path / f"seed{seed}" / "results" / job)
    first, second = (read_run(tmp_path / f"seed{seed}") for seed in (4, 5))
    assert {one.record.model for one in merged([first, second]).stored} == {"two-full"}
    other = merged([first, read_run(runs["train"])])
    assert {one.record.model for one in other.stored} == {"perceptron (seed4)", "perceptron (train)"}


@pytest.mark.parametrize("name, text", [
    ("train", "Training curves"), ("audit", "Accuracy by position"), ("evaluate", "Confusion matrix"),
    ("visualize", "Class visualizations")])
def test_each_command_leaves_enough_for_a_page(runs, tmp_path, name, text):
    html = made(tmp_path, runs[name])
    assert text in html and html.startswith("<!DOCTYPE html>")


def test_a_folder_given_twice_counts_once(runs, tmp_path):
    html = made(tmp_path, runs["train"], runs["train"].parent / "audit" / ".." / "train")
    assert "A folder that was given twice counts once." in html and "perceptron (" not in html


def test_a_model_is_loaded_with_the_placement_of_its_audit(done, npz):
    stored = next(one for one in find_records(done[0]) if isinstance(one.record, Audit))
    model = load_stored_model(stored, None, "cpu", QUIET)
    assert model.placement.to_dict() == stored.record.placement and len(model.data.test) == 60
    with pytest.raises(CheckpointError, match="there is no checkpoint for"):
        load_stored_model(type(stored)(stored.record, stored.folder, stored.folder), None, "cpu", QUIET)


def test_an_unfinished_run_is_shown_with_a_list_of_missing_results(copied, tmp_path):
    shutil.rmtree(copied / "results" / "two-conv-seed4" / "audit")
    shutil.rmtree(copied / "results" / "two-conv-seed4" / "test")
    html = made(tmp_path, copied)
    assert "is not finished: two-conv-seed4 has no results test, audit yet; continue with shiftscope run" in html
    assert "is not finished: two-full-seed5 has no results training, test, train, audit yet" in html
    assert len(list(unfinished(copied))) == 6


def test_a_finished_run_has_no_missing_results(done):
    assert list(unfinished(done[0])) == []


def damage_json(folder):
    path = folder / "results" / "two-conv-seed4" / "test" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"class_names": 7}))


def damage_arrays(folder):
    path = folder / "results" / "two-conv-seed4" / "audit" / "arrays.npz"
    path.write_bytes(path.read_bytes()[:-2000])


def other_version(folder):
    path = folder / "results" / "two-conv-seed4" / "training" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 3}))


def damage_figure(folder):
    (folder / "figures").mkdir()
    (folder / "figures" / "samples.png").write_bytes(b"\x89PNG no picture")


@pytest.mark.parametrize("damage, message", [
    (damage_json, "class_names: expected array, got int; create it again"),
    (damage_arrays, "cannot read a result from"),
    (other_version, "schema version 3, this release reads version 2"),
    (damage_figure, "samples.png cannot be read"),
    (lambda folder: (folder / "metrics.json").write_text("[]"),
     "metrics.json cannot be read (expected object, got array)"),
    (lambda folder: (folder / "metrics.json").write_text('{"schema_version": 9}'), "has schema version 9"),
    (lambda folder: (folder / "env.json").write_text('{"schema_version": 1, "settings": {"run": {"seeds": "x"}}}'),
     "does not contain the settings of a run"),
    (lambda folder: (folder / "env.json").write_text("{"), "env.json cannot be read"),
    (lambda folder: (folder / "results" / "parameters.json").write_text('{"schema_version": 1, "parameters": [3]}'),
     "does not hold a table of parameters"),
])
def test_a_damaged_folder_raises_an_error(copied, tmp_path, damage, message, capsys):
    damage(copied)
    assert main(["report", str(copied), "--out", str(tmp_path / "page.html"), "--quiet"]) == 3
    output = capsys.readouterr()
    assert message in output.err and output.err.count("\n") == 1 and output.out == ""
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("make, code, message", [
    (lambda path: path.mkdir(), 3, "contains no results; give a folder"),
    (lambda path: path.write_text("x"), 2, "is a file; give the folder"),
    (lambda path: (path / "results").mkdir(parents=True) or (path / "env.json").write_text('{"schema_version": 1}'), 3,
     "contains no results yet, because no job of its run is finished"),
    (lambda path: path.with_name("folders").mkdir(), 3, "did you mean 'folders'?"),
])
def test_a_folder_without_results_raises_an_error(tmp_path, make, code, message, capsys):
    make(tmp_path / "folder")
    assert main(["report", str(tmp_path / "folder"), "--out", str(tmp_path / "page.html")]) == code
    assert message in capsys.readouterr().err and not (tmp_path / "page.html").exists()


def test_a_report_needs_a_folder(capsys):
    assert main(["report"]) == 2 and "report needs at least one folder" in capsys.readouterr().err


def test_an_existing_page_is_replaced_only_with_overwrite(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert main(["report", str(runs["train"]), "--out", str(page)]) == 2
    assert "already exists: replace it with --overwrite" in capsys.readouterr().err and page.read_text() == "mine"
    assert main(["report", str(runs["train"]), "--out", str(page), "--overwrite", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema_version": 2, "report": str(page)}
    assert page.read_text() != "mine"
    assert main(["report", str(runs["train"]), "--out", str(tmp_path)]) == 2
    assert "is a folder: give the file for the page" in capsys.readouterr().err


def test_the_table_of_images_is_beside_the_page(runs, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["report", str(runs["audit"]), "--out", str(page), "--quiet"]) == 0
    table = tmp_path / "page-images.csv"
    record = Audit.load(runs["audit"])
    assert table.read_text() == to_csv([record])
    page.unlink()
    table.write_text("mine")
    for options, words in (([], "page-images.csv already exists; replace it with --overwrite"),
                           (["--overwrite"], "was not written by Shiftscope")):
        assert main(["report", str(runs["audit"]), "--out", str(page), "--quiet", *options]) == 2
        assert words in capsys.readouterr().err and table.read_text() == "mine" and not page.exists()


def test_nothing_remains_of_a_page_that_cannot_be_written(runs, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert main(["report", str(runs["train"]), "--out", str(tmp_path / "file" / "page.html"), "--quiet"]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_results_of_different_datasets_raise_an_error(runs, tmp_path):
    one = Evaluation.load(runs["evaluate"])
    other = Evaluation(**(vars(one) | {"dataset": "garments"}))
    with pytest.raises(UsageError, match="different datasets, bars and garments: make one report for each"):
        report([one, other], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_from_python_in_any_order(done, tmp_path):
    results = done[0] / "results" / "two-full-seed4"
    records = [TrainResult.load(results / "training"), Evaluation.load(results / "test")]
    pages = [shiftscope.report(order, tmp_path / "page.html", title="T").read_text()
             for order in (records, records[::-1])]
    assert pages[0] == pages[1] and "Training curves" in pages[0]
    assert shiftscope.report(Audit.load(results / "audit"), tmp_path / "one.html") == tmp_path / "one.html"
    assert explorer((tmp_path / "one.html").read_text())
    with pytest.raises(UsageError, match="a report needs results of training, .* got none"):
        shiftscope.report([], tmp_path / "none.html")


def test_the_images_of_the_page_are_those_of_the_dataset(again, npz):
    (group,) = explorer(again)
    numbers, pixels = group["images"]["numbers"], zlib.decompress(base64.b64decode(group["images"]["pixels"]["data"]))
    expected = load_dataset(f"npz:{npz}").test.gather(torch.tensor(numbers)).numpy()
    assert np.frombuffer(pixels, np.uint8).tolist() == expected.ravel().tolist()
