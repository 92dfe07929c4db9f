"""What the lessons share: which images, how many of them, and a model that has learned already.

Two settings: the full one, under three minutes a lesson on two cores, and the small one, which continuous integration
uses (LESSONS=small).
"""

import os
from pathlib import Path
from typing import TypeVar

import matplotlib.pyplot as plt
import torch

import shiftscope
from shiftscope.data import dataset_catalog
from shiftscope.reporting import image_credit
from shiftscope.reporting.figure_style import BLUE, VERMILLION

SMALL = os.environ.get("LESSONS") == "small"
"""True in the small setting."""

CHECKPOINTS = Path(__file__).parents[2] / "examples" / "checkpoints"
"""The course's two models, trained on Fashion-MNIST."""

COLORS = {"two-full": VERMILLION, "two-conv": BLUE}
"""Of perceptron and convnet, the same in all pictures; color-blind people tell them apart."""

Value = TypeVar("Value")

torch.set_num_threads(min(2, torch.get_num_threads()))  # times are then comparable between machines
plt.switch_backend(plt.get_backend())  # loads it: Jupyter then shows figures that were made without pyplot as well


def by_setting(small: Value, full: Value) -> Value:
    """Return `small` in the small setting, else `full`."""
    return small if SMALL else full


def choose_data() -> shiftscope.Dataset:
    """Return Fashion-MNIST where its files are on this machine, else garments that Shiftscope draws itself.

    Nothing is downloaded: `shiftscope data fetch fashion-mnist` does that.
    """
    found = {entry["name"]: entry["found"] for entry in dataset_catalog()}
    if found["fashion-mnist"]:
        return shiftscope.load_dataset("fashion-mnist")
    return shiftscope.load_dataset("garments:3000,1000" if SMALL else "garments")


def trained_model(name: str, data: shiftscope.Dataset, epochs: int | None = None) -> torch.nn.Module:
    """Return the course's model `name` ("two-full", "two-conv"), trained on moved garments, in eval mode.

    For Fashion-MNIST it is read from a checkpoint; on synthetic garments it is trained now, which takes seconds.
    """
    if data.name == "fashion-mnist":
        return shiftscope.load(CHECKPOINTS / name)
    model = shiftscope.models.build_model(name, seed=0)
    shiftscope.train(model, data, settings=shiftscope.TrainSettings(epochs=epochs, batch_size=by_setting(60, None)))
    return model.eval()


def credit(data: shiftscope.Dataset) -> str:
    """Return the line under a picture: whose images these are, and whether they were drawn."""
    return image_credit(data.name, synthetic=data.synthetic)
