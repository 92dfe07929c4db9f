"""The committed checkpoints: they load, and do on the real test images what their table says."""

from pathlib import Path

import pytest

from shiftscope.data import load_dataset
from shiftscope.evaluation import evaluate
from shiftscope.models import count_parameters, load, load_config

CHECKPOINTS = Path(__file__).parents[1] / "examples" / "checkpoints"


@pytest.mark.parametrize("name, parameters, least", [("two-full", 314_710, 0.755), ("two-conv", 368_670, 0.82)])
def test_committed_checkpoints_hold_good_models(name, parameters, least, fashion_mnist_dir):
    model = load(CHECKPOINTS / name)
    assert count_parameters(model) == parameters
    assert load_config(CHECKPOINTS / name).provenance.dataset == "fashion-mnist"
    data = load_dataset("fashion-mnist", data_dir=fashion_mnist_dir)
    assert evaluate(model, data).accuracy["random"] >= least
