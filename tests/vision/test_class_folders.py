"""Class folders and images without labels with the outputs of a timm model."""

import json

import numpy as np
import pytest
from PIL import Image

from shiftscope.cli import main

MODEL = "timm:mobilenetv3_small_050@none"


def write(folder, *names):
    draw = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (240, 250, 3), dtype=np.uint8)).save(folder / name)


@pytest.mark.parametrize(("folders", "outputs"), [
    (("n02123045", "n07920052"), [281, 967]), (("tabby", "Espresso"), [281, 967]), (("281", "967"), [281, 967])])
def test_folders_are_matched_with_the_outputs_of_the_source(tmp_path, capsys, folders, outputs):
    write(tmp_path / "photos", *(f"{folder}/a.png" for folder in folders))
    line = [MODEL, "--data", f"folder:{tmp_path / 'photos'}", "--quiet", "--json"]
    assert main(["audit", *line, "--mode", "crop", "--step", "16", "--engine", "brute"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [index for index, value in enumerate(found["per_class"]) if value is not None] == outputs
    assert len(found["class_names"]) == 1000 and found["class_names"][282] == "tiger cat"
    assert 0 <= found["top5_accuracy"] <= 1


def test_predictions_for_images_without_labels_have_the_names_of_the_source(tmp_path, capsys):
    write(tmp_path / "photos", "a.png", "b.png")
    assert main(["audit", MODEL, "--data", f"folder:{tmp_path / 'photos'}", "--quiet", "--json", "--mode", "crop",
                 "--step", "16", "--engine", "brute"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labeled"] is False and found["class_names"][967] == "espresso"


def test_folders_that_match_no_output_are_listed(tmp_path, capsys):
    write(tmp_path / "photos", "tabby cat/a.png", "spoon of honey/b.png")
    assert main(["evaluate", MODEL, "--data", f"folder:{tmp_path / 'photos'}", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "match no output" in said and "spoon of honey" in said and len(said) < 400 and said.count("\n") == 1
