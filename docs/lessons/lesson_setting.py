"""Shared code of the lessons: the dataset, its size, and trained models.

There are two settings: the full one, under three minutes per lesson on two cores, and the small one for continuous
integration (LESSONS=small).
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
"""The course models, trained on Fashion-MNIST."""

COLORS = {"two-full": VERMILLION, "two-conv": BLUE}
"""Colors of perceptron and convnet in all figures, distinguishable with color blindness."""

Value = TypeVar("Value")

torch.set_num_threads(min(2, torch.get_num_threads()))  # makes times comparable between machines
plt.switch_backend(plt.get_backend())  # loads the backend, so that Jupyter also displays figures created without pyplot


def by_setting(small: Value, full: Value) -> Value:
    """Return `small` in the small setting, else `full`."""
    return small if SMALL else full


def choose_data() -> shiftscope.Dataset:
    """Return Fashion-MNIST if its files are on this machine, otherwise synthetic garments.

    Nothing is downloaded; use `shiftscope data fetch fashion-mnist`.
    """
    folders = {entry["name"]: entry["found"] for entry in dataset_catalog()}
    if folders["fashion-mnist"]:
        return shiftscope.load_dataset("fashion-mnist")
    return shiftscope.load_dataset("garments:3000,1000" if SMALL else "garments")


def trained_model(name: str, data: shiftscope.Dataset, epochs: int | None = None) -> torch.nn.Module:
    """Return the course model `name` ("two-full", "two-conv"), trained on random placements, in eval mode.

    For Fashion-MNIST it is loaded from a checkpoint; for synthetic garments it is trained, which takes seconds.
    """
    if data.name == "fashion-mnist":
        return shiftscope.load(CHECKPOINTS / name)
    model = shiftscope.models.build_model(name, seed=0)
    shiftscope.train(model, data, settings=shiftscope.TrainSettings(epochs=epochs, batch_size=by_setting(60, None)))
    return model.eval()


def credit(data: shiftscope.Dataset) -> str:
    """Return the caption with the source of the images, and whether they are synthetic."""
    return image_credit(data.name, synthetic=data.synthetic)
