"""Files of release 0.1 are read by this release: checkpoints, results, logs and run folders."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from shiftscope.cli import main
from shiftscope.migration import KEYS, SCHEMA_VERSION, migrate
from shiftscope.models import load
from shiftscope.models.checkpoint import load_config
from shiftscope.models.course import TwoFullNet
from shiftscope.results import Audit, Evaluation, load_record
from shiftscope.runs import RunFolder
from shiftscope.runs.records import find_records
from shiftscope.training.state import load_state

ARCHIVE = Path(__file__).parent / "release_0_1/files.tar.xz"
CHECKPOINTS = ("recentred", "invariant", "perceptron-recentre", "perceptron-placement-average", "convnet-blur",
               "convnet-polyphase", "convnet-phase-average")


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("release_0_1")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old_run(old, tmp_path, monkeypatch) -> Path:
    """A copy of the run, in the current folder."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_load_with_the_same_outputs(old, name):
    outputs = np.load(old / "outputs.npz")
    found = load(old / name)(torch.from_numpy(outputs[f"pixels-{name}"]))
    np.testing.assert_allclose(found.detach().numpy(), outputs[name], atol=1e-6)


def test_weights_of_a_foreign_model_load(old):
    outputs = np.load(old / "outputs.npz")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(144, 3))
    found = load(old / "own", model=model)(torch.from_numpy(outputs["pixels-own"]))
    np.testing.assert_allclose(found.detach().numpy(), outputs["own"], atol=1e-6)


def test_the_description_of_a_checkpoint_uses_the_new_names(old):
    config = load_config(old / "recentred")
    assert config.model == "recentered" and config.provenance.trained == "random" and "std" in config.arguments
    assert load_config(old / "invariant").provenance.trained == "centered"


def test_results_keep_their_numbers(old):
    folder = old / "run/results/two-full-seed0"
    written = json.loads((folder / "audit/result.json").read_text())
    with np.load(folder / "audit/arrays.npz") as stored:
        audit = Audit.load(folder / "audit")
        assert np.array_equal(audit.predictions, stored["answers"])
        assert np.array_equal(audit.correct_counts, stored["right_counts"])
    assert audit.mean_accuracy == written["mean_accuracy"] and audit.trained == "random"
    assert (audit.nonfinite, audit.synthetic) == (written["not_finite"], written["drawn"])
    test = Evaluation.load(folder / "test")
    written = json.loads((folder / "test/result.json").read_text())
    assert test.accuracy == {"random": written["accuracy"]["random"], "centered": written["accuracy"]["centred"]}


def test_every_result_is_read(old):
    folders = sorted(path.parent for path in old.rglob("result.json"))
    kinds = {load_record(folder).kind for folder in folders}
    assert len(folders) >= 12
    assert kinds == {"training", "evaluation", "audit", "synthesis", "neighbors", "quality", "units", "attribution"}


def test_results_of_a_run_have_the_new_names_of_its_jobs(old):
    run = RunFolder(old / "run")
    assert run.result("two-full-centered-seed0", "test").name == "test"
    assert Evaluation.load(run.result("two-full-centered-seed0", "test")).trained == "centered"
    assert {record["job"] for record in run.log.read()} == {"two-full-seed0", "two-full-centered-seed0"}
    assert len(find_records(old / "run")) == 11


def test_a_training_state_is_read(old):
    folder = RunFolder(old / "run").checkpoint("two-full-centered-seed0")
    model = TwoFullNet(canvas=(8, 8), classes=3)
    stored = load_state(folder, torch.device("cpu"), model)
    assert stored is not None and stored["state"].epoch == 1
    assert stored["tensors"]["model"].keys() == model.state_dict().keys()


def test_a_run_is_reported_and_resumed(old_run, capsys):
    assert main(["report", "run", "--quiet"]) == 0
    assert "two-full" in (old_run.parent / "report.html").read_text()
    before = {path: path.read_bytes() for path in old_run.glob("results/*seed0/t*/result.json")}
    audited = Audit.load(old_run / "results/two-full-seed0/audit").predictions
    assert main(["run", "--data", "npz:tiny.npz", "--epochs", "1", "--models", "two-full", "--canvas", "8x8", "--out",
                 "run", "--seeds", "2", "--resume", "--quiet"]) == 0
    assert all(path.read_bytes() == content for path, content in before.items()) and len(before) == 6
    assert np.array_equal(Audit.load(old_run / "results/two-full-seed0/audit").predictions, audited)
    assert (old_run / "results/two-full-centered-seed1/audit/result.json").is_file()
    metrics = json.loads((old_run / "metrics.json").read_text())
    assert metrics["schema_version"] == SCHEMA_VERSION
    assert metrics["controls"][0]["test_accuracy_over_seeds"]["centered"]["std"] is not None


@pytest.mark.parametrize("command", [["evaluate"], ["audit"], ["visualize"]])
def test_commands_read_old_checkpoints(old_run, command, capsys):
    extra = ["class:a", "--steps", "2", "--neighbors", "0"] if command == ["visualize"] else []
    assert main([*command, "mended/checkpoints/two-full-recentre-finetuned", *extra, "--data", "npz:tiny.npz", "--out",
                 "out", "--quiet"]) == 0


def test_documents_of_this_release_are_not_touched():
    document = {"schema_version": SCHEMA_VERSION, "centred": 1, "trained": "moved"}
    assert migrate(document) is document


def test_no_new_name_is_an_old_one():
    assert not set(KEYS) & set(KEYS.values())
