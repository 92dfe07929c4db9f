from pathlib import Path

import numpy as np
import pytest

from shiftscope.progress import SilentProgress
from shiftscope.settings import DataSettings, RunSettings
from shiftscope.workflows.main_job import run_main_job


@pytest.fixture(scope="session")
def npz(tmp_path_factory) -> Path:
    """200 + 60 images of 12 x 12 in three classes: a bright bar at the top, in the middle, at the bottom."""
    draw = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", 200), ("test", 60)):
        labels = np.arange(count) % 3
        images = draw.integers(0, 60, (count, 12, 12), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[1 + 4 * label:3 + 4 * label] = 240
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, **arrays, class_names=np.array(["top", "middle", "bottom"]))
    return path


@pytest.fixture(scope="session")
def done(npz, tmp_path_factory):
    """A main job that is done: folder, settings of data and run, metrics. Several tests read it, none changes it."""
    out = tmp_path_factory.mktemp("main job") / "out"
    data = DataSettings(data=f"npz:{npz}", canvas=(24, 26))
    run = RunSettings(epochs=2, seeds=2, seed=4, out=out, device="cpu")
    return out, data, run, run_main_job(data, run, progress=SilentProgress(), command=["shiftscope", "run"])
