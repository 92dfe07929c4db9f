import pytest

from shiftscope.progress import SilentProgress
from shiftscope.settings import DataSettings, RunSettings
from shiftscope.workflows.train_models import run_models


@pytest.fixture(scope="session")
def done(npz, tmp_path_factory):
    """A main job that is done: folder, settings of data and run, metrics. Several tests read it, none changes it."""
    out = tmp_path_factory.mktemp("main job") / "out"
    data = DataSettings(data=f"npz:{npz}", canvas=(24, 26))
    run = RunSettings(epochs=2, seeds=2, seed=4, out=out, device="cpu")
    return out, data, run, run_models(data, run, progress=SilentProgress(), command=["shiftscope", "run"])
