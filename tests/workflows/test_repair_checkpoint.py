"""`shiftscope repair` from the command line to the files."""

import json
import re

import numpy as np
import pytest
import torch

from shiftscope.cli import main
from shiftscope.models import Provenance, TwoConvTwoFullNet, TwoFullNet, load, save
from shiftscope.models.repair import METHODS, WholeAverage
from shiftscope.placement import Placement
from shiftscope.results import Audit
from shiftscope.training import train
from shiftscope.workflows import repair_checkpoint
from shiftscope.workflows.load_inputs import open_checkpoint, use_one_pass
from shiftscope.workflows.repair_checkpoint import RepairOptions, finetune_settings

pytestmark = pytest.mark.slow

PLACE = Placement(image=(12, 12), canvas=(16, 20))
CLASSES = ["top", "middle", "bottom"]


def net(kind=TwoConvTwoFullNet, **more):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = kind(canvas=PLACE.canvas, classes=3, **more)
    with torch.no_grad():  # bolder than fresh: its answers differ from place to place
        model.fc1.weight.mul_(8)
        model.fc1.bias.zero_()
        model.fc2.weight.mul_(8)
    return model


@pytest.fixture(scope="module")
def checkpoint(npz, tmp_path_factory):
    return save(net(), tmp_path_factory.mktemp("repair") / "net", provenance=Provenance(
        name="net", dataset=f"npz:{npz}", class_names=CLASSES, placement=PLACE.to_dict(), trained="random",
        settings={"learning_rate": 0.006, "batch_size": 50, "validation": 40, "weight_decay": 0.1}))


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("SHIFTSCOPE_DATA_DIR", raising=False)


@pytest.fixture
def without_figures(monkeypatch):
    """Skip the figures, which take a third of the time."""
    monkeypatch.setattr(repair_checkpoint, "audit_figures", lambda audits: [])


def test_the_folder_has_the_figures_of_both_audits(checkpoint, tmp_path):
    assert main(["repair", str(checkpoint), "--method", "recenter", "--out", "m", "--images", "5", "--quiet"]) == 0
    names = {path.name for path in (tmp_path / "m" / "figures").iterdir()}
    assert {"accuracy-map.png", "accuracy-map.svg", "placements-right.png", "changes-net.png",
            "changes-net-recenter.png"} <= names


@pytest.mark.parametrize("method", METHODS)
def test_the_folder_has_both_audits_and_a_checkpoint(method, checkpoint, tmp_path, capsys, without_figures):
    line = ["repair", str(checkpoint), "--method", method, "--out", "m", "--images", "20", "--json", "--quiet"]
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["finetune"], found["training"]) == (method, 0, None) and found["notes"]
    assert found["before"]["model"] == "net" and found["after"]["model"] == f"net-{method}"
    assert found["before"]["images"] == found["after"]["images"] == 20 and found["after"]["placements"] == 45
    assert found["comparison"]["models"] == ["net", f"net-{method}"]
    assert json.loads((tmp_path / "m" / "results" / "comparison.json").read_text()) == found["comparison"]
    assert Audit.load(tmp_path / "m" / "results" / f"net-{method}" / "audit").mean_accuracy == found["after"][
        "mean_accuracy"]
    if method not in ("blur", "phase-average"):
        assert found["after"]["unanimity"] == 1 and found["before"]["unanimity"] < 1
    assert main(["audit", "m", "--limit", "20", "--json", "--quiet"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["mean_accuracy"] == found["after"]["mean_accuracy"] and again["model"] == f"net-{method}"


def test_the_time_is_reported_before_the_start(checkpoint, capsys, monkeypatch):
    trained = []
    monkeypatch.setattr("shiftscope.workflows.repair_checkpoint.TRIAL_SECONDS", 0.05)
    monkeypatch.setattr("shiftscope.workflows.repair_checkpoint.train", lambda model, *arguments, **options: (
        trained.append((model, options["settings"])), train(model, *arguments, **options))[1])
    line = ["repair", str(checkpoint), "--method", "polyphase", "--finetune", "2", "--images", "10", "--out", "m"]
    assert main([*line, "--json"]) == 0
    found = capsys.readouterr()
    assert "repair:" not in found.out and json.loads(found.out)["training"]["epochs"] == 2
    times = r"(?:a few seconds|about \d+ s)"
    report = re.search(rf"^repair: {times} in total \(audit {times}, fine-tuning {times}, audit of the repaired model "
                       rf"{times}\)$", found.err, flags=re.M)
    assert report is not None and report.start() < found.err.index("audit net-polyphase-finetuned (test)")
    (_, first), (trial, settings), (model, full) = trained
    assert trial is not model and settings.epochs == full.epochs == 2
    assert first.max_time < settings.max_time == 0.05 and full.max_time is None
    assert main([*line, "--overwrite", "--json", "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert quiet.err == "" and len(trained) == 4
    after = [json.loads(output.out)["after"] for output in (found, quiet)]
    assert all(after[0][key] == after[1][key] for key in ("mean_accuracy", "consistency"))  # the trial changes nothing


def test_the_stride_may_be_set(checkpoint, capsys, without_figures):
    line = ["repair", str(checkpoint), "--images", "4", "--quiet", "--method"]
    assert main([*line, "phase-average", "--stride", "2x4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["stride"] == [2, 4] and load(found["checkpoint"]).net.stride == (2, 4)
    assert any("at 2 x 4 shifts, at 8 times the cost" in note for note in found["notes"])
    assert main([*line, "phase-average", "--stride", "2", "--overwrite", "--json"]) == 0
    assert load(json.loads(capsys.readouterr().out)["checkpoint"]).net.stride == (2, 2)
    for method, stride, output in (("blur", "2", "stride must be left out with blur"), ("phase-average", "0", "stride"),
                              ("phase-average", "2x", "stride"), ("phase-average", "3", "multiples of 3")):
        assert main([*line, method, "--stride", stride, "--overwrite"]) == 2, (method, stride)
        error = capsys.readouterr().err
        assert output in error and error.count("\n") == 1, error


def test_the_audit_before_equals_a_loop_over_placements(checkpoint, npz, capsys, without_figures):
    assert main(["repair", str(checkpoint), "--method", "recenter", "--json", "--quiet"]) == 0
    found, model = json.loads(capsys.readouterr().out), net().eval()
    with np.load(npz) as stored, torch.no_grad():
        images, labels = torch.from_numpy(stored["test_images"])[:, None], torch.from_numpy(stored["test_labels"])
        right = torch.stack([model(PLACE.place(images, place.expand(len(images), 2)) / 255).argmax(1) == labels
                             for place in PLACE.offsets()])
        middle = model(PLACE.place(images, PLACE.centered(len(images))) / 255).argmax(1) == labels
    assert found["before"]["mean_accuracy"] == pytest.approx(right.double().mean().item())
    assert found["before"]["worst_case_accuracy"] == pytest.approx(right.all(0).double().mean().item())
    assert found["after"]["worst_case_accuracy"] == pytest.approx(middle.double().mean().item())


def test_fine_tuning_improves_and_can_be_resumed(checkpoint, tmp_path, capsys, without_figures):
    line = ["repair", str(checkpoint), "--method", "recenter", "--finetune", "8", "--learning-rate", "0.01", "--quiet"]
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    history = found["training"]["history"]
    assert len(history) == 8 and history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    assert found["after"]["mean_accuracy"] > found["before"]["mean_accuracy"] + 0.2
    assert found["after"]["worst_case_accuracy"] == pytest.approx(found["after"]["mean_accuracy"])
    assert found["training"]["validation_images"] == 40 and found["training"]["settings"]["batch_size"] == 50
    weights = load(found["checkpoint"]).net[1].fc2.weight
    assert not weights.equal(net().fc2.weight)
    assert main([*line, "--json"]) == 2
    assert "already contains a run; continue it with --resume" in capsys.readouterr().err
    assert main([*line, "--resume"]) == 0
    assert "at every placement" in capsys.readouterr().out
    assert load(found["checkpoint"]).net[1].fc2.weight.equal(weights)


def test_fine_tuning_has_a_lower_learning_rate_than_training(checkpoint):
    settings = finetune_settings(open_checkpoint(checkpoint), RepairOptions(method="blur", finetune=2))
    assert settings.learning_rate == pytest.approx(0.002) and (settings.epochs, settings.weight_decay) == (2, 0.1)
    changed = RepairOptions(method="polyphase", finetune=2)
    assert finetune_settings(open_checkpoint(checkpoint), changed).learning_rate == 0.006
    assert (settings.validation, settings.batch_size) == (40, 50)


def test_placement_averages_are_computed_in_one_pass(checkpoint, capsys):
    assert main(["repair", str(checkpoint), "--method", "placement-average", "--images", "4", "--quiet"]) == 0
    plain, fast = load(capsys.readouterr().out.splitlines()[-1]), None
    assert isinstance(plain.net, WholeAverage) and plain.net.all_shifts is None and len(plain.net.shifts) == PLACE.count
    x = torch.rand(2, 1, *PLACE.canvas)
    slow = plain(x)
    fast = use_one_pass(plain)
    assert fast.net.all_shifts is not None
    torch.testing.assert_close(fast(x), slow)


def test_invalid_input(checkpoint, npz, tmp_path, capsys):
    provenance = Provenance(name="x", dataset=f"npz:{npz}", class_names=CLASSES, placement=PLACE.to_dict())
    save(net(TwoFullNet), tmp_path / "full", provenance=provenance)
    for line, code, output in (
            ([str(checkpoint), "--method", "blurr"], 2, "blurr"),
            ([str(checkpoint)], 2, "method"),
            (["nowhere", "--method", "blur"], 3, "nowhere"),
            ([str(checkpoint), "--method", "blur", "--finetune", "-1"], 2, "finetune must be a number of epochs"),
            ([str(checkpoint), "--method", "placement-average", "--finetune", "1"], 2, "finetune must be 0 with"),
            ([str(checkpoint), "--method", "blur", "--images", "0"], 2, "images must be an integer of at least 1"),
            (["full", "--method", "polyphase"], 2, "TwoFullNet has no strided layer"),
            (["full", "--method", "blur"], 2, "TwoFullNet has no strided convolution or pooling"),
            ([str(checkpoint), "--method", "polyphase", "--canvas", "20"], 1, "cannot be read for an input of")):
        assert main(["repair", *line, "--quiet"]) == code, line
        error = capsys.readouterr().err
        assert output in error and error.count("\n") == 1, error
    assert not (tmp_path / "shiftscope-repair").exists()  # nothing is written before all of that is known


def test_a_canvas_not_divisible_by_the_stride_gives_the_multiple(npz, tmp_path, capsys):
    place = Placement(image=(12, 12), canvas=(22, 16))  # the maps end with 2 x 1 places
    model = TwoConvTwoFullNet(canvas=place.canvas, classes=3)
    save(model, tmp_path / "odd", provenance=Provenance(
        name="odd", dataset=f"npz:{npz}", class_names=CLASSES, placement=place.to_dict()))
    assert main(["repair", "odd", "--method", "polyphase"]) == 2
    output = capsys.readouterr().err
    assert "canvas must be multiples of 4, the total stride of TwoConvTwoFullNet, got (22, 16)" in output
