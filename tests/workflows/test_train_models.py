import json
import re

import pytest
import torch

from shiftscope.data import load_dataset
from shiftscope.errors import UsageError
from shiftscope.evaluation import evaluate
from shiftscope.models import load
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Audit, Evaluation, Synthesis, TrainResult
from shiftscope.settings import DataSettings, RunSettings
from shiftscope.workflows.jobs import build
from shiftscope.workflows.report.choose import shared_index
from shiftscope.workflows.train_models import run_models

pytestmark = pytest.mark.slow

QUIET = SilentProgress()


def test_metrics_have_the_public_keys(done):
    out, _, _, metrics = done
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert metrics["schema_version"] == 2 and metrics["seed"] == 4 and metrics["device"] == "cpu"
    assert metrics["dataset"]["train_images"] == 200 and metrics["dataset"]["test_images"] == 60
    assert metrics["dataset"]["canvas"] == [24, 26]
    assert [model["name"] for model in metrics["models"]] == ["two-full", "two-conv"]
    for model in metrics["models"]:
        assert model["epochs"] == 2 and model["train_seconds"] > 0 and model["images_per_second"] > 0
        assert set(model["test_accuracy"]) == {"random", "centered"}
        assert [set(epoch) for epoch in model["history"]] == [
            {"epoch", "train_loss", "train_accuracy", "val_accuracy"}] * 2
        assert [seed["seed"] for seed in model["seeds"]] == [4, 5]
        mean = sum(seed["test_accuracy"]["random"] for seed in model["seeds"]) / 2
        assert model["test_accuracy_over_seeds"]["random"]["mean"] == pytest.approx(mean)
    assert [control["name"] for control in metrics["controls"]] == ["two-full"]
    cells = {(cell["model"], cell["trained"], cell["tested"]) for cell in metrics["two_by_two"]}
    assert len(cells) == 6 and ("two-full", "centered", "random") in cells


def test_checkpoints_have_the_reported_accuracy(done, npz):
    from shiftscope.data import load_dataset

    out, _, _, metrics = done
    place = Placement(image=(12, 12), canvas=(24, 26))
    for model in metrics["models"]:
        found = evaluate(load(out / model["checkpoint"]), load_dataset(f"npz:{npz}"), placement=place, seed=4)
        assert found.accuracy == model["test_accuracy"]


def test_every_model_is_audited_at_every_placement(done, npz):
    from shiftscope.data import load_dataset

    out, _, _, metrics = done
    data, place = load_dataset(f"npz:{npz}"), Placement(image=(12, 12), canvas=(24, 26))
    for model in (*metrics["models"], *metrics["controls"]):
        assert (model["audit"]["images"], model["audit"]["placements"]) == (60, 13 * 15)
        means = []
        for seed in model["seeds"]:
            found = Audit.load(out / "results" / seed["checkpoint"].split("/")[-1] / "audit")
            means.append(found.mean_accuracy)
            net, corner = load(out / seed["checkpoint"]), torch.tensor([[12, 0]]).expand(60, 2)
            canvases = place.place(data.test.gather(torch.arange(60)), corner)
            right = (net(canvases / 255).argmax(1) == data.test.labels).double().mean()
            assert found.accuracy_map[12, 0] == pytest.approx(float(right))
        assert model["audit"]["mean_accuracy"] == means[0]
        assert model["audit_over_seeds"]["mean_accuracy"]["mean"] == pytest.approx(sum(means) / 2)


def test_the_models_of_the_first_seed_share_the_images_that_the_report_shows(done):
    out, *_ = done
    audits = [Audit.load(out / "results" / f"{name}-seed4" / "audit")
              for name in ("two-full", "two-full-centered", "two-conv")]
    index = shared_index(audits)
    assert len(index) == 24 and index[:12].tolist() == list(range(12))
    for audit in audits:
        assert set(index.tolist()) <= set(audit.shown_index.tolist())
        assert len(set(audit.shown_index.tolist())) == len(audit.shown_logits) == len(audit.shown_images)


def test_the_log_has_one_line_per_epoch_and_job(done):
    out, *_ = done
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 2 * 3 and len({(line["job"], line["epoch"]) for line in lines}) == 12
    assert all(line["epochs"] == 2 and line["epoch_seconds"] > 0 and line["images_per_second"] > 0 for line in lines)


def test_the_live_page_shows_the_run_as_done(done):
    from shiftscope.server.run_files import RunFiles
    from shiftscope.server.run_state import run_state

    state = run_state(RunFiles(done[0]), now=1e12)
    assert (state["phase"], state["problems"], len(state["trainings"])) == ("done", [], 6)
    assert {training["status"] for training in state["trainings"]} == {"done"} and state["report"]
    assert [len(training["history"]) for training in state["trainings"]] == [2] * 6


def test_the_report_is_self_contained(done):
    out, *_ = done
    html = (out / "report.html").read_text()
    assert not re.search(r'(src|href)="(?!data:|#)', html) and "default-src 'none'" in html
    names = {path.stem for path in (out / "figures").glob("*.png")}
    assert names == {path.stem for path in (out / "figures").glob("*.svg")} == {
        "samples", "two-by-two", "curves", "confusion-two-full", "confusion-two-conv", "classified-two-full",
        "classified-two-conv", "classes-two-full", "classes-two-conv", "neurons-two-full", "neurons-two-conv",
        "class-neurons-two-full", "class-neurons-two-conv", "weights-two-full", "weights-two-conv",
        "neighbors-two-full", "neighbors-two-conv", "accuracy-map", "agreement-map", "placements-right",
        *(f"{kind}-{model}" for kind in ("class-maps", "changes", "remainders")
          for model in ("two-full", "two-full-centered", "two-conv"))}
    in_the_folder_only = {name for name in names if name.startswith(("class-maps", "remainders"))} | {
        "two-by-two", "accuracy-map", "agreement-map", "placements-right"}
    assert len(in_the_folder_only) == 10
    in_the_report_only = {f"{kind}-{model}" for kind in ("map", "histogram")
                          for model in ("two-full-random", "two-full-centered", "two-conv-random")}
    assert set(re.findall(r'<figure id="figure-([^"]+)"', html)) == names - in_the_folder_only | in_the_report_only
    assert "All parameters of the convnet" in html
    assert str(out.parent) not in html and html.count('class="paper"') == 0
    neurons = Synthesis.load(out / "results" / "two-conv-seed4" / "fc1-all")
    assert neurons.images.shape == (100, 1, 24, 26) and (neurons.activations > neurons.activations_start).any()


def test_records_can_be_read_without_training_again(done):
    out, *_ = done
    results = out / "results" / "two-conv-seed5"
    assert TrainResult.load(results / "training").seed == 5
    assert Evaluation.load(results / "test").images == 60


def test_the_environment_is_recorded(done, npz):
    out, *_ = done
    environment = json.loads((out / "env.json").read_text())
    assert environment["command"] == ["shiftscope", "run"] and environment["threads"] == torch.get_num_threads()
    assert environment["versions"]["torch"] == torch.__version__
    assert environment["dataset"]["checksums"]


def test_a_finished_run_is_not_trained_again(done):
    out, data, run, metrics = done
    before = (out / "metrics.jsonl").read_text()
    again = run_models(data, RunSettings(**(vars(run) | {"resume": True})), progress=QUIET)
    assert again["models"] == metrics["models"] and (out / "metrics.jsonl").read_text() == before


def test_a_run_is_not_mixed_with_another(done):
    _, data, run, _ = done
    with pytest.raises(UsageError, match="already contains a run"):
        run_models(data, run, progress=QUIET)
    with pytest.raises(UsageError, match=r"was started with epochs 2, now 3: use the same settings"):
        run_models(data, RunSettings(**(vars(run) | {"resume": True, "epochs": 3})), progress=QUIET)


def test_seeds_may_be_added_to_a_run(npz, tmp_path):
    data = DataSettings(data=f"npz:{npz}", canvas=(24, 26))
    run = {"models": ("two-full",), "epochs": 1, "out": tmp_path / "out", "device": "cpu"}
    first = run_models(data, RunSettings(**run), progress=QUIET)
    more = run_models(data, RunSettings(**run, seeds=2, resume=True), progress=QUIET, command=["more"])
    assert more["models"][0]["seeds"][0] == first["models"][0]["seeds"][0] and len(more["models"][0]["seeds"]) == 2
    environment = json.loads((tmp_path / "out" / "env.json").read_text())
    assert environment["resumed"] == [["more"]] and environment["settings"]["run"]["seeds"] == 2


def test_a_model_without_input_gradients_gets_a_report(npz, tmp_path, monkeypatch):
    (tmp_path / "rounding_net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, canvas, channels, classes):\n"
        "        super().__init__()\n"
        "        self.fc = torch.nn.Linear(channels * canvas[0] * canvas[1], classes)\n"
        "    def forward(self, x):\n"
        "        return self.fc((x.detach() > 0.5).float().flatten(1))\n")
    monkeypatch.chdir(tmp_path)
    run = RunSettings(models=("rounding_net:Net",), epochs=1, out=tmp_path / "out", device="cpu")
    run_models(DataSettings(data=f"npz:{npz}", canvas=(24, 26)), run, progress=QUIET)
    html = (tmp_path / "out" / "report.html").read_text()
    assert "no synthesized images" in html and "confusion-rounding_net-Net" in str(
        list((tmp_path / "out" / "figures").iterdir()))


def test_unknown_names_raise_an_error_before_anything_is_written(npz, tmp_path):
    run = RunSettings(models=("two-cov",), out=tmp_path / "out")
    with pytest.raises(UsageError, match="unknown model 'two-cov': did you mean 'two-conv'"):
        run_models(DataSettings(data=f"npz:{npz}"), run, progress=QUIET)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("preset, widths, jitter, shifts", [("quick", (32, 64, 128), 0, 0),
                                                            ("best", (48, 96, 192), 2, 1)])
def test_a_preset_sets_the_arguments_of_a_model(npz, preset, widths, jitter, shifts):
    place = Placement(image=(12, 12), canvas=(24, 24))
    model = build("recentered", load_dataset(f"npz:{npz}"), place, seed=0, preset=preset)
    assert (model.arguments["widths"], model.jitter, model.shifts) == (widths, jitter, shifts)
