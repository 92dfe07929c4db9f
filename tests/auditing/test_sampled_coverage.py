"""The 95 % intervals of sampled audits against exact audits of all images at all placements."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sampled_coverage.py"


@pytest.mark.slow
def test_intervals_of_sampled_audits_hold_the_exact_figures():
    """95 of 100 intervals are expected, with a standard deviation of 2.2."""
    spec = importlib.util.spec_from_file_location("sampled_coverage", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    found = script.coverage(100, images=300, placements=30)
    assert found["of"] == 224 and 0.3 < found["exact"]["mean_accuracy"] < 0.95
    assert min(found["coverage"].values()) >= 0.88, found
    assert all(abs(found["mean_error"][name]) < 0.01 for name in ("mean_accuracy", "consistency")), found
