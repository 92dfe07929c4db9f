"""Two real processes that train a model together: the first audits it, alone."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("in_step_worker.py")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv on Windows")]


def test_the_first_of_two_processes_audits(tmp_path):
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for name, command in (("one", []), ("two", launch)):
        (tmp_path / name).mkdir()
        subprocess.run([sys.executable, *command, str(WORKER), str(tmp_path / name)], check=True, timeout=200,
                       env=os.environ | {"OMP_NUM_THREADS": "1"})
    alone = np.load(tmp_path / "one" / "rank-0.npz")
    first, second = (np.load(tmp_path / "two" / f"rank-{rank}.npz") for rank in (0, 1))
    assert first["audited"] and not second["audited"] and second["logged"].size == 0
    assert first["logged"].shape == (2, 3) and first["logged"][:, 0].tolist() == [1, 2]
    np.testing.assert_allclose(first["logged"], alone["logged"], atol=1e-6)
    np.testing.assert_allclose(first["weights"], alone["weights"], atol=1e-5)
    assert (first["weights"] == second["weights"]).all()
