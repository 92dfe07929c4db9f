"""Every test here runs in an empty folder, without SHIFTSCOPE_* variables, and with fake workflows."""

import os
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

METRICS = {
    "schema_version": 1, "dataset": {"name": "garments", "train_images": 40, "test_images": 20, "canvas": [56, 56]},
    "seed": 0, "device": "cpu", "paused": None,
    "models": [{"name": "two-full", "seeds": [{"train_seconds": 3.4}], "test_accuracy_over_seeds": {
        "random": {"mean": 0.612, "std": None}, "centered": {"mean": 0.875, "std": None}}}],
    "controls": [{"name": "two-full", "seeds": [{"train_seconds": 3.4}] * 2, "test_accuracy_over_seeds": {
        "random": {"mean": 0.25, "std": 0.0125}, "centered": {"mean": 0.9, "std": 0.02}}}],
}


@pytest.fixture(autouse=True)
def clean_surroundings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    for name in [name for name in os.environ if name.startswith("SHIFTSCOPE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def workflows(monkeypatch):
    """Fake workflows; `workflows.calls` holds (name, positional, keywords) of every call."""
    notes = SimpleNamespace(calls=[], error=None, chatter="", metrics=METRICS)

    def work(name: str, result, *positional, **keywords):
        notes.calls.append((name, positional, keywords))
        sys.stdout.write(notes.chatter)
        if notes.error:
            raise notes.error
        return result

    def fake(module: str, **results):
        replacement = ModuleType(module)
        for name, result in results.items():
            setattr(replacement, name, partial(work, name, result))
        monkeypatch.setitem(sys.modules, module, replacement)

    fake("shiftscope.workflows.train_models", run_models=METRICS, train_one=trained())
    fake("shiftscope.workflows.use_checkpoint", evaluate_checkpoint=evaluated(), predict_files=[
        {"file": "a[1].png", "offset": [3, 4], "class": "Bag", "confidence": 0.75,
         "scores": {"Bag": 0.75, "Coat": 0.25}}])
    return notes


def trained():
    return SimpleNamespace(checkpoint="checkpoints/two-full-seed0", to_dict=lambda: {"schema_version": 1, "epochs": 2})


def evaluated():
    square = np.array([[3, 1], [0, 4]])
    return SimpleNamespace(
        model="two-full", images=8, split="test", dataset="garments", class_names=["Bag", "Coat"],
        accuracy={"random": 0.875, "centered": 1.0}, per_class={"random": [0.75, None], "centered": [1.0, None]},
        top5_accuracy=None, notes=["of 8 images"],
        confusion=square, confusion_centered=square, to_dict=lambda: {"schema_version": 1, "images": 8})


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A folder that says what its model was trained on."""
    from shiftscope.models import Provenance, TwoFullNet, save

    save(TwoFullNet(canvas=(40, 48)), tmp_path / "ckpt", provenance=Provenance(
        dataset="npz:mine.npz", class_names=[str(k) for k in range(10)], placement={"canvas": [40, 48]}))
    return tmp_path / "ckpt"
