"""`shiftscope audit` from the command line to the files: checkpoints, models of one's own, ONNX files."""

import csv
import dataclasses
import json
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from shiftscope.cli import main
from shiftscope.models import Provenance, TwoFullNet, export_onnx, save
from shiftscope.placement import Placement
from shiftscope.results import Audit

PLACE = Placement(image=(12, 12), canvas=(16, 15))


def bars_reader(scale: float = 1.0) -> TwoFullNet:
    """A perceptron that reads the bars by the rows in which they lie when the image is in the middle."""
    net = TwoFullNet(3, canvas=PLACE.canvas, classes=3, mean=0.0, std=1.0)
    with torch.no_grad():
        net.fc1.weight.zero_()
        for cls in range(3):
            net.fc1.weight.view(3, *PLACE.canvas)[cls, 2 + 1 + 4 * cls:2 + 3 + 4 * cls] = scale
        for layer in (net.fc1.bias, net.fc2.bias):
            layer.zero_()
        net.fc2.weight.copy_(torch.eye(3))
    return net.eval()


@pytest.fixture(scope="module")
def checkpoint(npz, tmp_path_factory):
    return save(bars_reader(), tmp_path_factory.mktemp("audit") / "reader", provenance=Provenance(
        name="reader", dataset=f"npz:{npz}", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict(),
        trained="random"))


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SHIFTSCOPE_DATA_DIR", raising=False)


def by_hand(npz) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictions (N, P) of a plain loop over placements, and the labels (N, 1)."""
    with np.load(npz) as stored:
        images, labels = torch.from_numpy(stored["test_images"])[:, None], torch.from_numpy(stored["test_labels"])
    net = bars_reader()
    predictions = [net(PLACE.place(images, offset.expand(len(images), 2)) / 255).argmax(1).numpy()
                   for offset in PLACE.offsets()]
    return np.stack(predictions, 1), labels.numpy()[:, None]


def accuracy_by_hand(npz) -> float:
    predictions, labels = by_hand(npz)
    return (predictions == labels).mean()


def test_json_has_the_public_keys_and_the_numbers_of_a_loop(checkpoint, npz, capsys):
    assert main(["audit", str(checkpoint), "--json", "--engine", "dense"]) == 0
    found, (predictions, labels) = json.loads(capsys.readouterr().out), by_hand(npz)
    right = predictions == labels
    assert {"schema_version", "model", "images", "placements", "mode", "engine", "seconds", "mean_accuracy",
            "worst_case_accuracy", "consistency", "unanimity", "accuracy_map", "self_check"} <= set(found)
    assert (found["model"], found["images"], found["placements"], found["engine"]) == ("reader", 60, 20, "dense")
    assert found["mean_accuracy"] == pytest.approx(right.mean())
    assert found["worst_case_accuracy"] == pytest.approx(right.all(1).mean())
    assert np.array(found["accuracy_map"]) == pytest.approx(right.mean(0).reshape(5, 4))
    counts = np.stack([(predictions == label).mean(1) for label in range(predictions.max() + 1)])
    assert found["consistency"] == pytest.approx((counts**2).sum(0).mean())
    assert found["unanimity"] == pytest.approx((counts == 1).any(0).mean())
    assert 0 < found["consistency"] < 1, "the model must depend on position"
    assert found["self_check"]["placements"] >= 100


def test_out_has_a_record_and_figures(checkpoint, tmp_path, capsys):
    assert main(["audit", str(checkpoint), "--out", "found", "--limit", "20", "--engine", "brute"]) == 0
    record = Audit.load(tmp_path / "found")
    assert (record.images, record.engine, record.trained) == (20, "brute", "random")
    assert {"accuracy-map.png", "placements-right.svg"} <= {path.name for path in (tmp_path / "found").iterdir()}
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == "found" and "worst-case accuracy" in output and "20 test images" in output


def test_the_table_of_images(checkpoint, tmp_path, capsys):
    line = ["audit", str(checkpoint), "--limit", "20", "--quiet", "--csv", "least.csv"]
    assert main([*line, "--out", "found", "--against", str(checkpoint)]) == 0
    rows = list(csv.DictReader((tmp_path / "least.csv").open()))
    record = Audit.load(tmp_path / "found")
    assert len(rows) == 2 * 20 and [int(row["image"]) for row in rows[:20]] == list(range(20))
    assert [int(row["correct_count"]) for row in rows[:20]] == record.correct_counts.tolist()
    assert (tmp_path / "found" / "images.csv").read_bytes() == (tmp_path / "least.csv").read_bytes()
    (tmp_path / "mine.csv").write_text("mine")
    for arguments, words in ((["--csv", "least.csv"], "least.csv already exists; replace it with --overwrite"),
                             (["--csv", "mine.csv", "--overwrite"], "was not written by Shiftscope, so move it"),
                             (["--csv", "found"], "found is a folder; give the file to write"),
                             (["--csv", "mine.csv/a.csv"], "mine.csv is not a folder"),
                             (["--out", "found"], "already exists")):
        assert main([*line[:-2], *arguments]) != 0
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and len(error) < 400, error
    assert (tmp_path / "mine.csv").read_text() == "mine"
    assert main([*line, "--overwrite", "--sample", "5"]) == 0
    assert {row["placements"] for row in csv.DictReader((tmp_path / "least.csv").open())} == {"5"}


def test_thresholds(checkpoint, capsys):
    assert main(["audit", str(checkpoint), "--quiet", "--fail-under", "mean=0.01,worst=0.99", "--json"]) == 4
    output = capsys.readouterr()
    assert json.loads(output.out)["model"] == "reader"
    assert output.err.startswith("error: reader does not pass: worst 0.") and output.err.count("\n") == 1
    assert main(["audit", str(checkpoint), "--quiet", "--fail-under", "0.01"]) == 0
    for wrong in ("mean=1.5", "best=0.5", "mean"):
        assert main(["audit", str(checkpoint), "--fail-under", wrong]) == 2
        assert "fail-under must be fractions from 0 to 1" in capsys.readouterr().err


def test_junit_files_state_each_requirement(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["audit", str(checkpoint), "--quiet", "--json", "--junit", "audit.xml"]
    assert main([*line, "--fail-under", "mean=0.01,worst=0.99"]) == 4
    found = json.loads(capsys.readouterr().out)
    root = ElementTree.parse("audit.xml").getroot()
    (suite,) = root
    counted = {"name", "time", "tests", "failures", "errors"}  # the schema of Jenkins allows no others at the root
    assert set(root.attrib) == set(suite.attrib) == counted
    assert root.attrib["tests"] == suite.attrib["tests"] == "2" and suite.attrib["failures"] == "1"
    good, bad = suite.findall("testcase")
    assert good.attrib["name"] == "mean: at least 0.01" and good.find("failure") is None
    sentence = f"worst {found['worst_case_accuracy']:.4f}, required at least 0.99"
    assert bad.find("failure").attrib["message"] == sentence
    known = {one.attrib["name"]: one.attrib["value"] for one in suite.find("properties")}
    assert known["placements"] == str(found["placements"]) and float(known["mean"]) == round(found["mean_accuracy"], 6)
    assert main(line) == 2 and "the JUnit file audit.xml already exists; replace it with --overwrite" in (
        capsys.readouterr().err)
    assert main([*line, "--overwrite"]) == 0  # no requirement: one case
    (case,) = ElementTree.parse("audit.xml").getroot().iter("testcase")
    assert case.attrib["name"] == "audit" and len(case) == 0
    (tmp_path / "mine.xml").write_text("<mine/>")
    assert main([*line[:-1], "mine.xml", "--overwrite"]) == 2
    assert (tmp_path / "mine.xml").read_text() == "<mine/>" and "not written by Shiftscope" in capsys.readouterr().err


def test_a_baseline_in_the_command(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = ["audit", str(checkpoint), "--quiet", "--json"]
    assert main([*line, "--out", "base"]) == 0
    assert main([*line, "--baseline", "base", "--junit", "same.xml"]) == 0
    names = [case.attrib["name"] for case in ElementTree.parse("same.xml").getroot().iter("testcase")]
    assert [name.partition(":")[0] for name in names] == ["mean", "worst", "consistency", "unanimity"]
    assert all("not worse than" in name for name in names)
    capsys.readouterr()
    for arguments, words in ((["--baseline", "gone"], "cannot read a result from gone"),
                             (["--baseline", "base", "--step", "2"], "have different placements"),
                             (["--baseline", "base", "--limit", "5"], "differ in images")):
        assert main([*line, *arguments, "--junit", "never.xml"]) in (2, 3)
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and len(error) < 400, error
        assert not (tmp_path / "never.xml").exists()
    stored = Audit.load(tmp_path / "base")
    better = np.tile(stored.labels[:, None], (1, stored.placements)).astype(stored.predictions.dtype)
    dataclasses.replace(stored, predictions=better, correct_counts=np.full(stored.images, stored.placements),
                        mean_accuracy=1.0, worst_case_accuracy=1.0).save(tmp_path / "better")
    assert main([*line, "--baseline", "better/result.json"]) == 4
    assert "does not pass: mean " in (error := capsys.readouterr().err) and "of the baseline (p = " in error
    dataclasses.replace(stored, model="other").save(tmp_path / "other")
    assert main([*line, "--baseline", "other"]) == 2
    assert "the baseline other is of the model other, the audit of reader" in capsys.readouterr().err


def test_placements_may_be_narrowed_and_sampled(checkpoint, capsys):
    line = ["audit", str(checkpoint), "--json", "--quiet"]
    for more, count, sampled in ((["--max-shift", "1"], 9, False), (["--step", "2"], 6, False),
                                 (["--sample", "7"], 7, True), (["--mode", "circular"], 240, False)):
        assert main([*line, *more]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["placements"], found["sampled"]) == (count, sampled)


def test_an_own_model_and_an_onnx_file(checkpoint, npz, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    (tmp_path / "mine_to_audit.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(240, 3)\n\n    def forward(self, x):\n        return self.fc(x.flatten(1))\n")
    data = ["--data", f"npz:{npz}", "--canvas", "16x15", "--json", "--quiet"]
    assert main(["audit", "mine_to_audit:Net", "--normalize", "0.5/0.5", "--engine", "dense", *data]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "dense"
    sys.modules.pop("mine_to_audit", None)
    for batch in (None, 8):
        export_onnx(bars_reader(), tmp_path / "net.onnx", (1, *PLACE.canvas), batch=batch)
        assert main(["audit", "net.onnx", *data]) == 0
        output = capsys.readouterr()
        found = json.loads(output.out)
        assert found["engine"] == "brute" and found["mean_accuracy"] == pytest.approx(accuracy_by_hand(npz))


def test_two_models_side_by_side(checkpoint, npz, tmp_path, capsys):
    other = save(bars_reader(-1.0), tmp_path / "blind", provenance=Provenance(
        name="blind", dataset=f"npz:{npz}", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict()))
    line = ["audit", str(checkpoint), "--against", str(other), "--out", "both", "--quiet"]
    assert main([*line, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    comparison = found["comparison"]
    assert found["against"]["model"] == "blind" and comparison["models"] == ["reader", "blind"]
    assert comparison["middle"]["only_a"] - comparison["middle"]["only_b"] == pytest.approx(
        60 * (found["middle_accuracy"] - found["against"]["middle_accuracy"]))
    assert json.loads((tmp_path / "both" / "comparison.json").read_text()) == comparison
    assert Audit.load(tmp_path / "both" / "against").model == "blind"
    assert main([*line, "--overwrite"]) == 0
    assert "p (McNemar)" in capsys.readouterr().out


def test_invalid_input(checkpoint, capsys):
    for line, code, output in (
            (["audit", "nowhere"], 3, "nowhere"),
            (["audit", "gone.onnx"], 3, "gone.onnx does not exist"),
            (["audit", "gone_module:Net"], 2, "cannot import 'gone_module'"),
            (["audit", str(checkpoint), "--normalize", "0.5/0.5"], 2, "leave out --normalize"),
            (["audit", str(checkpoint), "--normalize", "half"], 2, "normalize must be MEAN/STD"),
            (["audit", str(checkpoint), "--canvas", "8"], 2, "the image does not fit"),
            (["audit", str(checkpoint), "--data", "garments:40,20", "--canvas", "32"], 2,
             "classes of the checkpoint are top, middle")):
        assert main([*line, "--quiet"]) == code
        error = capsys.readouterr().err
        assert output in error and error.count("\n") == 1, error


def test_an_interrupted_audit_keeps_its_results(checkpoint, tmp_path, monkeypatch, capsys):
    from shiftscope.auditing import sweep
    from shiftscope.training.stopping import StopFlag

    flags = []
    monkeypatch.setattr(StopFlag, "__init__", lambda self: flags.append(self) or setattr(self, "signal", None))
    total = sweep.total
    monkeypatch.setattr(sweep, "from_first", lambda make: 10)  # images per round
    monkeypatch.setattr(sweep, "total", lambda values: (flags[0].ask(), total(values))[1])
    assert main(["audit", str(checkpoint), "--out", "part", "--quiet"]) == 130
    assert "interrupted after 10 images; the results so far are in part" in capsys.readouterr().err
    record = Audit.load(tmp_path / "part")
    assert record.partial and record.images == 10 and record.predictions.shape == (10, 20)


def test_an_exported_file_has_the_same_audit(checkpoint, npz, capsys):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    assert main(["export", str(checkpoint), "--onnx", "reader.onnx"]) == 0
    assert capsys.readouterr().out == "reader.onnx\n"
    assert main(["audit", "reader.onnx", "--data", f"npz:{npz}", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_accuracy"] == pytest.approx(accuracy_by_hand(npz))
    assert main(["export", str(checkpoint), "--onnx", "reader.pt"]) == 2
    assert "ends in .onnx" in capsys.readouterr().err


def test_own_images_must_be_named_again(tmp_path, capsys):
    folder = save(bars_reader(), tmp_path / "own", provenance=Provenance(
        name="reader", dataset="pictures", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict()))
    assert main(["audit", str(folder)]) == 2
    assert "images called 'pictures' and does not contain their path: name them" in capsys.readouterr().err


def test_a_dataset_that_a_checkpoint_names_is_never_imported(tmp_path, capsys):
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\ndata = None\n")
    folder = save(bars_reader(), tmp_path / "hostile", provenance=Provenance(
        name="reader", dataset="evil:data", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict()))
    assert main(["audit", str(folder)]) == 2
    assert "evil:data, and code is never imported by a name found in a file" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists() and "evil" not in sys.modules


# ---------------------------------------------------------------------- files of weights

READER = """from torch import nn
from shiftscope.models import TwoFullNet

class Reader(TwoFullNet):
    def __init__(self, canvas, classes):
        super().__init__(3, canvas=canvas, classes=classes, mean=0.0, std=1.0)
"""


@pytest.mark.parametrize("wrap", [lambda weights: weights, lambda weights: {
    "state_dict": {f"module.{name}": value for name, value in weights.items()}, "epoch": 2}])
def test_an_own_class_with_a_file_of_weights(npz, tmp_path, monkeypatch, capsys, wrap):
    (tmp_path / "bar_reader.py").write_text(READER)
    monkeypatch.delitem(sys.modules, "bar_reader", raising=False)
    torch.save(wrap(bars_reader().state_dict()), "reader.pt")
    line = ["audit", "bar_reader:Reader", "--data", f"npz:{npz}", "--canvas", "16x15", "--json"]
    assert main([*line, "--weights", "reader.pt"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["mean_accuracy"] == pytest.approx(accuracy_by_hand(npz))
    assert document["model"] == "bar_reader:Reader"
    assert ("the entry 'state_dict' of reader.pt" in said.err) is ("'module.' was removed" in said.err)
    assert main(line) == 0  # without the weights: a new model
    assert json.loads(capsys.readouterr().out)["mean_accuracy"] != document["mean_accuracy"]


def test_weights_are_refused_before_data_are_read(checkpoint, tmp_path, capsys):
    torch.save(bars_reader().state_dict(), "reader.pt")
    missing = ["--data", "folder:nowhere"]
    for line, message in (
            (["two-full", "--weights", "none.pt"], "cannot read the weights in none.pt: No such file"),
            (["two-full"], "two-full is the name of a model without trained weights"),
            ([str(checkpoint), "--weights", "reader.pt"], "holds its own: leave out --weights")):
        assert main(["audit", *line, *missing]) in (2, 3)
        assert message in capsys.readouterr().err


def test_weights_of_another_model_are_named(npz, capsys):
    torch.save(TwoFullNet(5, canvas=(16, 15), classes=3).state_dict(), "other.pt")
    torch.save({"fc1.weight": torch.zeros(3)}, "few.pt")
    line = ["audit", "two-full", "--data", f"npz:{npz}", "--canvas", "16x15", "--weights"]
    assert main([*line, "other.pt"]) == 3
    assert "of another shape or type (fc1.bias: 5 in the file, 100 in the model)" in capsys.readouterr().err
    assert main([*line, "few.pt"]) == 3
    assert "missing (fc1.bias, fc2.bias and" in capsys.readouterr().err


# ---------------------------------------------------------------------- continued audits, time budgets


@pytest.fixture
def stopped(checkpoint, monkeypatch):
    """Stop an audit after a number of rounds of 10 images."""
    from shiftscope.auditing import sweep
    from shiftscope.training.stopping import StopFlag

    def stop(line, rounds=1):
        with monkeypatch.context() as patch:
            flags, done = [], []
            patch.setattr(StopFlag, "__init__", lambda self: flags.append(self) or setattr(self, "signal", None))
            total = sweep.total
            patch.setattr(sweep, "from_first", lambda make: 10)
            patch.setattr(sweep, "total", lambda values: (
                done.append(1), flags[0].ask() if len(done) >= rounds else None, total(values))[2])
            return main(line)
    return stop


def fix_batches(monkeypatch):
    """Let trials of batch sizes find the same size each time."""
    from shiftscope.evaluation import batch_trial

    monkeypatch.setattr(batch_trial._Trial, "_best", lambda trial: min(trial.seconds))


@pytest.mark.parametrize("engine", ["dense", "brute"])
def test_an_audit_is_continued(checkpoint, tmp_path, stopped, engine, capsys):
    line = ["audit", str(checkpoint), "--quiet", "--engine", engine]
    assert stopped([*line, "--out", "part"], 2) == 130
    assert "marked partial; continue with --resume" in capsys.readouterr().err
    assert Audit.load(tmp_path / "part").images == 20
    assert stopped([*line, "--out", "part", "--resume"], 1) == 130
    assert Audit.load(tmp_path / "part").images == 30
    assert main([*line, "--out", "part"]) == 2
    assert "holds an unfinished audit; continue it with --resume" in capsys.readouterr().err
    assert main([*line, "--out", "part", "--resume"]) == 0
    assert main([*line, "--out", "whole"]) == 0
    found, whole = (Audit.load(tmp_path / name) for name in ("part", "whole"))
    assert not found.partial and not (tmp_path / "part" / "unfinished-audit").exists()
    for name in Audit.arrays:
        if engine == "dense" or name not in ("margins", "top_margins", "confidences", "shown_logits"):
            np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
    for name in ("margins", "top_margins", "confidences"):  # brute force rounds by the size of its batches
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name), rtol=1e-5, atol=1e-5)
    assert found.intervals == whole.intervals and found.self_check["placements"] == whole.self_check["placements"]
    parts, wholes = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("part", "whole"))
    assert parts == wholes


def assert_equal_audits(found, whole):
    assert not found.partial
    for name in Audit.arrays:
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
    differ = {name for name, value in found.to_dict().items() if value != whole.to_dict()[name]}
    assert differ <= {"seconds"}, differ


@pytest.mark.parametrize("engine", ["dense", "brute"])
def test_two_models_are_continued(checkpoint, npz, tmp_path, stopped, engine, monkeypatch, capsys):
    """Also if the second one was stopped: the first one is complete then."""
    fix_batches(monkeypatch)
    monkeypatch.setattr("shiftscope.evaluation.brute.IMAGES", 10)  # as many as in a round of `stopped`
    other = save(bars_reader(-1.0), tmp_path / "blind", provenance=Provenance(
        name="blind", dataset=f"npz:{npz}", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict()))
    line = ["audit", str(checkpoint), "--against", str(other), "--engine", engine, "--quiet", "--out"]
    assert stopped([*line, "part"], 8) == 130  # 6 rounds for the first model
    assert Audit.load(tmp_path / "part").images == 60 and Audit.load(tmp_path / "part" / "against").images == 20
    capsys.readouterr()
    assert main(["audit", str(other), "--against", str(checkpoint), "--engine", engine, "--quiet", "--out", "part",
                 "--resume"]) == 2
    assert "part/unfinished-audit holds an unfinished audit of another model" in capsys.readouterr().err
    assert main([*line, "part", "--resume"]) == 0 and main([*line, "whole"]) == 0
    for folder in (".", "against"):
        assert_equal_audits(*(Audit.load(tmp_path / name / folder) for name in ("part", "whole")))
    assert not list((tmp_path / "part").rglob("unfinished-audit"))
    assert (tmp_path / "part" / "comparison.json").read_text() == (tmp_path / "whole" / "comparison.json").read_text()


def test_an_audit_is_continued_after_an_error(checkpoint, tmp_path, monkeypatch, capsys):
    from shiftscope.auditing.sweep import Sweep
    from shiftscope.runs import unfinished

    fix_batches(monkeypatch)
    monkeypatch.setattr(unfinished, "EVERY", 0.0)
    monkeypatch.setattr(unfinished, "FRACTION", 0.0)
    monkeypatch.setattr("shiftscope.evaluation.brute.IMAGES", 4)
    line, add, last = ["audit", str(checkpoint), "--engine", "brute", "--quiet", "--out"], Sweep._add, [22, 41]

    def failing(sweep, begin, logits):
        if begin >= last[0]:
            raise ZeroDivisionError("no luck")
        return add(sweep, begin, logits)

    with monkeypatch.context() as patch:
        patch.setattr(Sweep, "_add", failing)
        assert main([*line, "part"]) == 1
        assert "no luck" in capsys.readouterr().err
        stored = sorted((tmp_path / "part" / "unfinished-audit").glob("images-*.npz"))
        assert [path.name for path in stored] == [f"images-{begin:09}.npz" for begin in range(0, 24, 4)]
        last.pop(0)
        assert main([*line, "part", "--resume"]) == 1
    assert main([*line, "part", "--resume"]) == 0 and main([*line, "whole"]) == 0
    assert_equal_audits(*(Audit.load(tmp_path / name) for name in ("part", "whole")))


def test_an_audit_that_cannot_be_continued(checkpoint, npz, tmp_path, stopped, capsys):
    line = ["audit", str(checkpoint), "--quiet", "--out", "part"]
    other = save(bars_reader(-1.0), tmp_path / "blind", provenance=Provenance(
        name="reader", dataset=f"npz:{npz}", class_names=["top", "middle", "bottom"], placement=PLACE.to_dict(),
        trained="random"))
    for more, words in ((["--resume"], "part holds no unfinished audit to resume"),
                        (["--resume", "--overwrite"], "resume and overwrite must be not both given")):
        assert main([*line, *more]) == 2
        assert words in capsys.readouterr().err
    assert main(["audit", str(checkpoint), "--quiet", "--resume"]) == 2
    assert "--resume needs the folder of the audit to continue; give it with --out" in capsys.readouterr().err
    assert stopped(line) == 130
    capsys.readouterr()
    kept = {path: path.read_bytes() for path in sorted((tmp_path / "part").rglob("*")) if path.is_file()}
    for arguments, words in (([str(other)], "of another model"),
                             ([str(checkpoint), "--seed", "1"], "another seed: 0, now 1"),
                             ([str(checkpoint), "--limit", "40"], "of other images"),
                             ([str(checkpoint), "--engine", "brute"], "another engine: 'auto', now 'brute'"),
                             ([str(checkpoint), "--step", "2"], "another placement")):
        assert main(["audit", *arguments, "--quiet", "--out", "part", "--resume"]) == 2, arguments
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and len(error) < 1000, error
    assert {path: path.read_bytes() for path in sorted((tmp_path / "part").rglob("*")) if path.is_file()} == kept


def test_a_time_budget(checkpoint, monkeypatch, capsys):
    from shiftscope.auditing import estimate

    line = ["audit", str(checkpoint), "--json", "--quiet"]
    assert main([*line, "--budget", "10m"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["placements"], found["sampled"]) == (20, False)
    monkeypatch.setattr(estimate, "_trial", lambda choice, classes: 20.0)  # per image: 1 s per placement
    monkeypatch.setattr(estimate, "CHECK_BATCHES", 0)
    assert main([*line, "--budget", "10m", "--engine", "brute"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sampled"] and found["placements"] in (7, 8, 9), found["placements"]  # 0.9 * 600 s / 60 images
    assert "placements of each image fit into the time budget of 600 s" in found["reason"]
    low, high = found["intervals"]["mean_accuracy"]
    assert low < found["mean_accuracy"] < high
    for more, words in ((["--budget", "30s"], "time for at least one placement of each of the 60 images"),
                        (["--budget", "10m", "--sample", "3"], "not given together with sample"),
                        (["--budget", "10m", "--engine", "dense"], "not given together with the engine 'dense'"),
                        (["--budget", "0"], "budget must be a time above 0 as in 90s, 10m or 1.5h"),
                        (["--budget", "soon"], "budget must be a time above 0")):
        assert main([*line, *more]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and len(error) < 400, error


def test_only_the_worst_case(checkpoint, npz, tmp_path, capsys):
    predictions, labels = by_hand(npz)
    expected = (predictions == labels).all(1).mean()
    line = ["audit", str(checkpoint), "--only", "worst-case", "--quiet"]
    assert main([*line, "--json", "--out", "found"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "worst-case" and found["worst_case_accuracy"] == pytest.approx(expected)
    assert found["mean_accuracy"] is found["consistency"] is found["unanimity"] is None
    assert found["placements"] == 20 and found["computed"] <= 1200
    assert json.loads((tmp_path / "found" / "result.json").read_text()) == found
    assert main(line) == 0
    output = capsys.readouterr().out
    assert "each left at its first error" in output and "not computed" in output
    assert main([*line, "--fail-under", "worst=0.99"]) == 4
    capsys.readouterr()
    for more, words in ((["--sample", "3"], "without --sample"), (["--budget", "5m"], "without --budget"),
                        (["--against", str(checkpoint), "--csv", "a.csv"], "without --against, --csv"),
                        (["--out", "found", "--resume"], "without --resume"),
                        (["--fail-under", "mean=0.5,worst=0.1"], "without --fail-under mean"),
                        (["--out", "found"], "already exists")):
        assert main([*line, *more]) == 2, more
        error = capsys.readouterr().err
        assert words in error and len(error) < 400, error
    assert main([*line, "--out", "found", "--overwrite"]) == 0
    assert main(["audit", str(checkpoint), "--only", "mean"]) == 2
    assert "worst-case" in capsys.readouterr().err
