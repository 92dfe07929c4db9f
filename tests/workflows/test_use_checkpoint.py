import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from shiftscope.errors import CheckpointError, DataError, UsageError
from shiftscope.progress import SilentProgress
from shiftscope.runs import find_checkpoint
from shiftscope.settings import DataSettings, TrainSettings
from shiftscope.workflows.load_inputs import open_described
from shiftscope.workflows.train_models import train_one
from shiftscope.workflows.use_checkpoint import evaluate_checkpoint, predict_files

QUIET = SilentProgress()


@pytest.fixture(scope="module")
def trained(npz, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    data = DataSettings(data=f"npz:{npz}", canvas=(13, 13))
    settings = TrainSettings(epochs=12, batch_size=20, validation=40)
    return out, train_one("two-full", data, settings, device="cpu", out=out, progress=QUIET)


def picture(path, label, *, inverted=False, size=(12, 12)):
    pixels = np.full((12, 12), 20, dtype=np.uint8)
    pixels[1 + 4 * label:3 + 4 * label] = 240
    image = Image.fromarray(255 - pixels if inverted else pixels).resize(size, Image.Resampling.NEAREST)
    image.convert("RGB").save(path)
    return path


def test_a_trained_checkpoint_is_evaluated_on_what_it_was_trained_on(trained, npz, tmp_path):
    out, training = trained
    found = evaluate_checkpoint(out, {"data": f"npz:{npz}"}, out=tmp_path / "figures", progress=QUIET)
    assert found.images == 60 and found.trained == "random" and found.accuracy["random"] > 0.9
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        "result.json", "arrays.npz", "confusion.png", "confusion.svg", "classified.png", "classified.svg"}
    validation = evaluate_checkpoint(out, {"data": f"npz:{npz}"}, split="validation", progress=QUIET)
    assert validation.images == training.validation_images == 40
    assert validation.accuracy["random"] == pytest.approx(training.history[-1]["val_accuracy"])


def copy_with(trained, folder, **changed):
    """Copy a checkpoint with other values in its description."""
    shutil.copytree(find_checkpoint(trained[0]), folder)
    values = json.loads((folder / "config.json").read_text())
    values["provenance"] |= changed
    (folder / "config.json").write_text(json.dumps(values))
    return folder


PLACE = {"image": [12, 12], "canvas": [13, 13], "mode": "canvas"}


@pytest.mark.parametrize("changed, message", [
    ({"placement": {}}, "placement lacks image, canvas, mode"),
    ({"placement": {"image": [12, 12]}}, "placement lacks canvas, mode"),
    ({"placement": PLACE | {"canvas": "big"}}, "placement.canvas: expected array, got str"),
    ({"placement": PLACE | {"canvas": [40_000, 40_000]}}, "its canvas .* has more than 16,777,216 pixels"),
    ({"placement": PLACE | {"image": [12, -12]}}, r"placement.image\[1\]: expected int >= 1"),
    ({"placement": PLACE | {"mode": "spiral"}}, "placement.mode: invalid enum value 'spiral'"),
    ({"placement": PLACE | {"background": 256}}, "placement.background: expected int <= 255"),
    ({"placement": PLACE | {"background": "lace"}}, "placement.background: "),
    ({"placement": PLACE | {"image": [99, 99]}}, "the image does not fit"),
    ({"settings": {"validation": "few"}}, "settings.validation: expected int, got str"),
    ({"settings": {"validation": -1}}, "settings.validation: expected int >= 0"),
])
def test_an_invalid_description_raises_an_error(changed, message, trained, npz, tmp_path):
    with pytest.raises(CheckpointError, match=f"description is damaged: .*{message}"):
        evaluate_checkpoint(copy_with(trained, tmp_path / "net", **changed), {"data": f"npz:{npz}"}, progress=QUIET)


def test_a_file_cannot_request_many_synthetic_images(trained, tmp_path):
    folder = copy_with(trained, tmp_path / "net", dataset="garments:150000,10")
    with pytest.raises(UsageError, match="more than 14,000 synthetic images: .* pass --data garments:150000,10"):
        evaluate_checkpoint(folder, {}, progress=QUIET)


@pytest.mark.parametrize("label, name", [(0, "top"), (1, "middle"), (2, "bottom")])
@pytest.mark.parametrize("inverted", [False, True])
def test_an_own_image_is_classified(label, name, inverted, trained, tmp_path):
    path = picture(tmp_path / "mine.png", label, inverted=inverted, size=(120, 120))
    (found,) = predict_files(trained[0], [path], device="cpu", out=tmp_path / "out")
    assert found["class"] == name and found["inverted"] is inverted and found["confidence"] > 0.5
    assert sum(found["scores"].values()) == pytest.approx(1, abs=1e-5)
    assert (tmp_path / "out" / "predictions.png").stat().st_size > 1000


def test_the_offset_moves_the_image(trained, tmp_path):
    path = picture(tmp_path / "mine.png", 0)
    corner, middle = (predict_files(trained[0], [path], offset=offset, device="cpu")[0] for offset in ((1, 1), (0, 0)))
    assert corner["offset"] == [1, 1] and corner["scores"] != middle["scores"]
    with pytest.raises(UsageError, match=r"offset \(2, 0\) is not on the canvas: rows go from 0 to 1"):
        predict_files(trained[0], [path], offset=(2, 0), device="cpu")


def test_invalid_image_files_are_named(trained, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    whole = picture(tmp_path / "whole.png", 0).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    for name, message in (("absent.png", "there is no file"), ("text.png", "is not a readable image"),
                          ("half.png", "is not a readable image")):
        with pytest.raises(DataError, match=message):
            predict_files(trained[0], [tmp_path / name], device="cpu")


def test_datasets_with_other_classes_raise_an_error(trained, tmp_path):
    path = tmp_path / "other.npz"
    images = np.zeros((20, 12, 12), dtype=np.uint8)
    np.savez(path, train_images=images, train_labels=np.arange(20) % 2, test_images=images,
             test_labels=np.arange(20) % 2, class_names=np.array(["x", "y"]))
    with pytest.raises(UsageError, match=r"2 of 2 match no output: x, y \(outputs: top, middle, bottom\)"):
        evaluate_checkpoint(trained[0], {"data": f"npz:{path}"}, progress=QUIET)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        predict_files(tmp_path / "nothing", [tmp_path / "a.png"], device="cpu")


class Ending(torch.nn.Module):
    """A net with another end; it is put in the place of a checkpoint's model."""

    def __init__(self, net, end):
        super().__init__()
        self.net, self.end = net, end

    def forward(self, pixels):
        return self.end(self.net(pixels))


def predicted(trained, monkeypatch, end, path, **options):
    def opened(*arguments, **more):
        found = open_described(*arguments, **more)
        return dataclasses.replace(found, model=Ending(found.model, end))

    monkeypatch.setattr("shiftscope.workflows.use_checkpoint.open_described", opened)
    return predict_files(trained[0], [path], device="cpu", **options)[0]


def test_probabilities_follow_the_output_type(trained, monkeypatch, tmp_path):
    path = picture(tmp_path / "mine.png", 1)
    (plain,) = predict_files(trained[0], [path], device="cpu")
    assert plain["output_type"] == "log-probabilities"
    found = predicted(trained, monkeypatch, torch.exp, path)
    assert found["output_type"] == "probabilities" and found["class"] == plain["class"]
    assert found["scores"] == pytest.approx(plain["scores"], abs=1e-6)
    twice = predicted(trained, monkeypatch, torch.exp, path, output_type="logits")
    assert twice["confidence"] < found["confidence"] and twice["class"] == plain["class"]


def test_a_prediction_is_the_argmax_of_the_output_or_none(trained, monkeypatch, tmp_path):
    path = picture(tmp_path / "mine.png", 1)
    found = predicted(trained, monkeypatch, lambda z: torch.tensor([0.2, 0.4, 0.4]).expand_as(z), path)
    assert found["class"] == "middle" and found["confidence"] == pytest.approx(0.4)
    found = predicted(trained, monkeypatch, lambda z: torch.tensor([-torch.inf, 1.0, -torch.inf]).expand_as(z), path)
    assert found["class"] == "middle" and found["confidence"] == 1
    found = predicted(trained, monkeypatch, lambda z: z * torch.nan, path, out=tmp_path / "out")
    assert (found["class"], found["confidence"], found["scores"]) == (None, 0.0, None)
    assert found["map"]["classes"] == [[None, None]] * 2 and found["map"]["same_class"] == 1
