"""Audits are killed with SIGKILL at random moments: resuming gives the results of an uninterrupted audit."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "killed_audits.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("engine", ["dense", "brute", "cut"])
def test_killed_audits_are_resumed(engine):
    done = subprocess.run([sys.executable, str(SCRIPT), "--kills", "3", "--engines", engine], capture_output=True,
                          text=True, timeout=600, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["kills"] == 3 and found["kills_while_results_were_written"] and found["compared"]
    assert found["different"] == [] and found["different_predictions"] == 0
