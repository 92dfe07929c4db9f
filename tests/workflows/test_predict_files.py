"""`predict`: images prepared as in the training, and the map of predictions over all placements."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.cli import main
from shiftscope.data import load_dataset
from shiftscope.data.layout import image_files, list_layout, shuffled
from shiftscope.errors import CheckpointError, UsageError
from shiftscope.models import Provenance, TwoFullNet, build_model, load_config, save
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Audit, Evaluation
from shiftscope.runs import find_checkpoint
from shiftscope.settings import DataSettings, TrainSettings
from shiftscope.workflows.load_inputs import add_data, open_checkpoint
from shiftscope.workflows.train_models import train_one
from shiftscope.workflows.use_checkpoint import EXAMPLE, evaluate_checkpoint, fit_images, predict_files

QUIET = SilentProgress()
SIZES = ((20, 30), (24, 12), (12, 10), (9, 9), (40, 41))


MORE = {"shorter": {"shorter_side": 14, "interpolation": "bicubic"}}
"""Further settings of a resizing."""


def write_photographs(folder, *, color):
    """Write three images of each size and class with light borders; sizes are (height, width)."""
    random = np.random.default_rng(5)
    for name, level in (("cup", 40), ("plate", 140)):
        (folder / name).mkdir(parents=True)
        for k, (height, width) in enumerate(SIZES * 3):
            shape = (height, width, 3) if color else (height, width)
            pixels = random.integers(level, level + 60, shape, dtype=np.uint8)
            pixels[[0, -1]], pixels[:, [0, -1]] = 250, 250
            Image.fromarray(pixels).save(folder / name / f"{k}.png")
    return folder


@pytest.fixture(scope="module", params=[(True, "pad"), (False, "stretch"), (True, "shorter")], ids=str)
def trained(request, tmp_path_factory):
    """A checkpoint trained on photographs that are resized to 12 x 10, the folder, and how they were resized."""
    color, resize = request.param
    root = tmp_path_factory.mktemp("photographs")
    write_photographs(root / "photos", color=color)
    data = DataSettings(data=f"folder:{root / 'photos'}", image_size=(12, 10), canvas=(15, 16), background=30,
                        resize=None if resize == "pad" else resize, **MORE.get(resize, {}))
    train_one("two-full", data, TrainSettings(epochs=1, batch_size=8), device="cpu", out=root / "net", progress=QUIET)
    return root / "net", root / "photos", resize


def test_predict_and_audit_prepare_images_as_the_training_did(trained):
    out, photos, resize = trained
    assert load_config(find_checkpoint(out)).provenance.resize == resize
    loaded = open_checkpoint(out, device="cpu")
    data = add_data(loaded, {"data": f"folder:{photos}"}, QUIET).data
    stored = load_dataset(f"folder:{photos}", image_size=(12, 10), resize=resize, background=30,
                          **MORE.get(resize, {}))
    assert data.checksums == stored.checksums and data.preparation == stored.preparation != ""
    layout = list_layout(photos)
    for listing, images in ((layout.train, data.train), (layout.test, data.test)):
        files = [file for file, _ in shuffled(listing)]
        pixels, prepared = fit_images(files, loaded)
        assert pixels.equal(images.gather(torch.arange(len(files))))  # bit for bit, and none is inverted
        assert not any(how.inverted for how in prepared)
    assert len(image_files(layout.train)) + len(image_files(layout.test)) == 30


def test_results_and_figures_state_the_preparation(trained, tmp_path, monkeypatch):
    out, photos, resize = trained
    how = {"pad": "24 of 30 images resized to fit 12 x 10 pixels (height x width) and padded with 30",
           "stretch": "24 of 30 images stretched to 12 x 10 pixels (height x width)",
           "shorter": "30 of 30 images resized to a shorter side of 14 pixels (bicubic), center cropped to 12 x 10 "
                      "pixels (height x width)"}[resize]
    found = evaluate_checkpoint(out, {"data": f"folder:{photos}"}, out=tmp_path / "e", progress=QUIET)
    assert found.preparation == how == Evaluation.load(tmp_path / "e").preparation
    assert how.replace(" ", "") in "".join((tmp_path / "e" / "classified.svg").read_text().split())
    assert main(["audit", str(out), "--data", f"folder:{photos}", "--out", str(tmp_path / "a"), "--quiet"]) == 0
    assert Audit.load(tmp_path / "a").preparation == how
    assert json.loads((tmp_path / "a" / "result.json").read_text())["preparation"] == how


def test_another_size_or_resizing_can_be_chosen_for_a_checkpoint(trained):
    out, photos, resize = trained
    loaded, data = open_checkpoint(out, device="cpu"), f"folder:{photos}"
    other = {"pad": "stretch", "stretch": "pad", "shorter": "pad"}[resize]
    changed = add_data(loaded, {"data": data, "resize": other}, QUIET)
    assert changed.data.resize == other and changed.data.shape[1:] == (12, 10)
    smaller = add_data(loaded, {"data": data, "image_size": (8, 9)}, QUIET)
    assert smaller.placement.image == (8, 9) and smaller.placement.background == 30
    with pytest.raises(UsageError, match="it is 20 x 20, the canvas 15 x 16; .*--image-size H W"):
        add_data(loaded, {"data": data, "image_size": (20, 20)}, QUIET)


def test_an_unknown_resizing_in_a_checkpoint_is_refused(trained, tmp_path):
    folder = save(TwoFullNet(), tmp_path / "net", provenance=Provenance(resize="melt"))
    with pytest.raises(CheckpointError, match=r"provenance.resize: invalid enum value 'melt'"):
        load_config(folder)


# ---------------------------------------------------------------------- models of other images

@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A checkpoint with random weights for images of 28 x 28 on a canvas of 33 x 35."""
    placement = Placement(image=(28, 28), canvas=(33, 35))
    model = build_model("two-full", canvas=(33, 35), classes=3, seed=0)
    return save(model, tmp_path_factory.mktemp("net") / "ckpt", provenance=Provenance(
        name="two-full", class_names=["a", "b", "c"], placement=placement.to_dict(), channels=1))


def test_other_folders_are_fitted_into_the_image_size_of_the_training(net, tmp_path):
    for name in "abc":
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(3):
            Image.new("L", (14, 28), 90).save(tmp_path / "pets" / name / f"{k}.png")
    found = add_data(open_checkpoint(net, device="cpu"), {"data": f"folder:{tmp_path / 'pets'}"}, QUIET)
    assert found.data.shape == (1, 28, 28) and found.placement.image == (28, 28)
    assert (found.data.test.gather(torch.tensor([0]))[0, 0, 5, [0, 6, 7, 20, 21, 27]] == torch.tensor(
        [0, 0, 90, 90, 0, 0])).all()


def test_the_map_holds_the_prediction_at_every_placement(net, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 99, (28, 28), dtype=np.uint8)).save(tmp_path / "x.png")
    (found,) = predict_files(net, [tmp_path / "x.png"], offset=(1, 2), device="cpu", out=tmp_path / "out")
    loaded, pixels = open_checkpoint(net, device="cpu"), torch.from_numpy(np.array(Image.open(tmp_path / "x.png")))
    expected = []
    for dy in range(6):
        canvas = torch.zeros(8, 1, 33, 35)
        for dx in range(8):
            canvas[dx, 0, dy:dy + 28, dx:dx + 28] = pixels / 255
        expected.append(["abc"[label] for label in loaded.model(canvas).argmax(1)])
    map_ = found["map"]
    assert map_["classes"] == expected and (map_["rows"], map_["columns"]) == (list(range(6)), list(range(8)))
    assert found["class"] == expected[1][2] and map_["step"] == 1
    assert map_["same_class"] == pytest.approx(np.mean(np.array(expected) == found["class"]))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{name}.{kind}" for name in ("predictions", "prediction-maps") for kind in ("png", "svg")}
    (plain,) = predict_files(net, [tmp_path / "x.png"], maps=False, device="cpu")
    assert plain["map"] is None


def test_a_large_map_has_every_nth_offset_from_the_middle(tmp_path):
    placement = Placement(image=(20, 30), canvas=(110, 64))
    net = save(TwoFullNet(4, canvas=(110, 64), classes=3), tmp_path / "net", provenance=Provenance(
        class_names=["a", "b", "c"], placement=placement.to_dict(), channels=1))
    (found,) = predict_files(net, device="cpu")
    map_ = found["map"]
    assert map_["step"] == 3 and map_["rows"] == list(range(0, 91, 3)) and 17 in map_["columns"]
    assert np.array(map_["classes"]).shape == (len(map_["rows"]), len(map_["columns"]))
    assert found["scaled"] == (20, 20)


def test_without_an_image_the_example_is_classified(net, capsys):
    garment = load_dataset("garments:20,10").test.gather(torch.tensor([7]))[0, 0]
    assert torch.from_numpy(np.array(Image.open(EXAMPLE))).equal(garment)
    assert main(["predict", str(net), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("No image was named: this is the example, a synthetic garment.")
    assert "example.png at all 48 placements: the same class at" in said and str(EXAMPLE) not in said


def test_the_text_states_what_was_changed_and_shows_the_map(net, tmp_path, capsys):
    pixels = np.full((56, 28), 255, dtype=np.uint8)
    pixels[10:40, 5:20] = 30
    Image.fromarray(pixels).save(tmp_path / "white.png")
    assert main(["predict", str(net), str(tmp_path / "white.png"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert ("white.png: resized from 56 x 28 to 28 x 14 pixels (height x width); inverted, because its border is light "
            "and the model was trained on a dark background") in said
    rows = [line.split() for line in said.splitlines()]
    assert sum(len(row) == 9 and row[0] in "012345" and set(row[1:]) <= set(".abc") for row in rows) == 6
    black = tmp_path / "black.png"
    Image.new("L", (28, 28)).save(black)
    assert main(["predict", str(net), str(black), "--quiet"]) == 0  # one class: the grid would say nothing more
    assert "black.png at all 48 placements: the same class at 100.0 % of them\n" in capsys.readouterr().out[-99:]
    assert main(["predict", str(net), str(tmp_path / "white.png"), "--no-map", "--quiet"]) == 0
    assert "placements" not in capsys.readouterr().out
    assert main(["predict", str(net), *[str(tmp_path / "white.png")] * 5, "--json", "--quiet"]) == 0
    document = json.loads(capsys.readouterr().out)["predictions"]
    assert len(document) == 5 and document[0]["inverted"] is True and document[0]["size"] == [56, 28]
    assert len(document[4]["map"]["classes"]) == 6
