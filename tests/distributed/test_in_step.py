"""Two real processes that call the same functions find what one finds, to the last count."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WORKER = Path(__file__).with_name("in_step_worker.py")
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv on Windows")]


@pytest.fixture(scope="module")
def worker() -> dict:
    return runpy.run_path(str(WORKER))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Path, list[dict[str, np.ndarray]]]:
    """The folder of two processes, and what each of them found."""
    out = tmp_path_factory.mktemp("two")
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(WORKER),
                    str(out)], env=ONE_THREAD, check=True, timeout=300)
    return out, [dict(np.load(out / f"rank-{rank}.npz")) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one(worker, tmp_path_factory) -> dict[str, np.ndarray]:
    return worker["everything"](tmp_path_factory.mktemp("one"))


def test_all_processes_get_the_same_results(two):
    first, second = two[1]
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize("part", ["brute", "dense", "orbit", "evaluation"])
def test_counts_are_equal_exactly(two, one, part):
    names = [name for name in one if name.startswith(f"{part}.")]
    assert len(names) >= 2
    for name in names:
        two_say, one_says = two[1][0][name], one[name]
        if one_says.dtype.kind == "f":  # which memory layout is faster is tried anew, and decides how sums are rounded
            np.testing.assert_allclose(two_say, one_says, rtol=1e-3, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(two_say, one_says, err_msg=name)


def test_the_audits_use_the_expected_engines(one):
    assert [str(one[f"{part}.engine"]) for part in ("brute", "dense", "orbit")] == ["brute", "dense", "dense"]
    assert one["brute.predictions"].shape == (300, 42) and len(np.unique(one["brute.predictions"])) == 4
    assert (one["orbit.predictions"] == one["orbit.predictions"][:, :1]).all()
    assert one["brute.counts"].tolist()[3] == 7 * 8  # half a percent of the placements


@pytest.mark.parametrize("part", ["train", "stream"])
def test_trainings_are_equal_to_rounding(two, one, part):
    both = two[1][0]
    np.testing.assert_allclose(both[f"{part}.weights"], one[f"{part}.weights"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(both[f"{part}.history"][:, 0], one[f"{part}.history"][:, 0], rtol=1e-5)
    np.testing.assert_array_equal(both[f"{part}.history"][:, 1:], one[f"{part}.history"][:, 1:])


def test_images_are_shared_by_chunks(two, one):
    assert one["synthesis.images"].shape == (6, 1, 14, 13)
    np.testing.assert_allclose(two[1][0]["synthesis.images"], one["synthesis.images"], atol=1e-5)


def test_a_stop_request_to_one_process_stops_the_audit_in_all(two, one):
    found = two[1][0]
    images, partial = found["stopped.images"]
    assert partial and 0 < images < 300
    np.testing.assert_array_equal(found["stopped.predictions"], one["brute.predictions"][:images])


def test_a_time_limit_in_one_process_pauses_the_training_in_all(two):
    assert [int(found["basics.paused"]) for found in two[1]] == [0, 0]


def test_an_error_of_the_first_process_is_raised_by_all(two):
    assert [str(found["basics.refused"]) for found in two[1]] == ["refused by process 0"] * 2


def test_sums_and_lists_cover_both_processes(two, one):
    assert two[1][1]["basics.total"].tolist() == [2, 20] and one["basics.total"].tolist() == [1, 10]
    assert two[1][1]["basics.gathered"].tolist() == ["r0", "r1"] and one["basics.gathered"].tolist() == ["r0"]


def test_one_process_resumes_the_training_of_two(two, worker):
    """The state is whole: with more epochs asked for, nothing of the first ones is done again."""
    again = worker["trained"](worker["DATA"], two[0] / "indexed")
    np.testing.assert_array_equal(again["weights"], two[1][0]["train.weights"])
