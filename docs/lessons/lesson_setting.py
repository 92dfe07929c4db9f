"""Shared code of the lessons: the dataset, its size, trained models, and the code of a lesson for its solutions.

There are two settings: the full one, at most three minutes per lesson on two cores, and the small one for tests
(LESSONS=small in the environment).
"""

import io
import json
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import matplotlib.pyplot as plt
import torch

import shiftscope
from shiftscope.data import dataset_catalog
from shiftscope.reporting import image_credit
from shiftscope.reporting.figure_style import BLUE, VERMILLION

SMALL = os.environ.get("LESSONS") == "small"
"""True in the small setting."""

HERE = Path(__file__).parent

DATA = HERE.parent / "data" / "fashion-mnist"
"""Folder of the images in a folder written by `shiftscope lessons --pack`."""

CHECKPOINTS = next(path for path in (HERE / "checkpoints", HERE.parents[1] / "examples" / "checkpoints")
                   if path.is_dir())
"""The course models, trained on Fashion-MNIST."""

COLORS = {"two-full": VERMILLION, "two-conv": BLUE}
"""Colors of perceptron and convnet in all figures, distinguishable with color blindness."""

Value = TypeVar("Value")

# Two threads, so that times can be compared between machines.
torch.set_num_threads(min(2, torch.get_num_threads()))
# Loads the backend, so that Jupyter also displays figures created without pyplot.
plt.switch_backend(plt.get_backend())


def by_setting(small: Value, full: Value) -> Value:
    """Return `small` in the small setting, else `full`."""
    return small if SMALL else full


def choose_data() -> shiftscope.Dataset:
    """Return Fashion-MNIST if its files are on this machine, otherwise synthetic garments.

    Nothing is downloaded; use `shiftscope data fetch fashion-mnist`.
    """
    folder = DATA if DATA.is_dir() else None
    found = {entry["name"]: entry["found"] for entry in dataset_catalog(folder)}
    if found["fashion-mnist"]:
        return shiftscope.load_dataset("fashion-mnist", data_dir=folder)
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


def continue_lesson(name: str) -> dict[str, Any]:
    """Run the code of the lesson `name` without its output, and return its variables for the solutions."""
    notebook = HERE / f"{name}.ipynb"
    if notebook.is_file():
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    else:
        code = (HERE / f"{name}.py").read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": name}
    with redirect_stdout(io.StringIO()), patch.object(plt, "show", lambda: plt.close("all")):
        exec(compile(code, name, "exec"), names)
    return {key: value for key, value in names.items() if not key.startswith("__")}
