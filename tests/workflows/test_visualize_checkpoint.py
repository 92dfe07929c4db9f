import json

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.errors import DataError, UsageError
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Synthesis
from shiftscope.settings import SynthesisSettings
from shiftscope.workflows.visualize_checkpoint import visualize_checkpoint

FEW = SynthesisSettings(steps=4)


@pytest.fixture
def checkpoint(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TwoFullNet(12, canvas=(16, 20), classes=3)
    place = Placement(image=(8, 10), canvas=(16, 20))
    return save(model, tmp_path / "ckpt", provenance=Provenance(
        name="two-full", dataset="garments", class_names=["Bag", "Coat", "Shirt"], placement=place.to_dict()))


def make(checkpoint, out, *objectives, start=None):
    return visualize_checkpoint(checkpoint, objectives, out=out, start=start, settings=FEW, progress=SilentProgress())


def test_classes_and_neurons_unless_something_is_asked_for(checkpoint, tmp_path):
    classes, neurons = make(checkpoint, tmp_path / "out")
    assert classes.units == ["class:Bag", "class:Coat", "class:Shirt"] and len(neurons.units) == 12
    again = Synthesis.load(tmp_path / "out" / "fc1-all")
    np.testing.assert_array_equal(again.images, neurons.images)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"class-all.png", "fc1-all.svg", "class-neurons-fc1-all.png", "parameters.json"} <= names
    table = json.loads((tmp_path / "out" / "parameters.json").read_text())
    assert [row["name"] for row in table["parameters"]] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert table["parameters"][0]["shape"] == [12, 320]


def test_one_class_by_name(checkpoint, tmp_path):
    (found,) = make(checkpoint, tmp_path / "out", "class:Coat")
    assert found.units == ["class:Coat"] and (tmp_path / "out" / "class-Coat.png").is_file()
    assert not list((tmp_path / "out").glob("class-neurons*"))


def test_a_start_picture_of_the_canvas_or_of_the_image(checkpoint, tmp_path):
    Image.fromarray(np.full((16, 20), 128, np.uint8)).save(tmp_path / "canvas.png")
    Image.fromarray(np.full((8, 10), 255, np.uint8)).save(tmp_path / "image.png")
    found = {name: make(checkpoint, tmp_path / name, "fc1:0", start=str(tmp_path / f"{name}.png"))[0].images[0, 0]
             for name in ("canvas", "image")}
    inside = np.zeros((16, 20), bool)
    inside[4:12, 5:15] = True
    assert found["image"][inside].mean() > 0.7 > 0.3 > found["image"][~inside].mean()
    assert found["canvas"].mean() == pytest.approx(0.5, abs=0.1)


def test_start_pictures_that_cannot_be(checkpoint, tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "other.png")
    with pytest.raises(UsageError, match="is 9 x 9 pixels: give one of the canvas's size, 16 x 20, or of the image's"):
        make(checkpoint, tmp_path / "out", start=str(tmp_path / "other.png"))
    with pytest.raises(DataError, match="there is no file gray to start from: give zero, black, random, or a PNG"):
        make(checkpoint, tmp_path / "out", start="gray")
    assert not (tmp_path / "out").exists()


def test_unknown_names_leave_nothing_behind(checkpoint, tmp_path):
    with pytest.raises(UsageError, match=r"unknown layer of TwoFullNet 'fc3': did you mean"):
        make(checkpoint, tmp_path / "out", "class:all", "fc3:1")
    assert not (tmp_path / "out").exists()
