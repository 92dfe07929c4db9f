"""`shiftscope audit --mode crop` on a folder of photographs: pixels, predictions and file names by independent code."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.cli import main
from shiftscope.data import load_dataset
from shiftscope.errors import CheckpointError
from shiftscope.evaluation import evaluate
from shiftscope.placement import Placement
from shiftscope.reporting import inconsistent_images
from shiftscope.reporting.confusion import confusion_payload
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.results import Audit, Evaluation

MODEL = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 4, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 10 * 10, 2))
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    (root / "photograph_net.py").write_text(MODEL)
    random = np.random.default_rng(2)
    for index in range(24):
        path = root / "photos" / ("=cat" if index % 2 else "dog") / f"{index:02d} é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        coarse.resize((50 + index, 90 - 2 * index)).save(path)
    return root


@pytest.fixture
def audited(photos, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(photos)
    assert main(["audit", "photograph_net:net", "--data", "folder:photos", "--canvas", "32x32", "--mode", "crop",
                 "--split", "train", "--interpolation", "bicubic", "--step", "2", "--json", "--quiet",
                 "--out", str(tmp_path / "a")]) == 0
    return Audit.load(tmp_path / "a"), json.loads(capsys.readouterr().out), tmp_path / "a"


def reference(path, offset) -> torch.Tensor:
    """The canvas at an offset by Pillow and NumPy: shorter side 37, since 256/224 * 32 = 36.6."""
    image = Image.open(path)
    short = min(image.size)
    width, height = (int(37 * side / short) for side in image.size)
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32) / 255
    top, left = (round((side - 32) / 2) + shift - 2 for side, shift in zip((height, width), offset, strict=True))
    return torch.from_numpy(pixels[top:top + 32, left:left + 32].transpose(2, 0, 1))[None]


def test_every_prediction_equals_one_of_an_independent_loop(photos, audited):
    found, document, _ = audited
    assert found.geometry.image == (36, 36) and found.geometry.middle == (2, 2) and found.placements == 9
    assert found.preparation.endswith("images resized to a shorter side of 37 pixels (bicubic), center cropped to "
                                      "36 x 36 pixels (height x width)")
    scope: dict = {}
    exec(MODEL, scope)
    assert len(found.image_names) == found.images == 16 and document["image_names"] == found.image_names
    for index, name in enumerate(found.image_names):
        assert found.class_names[found.labels[index]] == name.split("/")[0]
        for column, offset in enumerate(found.offsets.tolist()):
            with torch.no_grad():
                output = scope["net"](reference(photos / "photos" / name, offset))
            assert int(output.argmax(1)) == found.predictions[index, column]


def test_tables_figures_and_pages_name_the_files(audited):
    found, _, folder = audited
    with (folder / "images.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["file"].removeprefix("'") for row in rows] == found.image_names  # "=cat/..." is a formula otherwise
    assert any(row["file"].startswith("'=cat/") for row in rows)
    words = " ".join(text.get_text() for text in inconsistent_images(found).findobj(lambda x: hasattr(x, "get_text")))
    least = int(np.argmin([np.bincount(row).max() for row in found.predictions]))
    assert found.image_names[least] in words and f"image {least}" not in words
    images = explorer_payload([found])["groups"][0]["images"]
    assert images["names"] == [found.image_names[number] for number in images["numbers"]]


def test_confusion_names_files_and_damaged_names_are_refused(photos, monkeypatch, tmp_path):
    monkeypatch.chdir(photos)
    data = load_dataset("folder:photos", image_size=(32, 32), shorter_side=37)
    scope: dict = {}
    exec(MODEL, scope)
    found = evaluate(scope["net"], data, placement=Placement(image=(32, 32), canvas=(32, 32)))
    images = confusion_payload([found])["matrices"][0]["images"]
    assert images["names"] == [found.image_names[number] for number in images["numbers"]]
    found.save(tmp_path / "e")
    assert Evaluation.load(tmp_path / "e").image_names == found.image_names
    values = json.loads((tmp_path / "e" / "result.json").read_text())
    (tmp_path / "e" / "result.json").write_text(json.dumps(values | {"image_names": ["a"]}))
    with pytest.raises(CheckpointError, match="image_names has 1 names, expected 4 or none"):
        Evaluation.load(tmp_path / "e")


@pytest.mark.parametrize(("more", "message"), [
    (["--shorter-side", "20"], "shorter_side must be at least the longer side of the canvas, 32 x 32 (height x width)"),
    (["--shorter-side", "50", "--resize", "pad"], "resize must be shorter with shorter_side, got 'pad'"),
    (["--image-size", "40", "--shorter-side", "36"], "shorter_side must be at least the longer side of image_size, 40"),
    (["--data", "garments:20,10", "--shorter-side", "36"], "shorter_side is an option of folder:PATH, not of garm")])
def test_contradicting_options_are_refused(photos, monkeypatch, capsys, more, message):
    monkeypatch.chdir(photos)
    data = [] if "--data" in more else ["--data", "folder:photos"]
    assert main(["audit", "photograph_net:net", *data, "--canvas", "32", "--mode", "crop", *more]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
