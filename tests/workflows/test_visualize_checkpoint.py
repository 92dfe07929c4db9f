import json

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.errors import DataError, UsageError
from shiftscope.models import Provenance, TwoFullNet, save
from shiftscope.placement import Placement
from shiftscope.results import Neighbors, Quality, Synthesis
from shiftscope.settings import SynthesisChecks, SynthesisSettings
from shiftscope.workflows.visualize_checkpoint import visualize_checkpoint

FEW = SynthesisSettings(steps=4)


@pytest.fixture(scope="module")
def dots(tmp_path_factory):
    """12 test images of 8 x 10 in three classes, as the name of a dataset."""
    draw = np.random.default_rng(0)
    parts = {f"{split}_{what}": values for split in ("train", "test") for what, values in (
        ("images", draw.integers(0, 256, (12, 8, 10), dtype=np.uint8)), ("labels", np.arange(12) % 3))}
    path = tmp_path_factory.mktemp("data") / "dots.npz"
    np.savez(path, **parts, class_names=np.array(["Bag", "Coat", "Shirt"]))
    return f"npz:{path}"


def stored(folder, dataset, seed=0, canvas=(16, 20), names=("Bag", "Coat", "Shirt")):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TwoFullNet(12, canvas=canvas, classes=len(names))
    place = Placement(image=(8, 10), canvas=canvas)
    return save(model, folder, provenance=Provenance(name="two-full", dataset=dataset, class_names=list(names),
                                                     placement=place.to_dict()))


@pytest.fixture
def checkpoint(tmp_path):
    return stored(tmp_path / "ckpt", None)


class Notes:
    """A progress that keeps what it is told."""

    def __init__(self):
        self.notes = []

    def task(self, title, total, unit="images", done=0):
        class Task:
            def advance(self, count, **values):
                pass

            def close(self):
                pass

        return Task()

    def note(self, message):
        self.notes.append(message)


def look(checkpoint, out, *objectives, start=None, progress=None, overrides=None, **checks):
    return visualize_checkpoint(checkpoint, objectives, out=out, start=start, settings=FEW, overrides=overrides,
                                checks=SynthesisChecks(**checks), progress=progress or Notes())


def make(checkpoint, out, *objectives, start=None):
    return [found.synthesis for found in look(checkpoint, out, *objectives, start=start)]


def test_default_objectives_are_classes_and_neurons(checkpoint, tmp_path):
    classes, neurons = make(checkpoint, tmp_path / "out")
    assert classes.units == ["class:Bag", "class:Coat", "class:Shirt"] and len(neurons.units) == 12
    again = Synthesis.load(tmp_path / "out" / "fc1-all")
    np.testing.assert_array_equal(again.images, neurons.images)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"class-all.png", "fc1-all.svg", "class-neurons-fc1-all.png", "parameters.json", "quality.json",
            "quality-fc1-all.png"} <= names
    assert not any(name.startswith("neighbors") for name in names)
    table = json.loads((tmp_path / "out" / "parameters.json").read_text())
    assert [row["name"] for row in table["parameters"]] == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
    assert table["parameters"][0]["shape"] == [12, 320]


def test_syntheses_have_neighbors_and_a_judge(dots, tmp_path):
    model, judge = stored(tmp_path / "ckpt", dots), stored(tmp_path / "judge", dots, seed=1)
    out = tmp_path / "out"
    classes, neurons = look(model, out, "class:all", "fc1:0-3", neighbors=2, placements=20, judge=judge, seeds=2)
    assert classes.neighbors is not None and classes.neighbors.top_index.shape == (3, 2)
    assert classes.neighbors.images == 12 and classes.neighbors.placements <= 20 < classes.neighbors.possible == 99
    assert classes.quality.transfer == pytest.approx(classes.quality.judged_correct.mean())
    assert classes.quality.judged.min() >= 0
    assert classes.quality.judge == "two-full" and neurons.quality.transfer is None
    assert np.isfinite(neurons.quality.seed_stability).all() and neurons.quality.dead is not None
    assert Neighbors.load(out / "fc1-0-3" / "neighbors").units == neurons.synthesis.units
    assert Quality.load(out / "class-all" / "quality").to_dict() == classes.quality.to_dict()
    assert (out / "neighbors-class-all.png").is_file() and (out / "neighbors-fc1-0-3.svg").is_file()
    merits = json.loads((out / "quality.json").read_text())
    assert [part["objective"] for part in merits["objectives"]] == ["class:all", "fc1:0-3"]
    assert len(merits["objectives"][1]["selectivity"]) == 4 and merits["objectives"][0]["judged"]


def test_images_are_written_before_real_ones_are_searched(dots, tmp_path, monkeypatch):
    found = {}

    def search(*arguments, **options):
        found["files"] = {path.name for path in (tmp_path / "out").iterdir()}
        raise KeyboardInterrupt

    monkeypatch.setattr("shiftscope.workflows.syntheses.find_neighbors", search)
    with pytest.raises(KeyboardInterrupt):
        look(stored(tmp_path / "ckpt", dots), tmp_path / "out", "class:Bag", "fc1:0-1")
    assert {"class-Bag.png", "class-Bag.svg", "class-Bag", "fc1-0-1.png"} <= found["files"]
    assert Synthesis.load(tmp_path / "out" / "class-Bag").units == ["class:Bag"]


def test_the_search_among_real_images(dots, tmp_path):
    model, notes = stored(tmp_path / "ckpt", dots), Notes()
    (found,) = look(model, tmp_path / "a", "class:Bag", progress=notes)
    assert (found.neighbors.images, found.neighbors.placements, found.neighbors.possible) == (12, 25, 99)
    assert notes.notes == ["synthesis of 1 objective: at most a few seconds; then a search among the test images of at "
                           "most about 20 s", "real images: the first 12 of 12 test images at 25 of 99 placements "
                           "each; --neighbor-images and --placements choose more"]
    (found,) = look(model, tmp_path / "b", "class:Bag", neighbor_images=5, placements=99, progress=(notes := Notes()))
    assert (found.neighbors.images, found.neighbors.placements) == (5, 99)
    assert notes.notes[0].endswith("; then a search among 5 test images")
    assert found.neighbors.top_index.max() < 5


@pytest.mark.parametrize("change", [{"neighbor_images": 0}, {"neighbor_images": -3}, {"placements": 0}])
def test_invalid_sizes_of_the_search(change):
    (name,) = change
    with pytest.raises(UsageError, match=f"{name} must be an integer of at least 1, got"):
        SynthesisChecks(**change)


def test_missing_real_images(checkpoint, dots, tmp_path):
    silent, missing = Notes(), Notes()
    look(checkpoint, tmp_path / "a", "fc1:0", progress=silent)
    assert silent.notes[0] == ("no real images are shown: the checkpoint does not name the dataset that it was trained "
                               "on; name one with --data")
    assert silent.notes[1:] == ["synthesis of 1 objective: at most a few seconds"]
    gone = stored(tmp_path / "gone", f"npz:{tmp_path / 'nowhere.npz'}")
    (found,) = look(gone, tmp_path / "b", "fc1:0", progress=missing)
    assert found.neighbors is None and len(missing.notes) == 2
    assert "no real images are shown: npz:" in missing.notes[0] and "could not be used" in missing.notes[0]
    (named,) = look(gone, tmp_path / "c", "fc1:0", overrides={"data": dots}, placements=4)
    assert named.neighbors is not None
    with pytest.raises(DataError):
        look(checkpoint, tmp_path / "d", "fc1:0", overrides={"data": f"npz:{tmp_path / 'nowhere.npz'}"})
    assert not look(checkpoint, tmp_path / "e", "fc1:0", neighbors=0, progress=(none := Notes()))[0].neighbors
    assert none.notes == ["synthesis of 1 objective: at most a few seconds"]


def test_invalid_judges(checkpoint, dots, tmp_path):
    other = stored(tmp_path / "other", dots, names=("Bag", "Coat", "Boot", "Shirt"))
    with pytest.raises(UsageError, match="has the classes Bag, Coat, Boot, Shirt, the model Bag, Coat, Shirt: choose"):
        look(checkpoint, tmp_path / "out", judge=other)
    large = stored(tmp_path / "large", dots, canvas=(20, 16))
    with pytest.raises(UsageError, match="has a canvas of 20 x 16, the model one of 16 x 20: choose a judge with"):
        look(checkpoint, tmp_path / "out", judge=large)
    assert not (tmp_path / "out").exists()


def test_one_class_by_name(checkpoint, tmp_path):
    (found,) = make(checkpoint, tmp_path / "out", "class:Coat")
    assert found.units == ["class:Coat"] and (tmp_path / "out" / "class-Coat.png").is_file()
    assert not list((tmp_path / "out").glob("class-neurons*"))


def test_a_start_image_of_the_canvas_or_the_image_size(checkpoint, tmp_path):
    Image.fromarray(np.full((16, 20), 128, np.uint8)).save(tmp_path / "canvas.png")
    Image.fromarray(np.full((8, 10), 255, np.uint8)).save(tmp_path / "image.png")
    found = {name: make(checkpoint, tmp_path / name, "fc1:0", start=str(tmp_path / f"{name}.png"))[0].images[0, 0]
             for name in ("canvas", "image")}
    inside = np.zeros((16, 20), bool)
    inside[4:12, 5:15] = True
    assert found["image"][inside].mean() > 0.7 > 0.3 > found["image"][~inside].mean()
    assert found["canvas"].mean() == pytest.approx(0.5, abs=0.1)


def test_invalid_start_images(checkpoint, tmp_path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "other.png")
    with pytest.raises(UsageError, match="is 9 x 9 pixels: use one of the canvas's size, 16 x 20, or of the image's"):
        make(checkpoint, tmp_path / "out", start=str(tmp_path / "other.png"))
    with pytest.raises(DataError, match="there is no start image gray: choose zero, black, random, mean, or a PNG"):
        make(checkpoint, tmp_path / "out", start="gray")
    assert not (tmp_path / "out").exists()


def test_unknown_names_write_nothing(checkpoint, tmp_path):
    with pytest.raises(UsageError, match=r"unknown layer of TwoFullNet 'fc3': did you mean"):
        make(checkpoint, tmp_path / "out", "class:all", "fc3:1")
    assert not (tmp_path / "out").exists()
