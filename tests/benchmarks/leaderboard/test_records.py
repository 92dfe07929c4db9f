"""Records: packed counts, files, and invalid records."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.records import (
    LeaderboardRecord,
    by_entry,
    pack_counts,
    read_record,
    read_records,
    record_path,
    unpack_counts,
    write_record,
)
from shiftscope.errors import CheckpointError, UsageError


@given(st.integers(0, 100_000).flatmap(lambda most: st.tuples(
    st.just(most), st.lists(st.integers(0, most), max_size=30))))
def test_packed_counts_are_unpacked_unchanged(case):
    placements, counts = case
    packed = pack_counts(np.array(counts, dtype=np.int32), placements)
    assert unpack_counts(packed, len(counts), placements).tolist() == counts
    assert json.loads(json.dumps(packed)) == packed


@pytest.mark.parametrize("draw", [
    lambda rng: rng.integers(0, 842, 10_000),  # incompressible: all counts have the same probability
    lambda rng: np.where(rng.random(10_000) < 0.6, 841, rng.integers(0, 842, 10_000)),  # a convnet
    lambda rng: np.where(rng.random(10_000) < 0.95, 841, 0)], ids=["noise", "convnet", "exact"])
def test_a_record_of_all_test_images_is_small(draw, make_record, tmp_path):
    counts = draw(np.random.default_rng(0))
    path = write_record(make_record(counts=counts, placements=841), tmp_path)
    assert path.stat().st_size < 30_000
    assert read_record(path).correct_counts.tolist() == counts.tolist()


def test_a_record_is_read_unchanged(make_record, tmp_path):
    one = make_record(seed=3)
    path = write_record(one, tmp_path / "new")
    assert path == record_path(tmp_path / "new", "two-full", 3) and path.name == "two-full-seed3.json"
    assert read_record(path) == one and one.key == "two-full-seed3"
    assert [s.seed for s in by_entry([make_record(seed=2), make_record(seed=1)])["two-full"]] == [1, 2]
    assert read_records(tmp_path / "missing") == []


def broken(values: dict, how: str) -> str:
    if how == "truncated":
        return json.dumps(values)[:-40]
    changes = {"counts": {"packed_counts": values["packed_counts"][:-3]}, "metric": {"mean_accuracy": 0.9},
               "version": {"schema_version": 99}, "images": {"images": 5}, "name": {"entry": "two-conv"},
               "list": None}
    change = changes[how]
    return "[]" if change is None else json.dumps(values | change)


@pytest.mark.parametrize("how, message", [
    ("truncated", "it is not JSON"), ("counts", "counts of 4 images at 4 placements are corrupt"),
    ("metric", "a mean accuracy of 0.625000 .* its metrics are 0.900000"), ("version", "schema version 99"),
    ("images", "counts of 5 images at 4 placements are corrupt"), ("name", "it is of two-conv and seed 0"),
    ("list", "not a valid record of the leaderboard")])
def test_a_corrupt_record_is_named_in_one_sentence(how, message, make_record, tmp_path):
    path = write_record(make_record(), tmp_path)
    path.write_text(broken(json.loads(path.read_text()), how))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_records(tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{path} is not a valid record of the leaderboard: ")
    assert text.endswith("remove it to compute it again")
    assert "\n" not in text


def test_counts_above_the_placements_are_refused(make_record):
    with pytest.raises(CheckpointError, match=r"go down to -6, expected 0 to 4"):
        unpack_counts(pack_counts(np.array([5, 0]), 10), 2, 4)


@pytest.mark.parametrize("changed, message", [
    ({"settings_requested": {"data": "y"}}, "settings_requested"), ({"labels": 8}, "labels"),
    ({"mode": "circular"}, "mode"),
    ({"counts": (4, 4)}, "images")])
def test_records_with_different_settings_do_not_share_a_table(changed, message, make_record, write_records):
    folder = write_records(make_record(), make_record(entry="two-conv", **changed))
    with pytest.raises(UsageError, match=f"two-conv-seed0 and two-full-seed0 .* differ in {message}"):
        read_records(folder)


def test_the_record_has_all_fields_of_the_tables():
    fields = set(LeaderboardRecord.__dataclass_fields__)
    assert {"parameters", "train_seconds", "hardware", "epochs", "description", "settings", "claims", "ties",
            "self_check"} <= fields
