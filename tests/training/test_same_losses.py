"""The fast training path gives the same losses as a plain loop over whole canvases."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shiftscope.placement import Placement

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "same_losses.py"


def load_script():
    spec = importlib.util.spec_from_file_location("same_losses", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["two-full", "two-conv"])
@pytest.mark.parametrize("background", [0, 40])
def test_losses_of_ten_steps_equal_those_of_the_plain_loop(name, background, spots):
    place = Placement(image=(8, 8), canvas=(20, 24), background=background)
    few = replace(spots.limit(60), synthetic=False)
    assert load_script().largest_difference(name, few, place, 10, torch.float64) < 1e-9
