"""The committed checkpoints do on the real test images what their table says; examples end in what they promise."""

import re
import runpy
import sys
from pathlib import Path

import pytest
from PIL import Image

from shiftscope.data import load_dataset
from shiftscope.evaluation import evaluate
from shiftscope.models import count_parameters, load, load_config

CHECKPOINTS = Path(__file__).parents[1] / "examples" / "checkpoints"


@pytest.mark.parametrize("name, parameters, least", [("two-full", 314_710, 0.755), ("two-conv", 368_670, 0.82)])
def test_committed_checkpoints_are_accurate(name, parameters, least, fashion_mnist_dir):
    model = load(CHECKPOINTS / name)
    assert count_parameters(model) == parameters
    assert load_config(CHECKPOINTS / name).provenance.dataset == "fashion-mnist"
    data = load_dataset("fashion-mnist", data_dir=fashion_mnist_dir)
    assert evaluate(model, data).accuracy["random"] >= least


def test_cycle_spinning_equals_the_undecimated_transform(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["03_cycle_spinning.py", "--out", str(tmp_path / "new" / "picture.png")])
    runpy.run_path(str(CHECKPOINTS.parent / "03_cycle_spinning.py"), run_name="__main__")
    shown = capsys.readouterr().out
    decibels = [float(number) for number in re.findall(r"(\d+\.\d+) dB", shown)]
    drifts = [float(number) for number in re.findall(r"dB +(\S+)$", shown, flags=re.MULTILINE)]
    assert len(decibels) == len(drifts) == 6
    assert decibels[:5] == sorted(decibels[:5]) and decibels[4] == decibels[5] > decibels[1] + 3
    assert min(drifts[1:4]) > 0.01 and max(drifts[4:]) < 1e-12
    assert float(re.search(r"differ by at most (\S+);", shown)[1]) < 1e-12
    with Image.open(tmp_path / "new" / "picture.png") as picture:
        assert picture.format == "PNG" and len(picture.convert("L").getcolors()) > 100
    table = (CHECKPOINTS.parents[1] / "docs" / "wavelets.md").read_text(encoding="utf-8")
    assert [float(number) for number in re.findall(r"\| (\d+\.\d+) dB", table)] == decibels
