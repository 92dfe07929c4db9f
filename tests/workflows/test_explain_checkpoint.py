import json

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.data import load_dataset
from shiftscope.errors import DataError, UsageError
from shiftscope.models import Provenance, TwoConvTwoFullNet, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Attribution, UnitTable
from shiftscope.visualization.attribution import attribute
from shiftscope.workflows.explain_checkpoint import attribute_checkpoint, inspect_units

SAVED = {"progress": SilentProgress()}


def write_images(folder, count=12):
    """A dataset of files: two classes of 8 x 10 pixels."""
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for index in range(count):
            target = folder / part / ("dark", "light")[index % 2]
            target.mkdir(parents=True, exist_ok=True)
            level = 60 if index % 2 == 0 else 200
            Image.fromarray((level + random.integers(-40, 40, (8, 10))).astype(np.uint8)).save(target / f"{index}.png")
    return folder


@pytest.fixture
def made(tmp_path):
    def build(model):
        place = Placement(image=(8, 10), canvas=(16, 20))
        data = f"folder:{write_images(tmp_path / 'images')}"
        return save(model, tmp_path / "ckpt", provenance=Provenance(
            name="mine", dataset=data, class_names=["dark", "light"], placement=place.to_dict())), data
    return build


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build()


def test_all_methods_that_fit_a_convnet_on_its_test_images(made, tmp_path):
    model = seeded(lambda: TwoConvTwoFullNet(canvas=(16, 20), classes=2))
    checkpoint, data = made(model)
    found = attribute_checkpoint(checkpoint, count=3, out=tmp_path / "out", **SAVED)
    assert [one.method for one in found] == ["integrated-gradients", "grad-cam", "occlusion", "saliency"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"attribution.png", "attribution.svg", "attribution-grad-cam"} <= names
    again = Attribution.load(tmp_path / "out" / "attribution-occlusion")
    assert again.images.shape == (3, 1, 16, 20) and set(again.labels.tolist()) <= {0, 1}
    assert again.index == [0, 1, 2] and again.split == "test" and again.geometry.canvas == (16, 20)
    shown = [canvas[0, dy:dy + 8, dx:dx + 10]
             for canvas, (dy, dx) in zip(np.round(255 * again.images), again.offsets, strict=True)]
    assert np.array_equal(shown, load_dataset(data).test.gather(torch.arange(3))[:, 0].numpy())
    model.eval()
    wanted = attribute(model, torch.from_numpy(again.images), method="saliency")
    np.testing.assert_allclose(found[-1].maps, wanted.maps, atol=1e-6)


def test_files_are_placed_in_the_middle(made, tmp_path):
    checkpoint, _ = made(seeded(lambda: TwoFullNet(12, canvas=(16, 20), classes=2)))
    Image.fromarray(np.full((8, 10), 100, np.uint8)).save(tmp_path / "own.png")
    found = attribute_checkpoint(checkpoint, [tmp_path / "own.png"], methods=["occlusion"], target="class:light",
                                 out=tmp_path / "out", **SAVED)
    (one,) = found
    inside = np.zeros((16, 20), bool)
    inside[4:12, 5:15] = True
    assert np.array_equal(one.images[0, 0] > 0, inside)
    assert one.targets.tolist() == [1] and one.labels.tolist() == [-1]


def test_invalid_arguments(made, tmp_path):
    checkpoint, _ = made(seeded(lambda: TwoFullNet(12, canvas=(16, 20), classes=2)))
    for options, error, message in [
            ({"count": 0}, UsageError, "count must be at least 1, got 0"),
            ({"methods": []}, UsageError, "methods must be at least one"),
            ({"methods": ["occlusion"], "layer": "conv1"}, UsageError, "the layer 'conv1' is for the method grad-cam"),
            ({"methods": ["gradcam"]}, UsageError, "unknown method 'gradcam'"),
            ({"images": [tmp_path / "none.png"]}, DataError, "there is no file")]:
        with pytest.raises(error, match=message):
            attribute_checkpoint(checkpoint, out=tmp_path / "out", **SAVED, **options)
    assert not (tmp_path / "out").exists()


def test_the_table_of_units_and_the_weight_figures(made, tmp_path):
    checkpoint, _ = made(seeded(lambda: TwoConvTwoFullNet(canvas=(20, 24), classes=2)))
    config = json.loads((checkpoint / "config.json").read_text())
    config["provenance"]["placement"]["canvas"] = [20, 24]
    (checkpoint / "config.json").write_text(json.dumps(config))
    table = inspect_units(checkpoint, out=tmp_path / "out", **SAVED)
    assert [row.layer for row in table.layers] == ["conv1", "conv2", "fc1", "fc2"] and table.images == 12
    assert UnitTable.load(tmp_path / "out" / "units").layers == table.layers
    figures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert figures == {"weights-conv1.png", "weights-conv2.png", "weights-fc1.png"}
