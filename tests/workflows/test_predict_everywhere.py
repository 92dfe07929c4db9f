"""`predict --everywhere`: every number against the plain model, and the files that it writes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.cli import main
from shiftscope.errors import UsageError
from shiftscope.models import Provenance, TwoConvTwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.reporting import alt_text, everywhere_csv, everywhere_figure, render_figure
from shiftscope.workflows.use_checkpoint import _map, predict_files

PLACE = Placement(image=(28, 28), canvas=(32, 33))
NAMES = ["=sum", *"bcdefghij"]
FILES = {"everywhere.csv", *(f"{name}.{kind}" for name in ("predictions", "prediction-everywhere")
                             for kind in ("png", "svg"))}


@pytest.fixture(scope="module")
def net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TwoConvTwoFullNet(canvas=PLACE.canvas).eval()
    with torch.no_grad():
        net.fc2.weight *= 30
    return net


@pytest.fixture(scope="module")
def root(net, tmp_path_factory):
    root = tmp_path_factory.mktemp("everywhere")
    save(net, root / "net", provenance=Provenance(name="two-conv", dataset="garments", class_names=NAMES,
                                                  placement=PLACE.to_dict(), trained="random"))
    (root / "pics").mkdir()
    random = np.random.default_rng(0)
    for index in range(3):
        Image.fromarray(random.integers(0, 100, (28, 28), dtype=np.uint8)).save(root / "pics" / f"{index}.png")
    (root / "same_size.py").write_text(
        "import torch\nfrom torch import nn\nwith torch.random.fork_rng():\n    torch.manual_seed(0)\n"
        "    net = nn.Sequential(nn.Conv2d(1, 3, 5, padding=2), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 3)).eval()")
    return root


@pytest.fixture(autouse=True)
def inside(root, monkeypatch):
    monkeypatch.chdir(root)


def by_hand(net, place, pixels):
    """(offsets, outputs (P, K)) of one image, one placement at a time."""
    with torch.no_grad():
        return place.offsets().tolist(), torch.cat([
            net(place.place(pixels[None], offset[None]).float() / 255) for offset in place.offsets()])


def test_the_table_holds_class_confidence_and_margin_at_every_placement(net, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["predict", "net", "pics", "--everywhere", "--out", str(out), "--quiet"]) == 0
    assert {path.name for path in out.iterdir()} == FILES
    assert "At 30 placements, mode canvas" in capsys.readouterr().out
    rows = list(csv.DictReader((out / "everywhere.csv").open()))
    assert len(rows) == 3 * 30 and list(rows[0]) == ["file", "dy", "dx", "class", "confidence", "margin"]
    for index in range(3):
        pixels = torch.from_numpy(np.array(Image.open(f"pics/{index}.png")))[None]
        offsets, outputs = by_hand(net, PLACE, pixels)
        best = outputs.topk(2).values
        names = ["'=sum" if name == "=sum" else name for name in NAMES]  # no formula for spreadsheets
        part = rows[30 * index:30 * index + 30]
        assert {row["file"] for row in part} == {f"pics/{index}.png"}
        assert [[int(row["dy"]), int(row["dx"])] for row in part] == offsets
        assert [row["class"] for row in part] == [names[label] for label in outputs.argmax(1).tolist()]
        np.testing.assert_allclose([float(row["confidence"]) for row in part], outputs.softmax(1).amax(1),
                                   rtol=1e-4)
        np.testing.assert_allclose([float(row["margin"]) for row in part], best[:, 0] - best[:, 1], rtol=2e-3,
                                   atol=1e-4)


def test_json_and_python_have_the_same_grids(net, tmp_path, capsys):
    assert main(["predict", "net", "pics/1.png", "--everywhere", "--out", str(tmp_path / "j"), "--json", "--quiet",
                 "--max-shift", "2", "--step", "2"]) == 0
    printed, = json.loads(capsys.readouterr().out)["predictions"]
    found, = predict_files("net", [Path("pics/1.png")], everywhere=True, max_shift=2, step=2, device="cpu")
    assert printed["map"] == found["map"] and found["map"]["rows"] == [0, 2, 4] and found["map"]["columns"] == [0, 2, 4]
    assert np.array(found["map"]["margin"]).shape == np.array(found["map"]["confidence"]).shape == (3, 3)


def test_a_model_with_the_size_of_its_images_is_shifted_with_fill(tmp_path, capsys):
    assert main(["predict", "same_size:net", "pics/0.png", "--canvas", "24x16", "--everywhere", "--json", "--quiet",
                 "--out", str(tmp_path / "o")]) == 0
    found, = json.loads(capsys.readouterr().out)["predictions"]
    assert found["map"]["mode"] == "fill (constant)" and found["map"]["rows"] == [-2, -1, 0, 1, 2]
    assert found["offset"] == [0, 0]


@pytest.mark.parametrize("more", [[], ["--everywhere"], ["--no-map"]])
def test_existing_files_are_kept_without_overwrite(tmp_path, capsys, more):
    out = tmp_path / "out"
    line = ["predict", "net", "pics/0.png", "--out", str(out), "--quiet", *more]
    assert main(line) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "note.txt").write_text("mine")
    assert main([*line[:2], "pics/1.png", *line[3:]]) == 2
    assert "already exists; replace it with --overwrite" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before | {"note.txt": b"mine"}
    assert main([*line[:2], "pics/1.png", *line[3:], "--overwrite"]) == 0
    assert (out / "note.txt").read_text() == "mine"
    assert (out / "predictions.png").read_bytes() != before["predictions.png"]


def test_only_the_files_that_would_be_written_are_in_the_way(tmp_path):
    out = tmp_path / "out"
    assert main(["predict", "net", "pics/0.png", "--everywhere", "--out", str(out), "--quiet"]) == 0
    for name in ("predictions.png", "predictions.svg"):
        (out / name).unlink()
    assert main(["predict", "net", "pics/0.png", "--out", str(out), "--quiet"]) == 0


@pytest.mark.parametrize(("line", "message"), [
    (["pics/0.png", "--everywhere"], "--everywhere needs a folder for its table and figure: give it with --out"),
    (["pics/0.png", "--step", "2"], "--max-shift and --step choose the placements of --everywhere"),
    (["pics/0.png", "--everywhere", "--out", "x", "--step", "0"], "step must be an integer of at least 1"),
    (["pics/0.png", "--everywhere", "--out", "x", "--max-shift", "-1"], "max_shift must be an integer of at least 0"),
    (["pics/0.png", "--everywhere", "--out", "x", "--max-shift", "0"], "needs more than one placement"),
    (["pics/0.png", "--everywhere", "--out", "x", "--step", "9"], "needs more than one placement"),
    (["missing.png", "--everywhere", "--out", "x"], "there is no file missing.png"),
    (["net", "--everywhere", "--out", "x"], "net")])
def test_bad_input_is_refused_and_nothing_is_written(root, capsys, line, message):
    assert main(["predict", "net", *line]) in (2, 3)
    said = capsys.readouterr().err
    assert message in said and len(said) < 400 and "unexpected" not in said and not (root / "x").exists()


def test_too_many_rows_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("shiftscope.workflows.use_checkpoint.MOST_ROWS", 80)
    with pytest.raises(UsageError, match="would write 90 rows, 30 placements of 3 images, at most 80 are possible"):
        predict_files("net", [Path("pics")], everywhere=True, device="cpu", out=tmp_path / "many")


def prediction(file, same, *, margin=0.5):
    classes = [["a"] * 3, ["a", None, "b"]]
    return {"file": file, "offset": [0, 0], "class": "a", "map": {
        "rows": [0, 1], "columns": [-1, 0, 1], "step": 1, "max_shift": None, "mode": "fill (edge)", "same_class": same,
        "classes": classes, "confidence": [[1, 0.5, 0.25], [1, 0, 0.5]], "margin": [[2, margin, 1], [1, None, 0.1]]}}


def test_the_figure_shows_the_images_whose_prediction_changes_most():
    figure = everywhere_figure([prediction(f"${index}$.png", index / 20) for index in range(20)][::-1])
    assert "The 12 of 20 images whose prediction changes most. 6 placements" in "".join(
        text.get_text().replace("\n", " ") for text in figure.texts)
    assert alt_text(figure).startswith("Prediction, confidence and margin by position. $0$.png: a at 0.0 %")
    maps = [axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_array().shape[:2] == (2, 3)]
    assert len(maps) == 36 and maps[2].get_array().mask.sum() == 1 and maps[1].norm.vmax == 1
    assert render_figure(figure, "svg")


def test_infinite_margins_and_outputs_without_a_class_are_empty():
    lines = everywhere_csv([prediction("a.png", 1.0)]).splitlines()
    assert lines[1] == "a.png,0,-1,a,1,2" and lines[5] == "a.png,1,0,non-finite,0,"


def test_a_certain_model_has_no_finite_margin():
    outputs, place = torch.tensor([[0.0, -torch.inf]]).expand(4, 2), Placement(image=(2, 2), canvas=(3, 3))
    found = _map(outputs, 0, place, "ab", "log-probabilities")
    assert found["margin"] == [[None] * 2] * 2 and found["confidence"] == [[1.0] * 2] * 2
