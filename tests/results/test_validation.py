"""Records come back from the disk as they were, those of earlier releases too; damaged ones are refused by name."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.auditing import audit
from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import CheckpointError
from shiftscope.evaluation import evaluate
from shiftscope.placement import Placement
from shiftscope.results import Audit, Evaluation, Synthesis, TrainResult, load_record

PLACE = Placement(image=(4, 6), canvas=(7, 8))


@pytest.fixture(scope="module")
def records():
    generator = torch.Generator().manual_seed(0)
    images = TensorImages(torch.randint(0, 256, (20, 1, 4, 6), dtype=torch.uint8, generator=generator),
                          torch.arange(20) % 3)
    data = Dataset(name="noise", class_names=("a", "b", "c"), train=images, test=images, source="-", license="-")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(56, 3))
    training = TrainResult(
        model="net", dataset="noise", parameters=171, epochs=1, seed=0, trained="random", train_images=20,
        validation_images=0, train_seconds=1.0, images_per_second=20.0, settings={}, placement=PLACE.to_dict(),
        history=[{"epoch": 1, "train_loss": float("nan"), "train_accuracy": 0.5, "val_accuracy": None}], device="cpu",
        checkpoint=None, notes=[])
    return {"evaluation": evaluate(net, data, placement=PLACE), "audit": audit(net, data, placement=PLACE),
            "training": training}


@pytest.fixture
def saved(records, tmp_path):
    for name, record in records.items():
        record.save(tmp_path / name)
    return tmp_path


def change_json(folder, **values):
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def change_arrays(folder, remove=(), **values):
    with np.load(folder / "arrays.npz") as stored:
        arrays = {name: stored[name] for name in stored if name not in remove}
    np.savez(folder / "arrays.npz", **(arrays | values))


@pytest.mark.parametrize("name", ["evaluation", "audit", "training"])
def test_saved_records_load_unchanged(saved, records, name):
    again = load_record(saved / name)
    assert again.to_dict() == records[name].to_dict() and type(again) is type(records[name])
    for array in again.arrays:
        np.testing.assert_array_equal(getattr(again, array), getattr(records[name], array))


def test_fields_with_defaults_may_be_missing(saved, records):
    change_arrays(saved / "evaluation", remove=("cell_index", "cell_images"))
    found = Evaluation.load(saved / "evaluation")
    assert len(records["evaluation"].cell_index) > 0 and found.cell_index.shape == (0,)
    assert found.cell_images.shape == (0, 1, 1, 1) and found.accuracy == records["evaluation"].accuracy


def test_fields_without_defaults_are_required(saved):
    change_arrays(saved / "evaluation", remove=("predictions",))
    with pytest.raises(CheckpointError, match=r"not a complete result of kind 'evaluation'.*lacks \['predictions'\]"):
        load_record(saved / "evaluation")


@pytest.mark.parametrize("name, values, message", [
    ("evaluation", {"class_names": 3}, "class_names: expected array, got int"),
    ("evaluation", {"class_names": ["a", 1, "c"]}, r"class_names\[1\]: expected str, got int"),
    ("evaluation", {"images": "many"}, "images: expected int, got str"),
    ("evaluation", {"images": True}, "images: expected int, got bool"),
    ("evaluation", {"accuracy": {"random": 0.5}}, "accuracy: object missing required field centered"),
    ("evaluation", {"placement": {"image": [4, 6]}}, "placement lacks canvas, mode"),
    ("evaluation", {"per_class": {"random": [0.5], "centered": [0.5]}},
     r"per_class\.random: expected array of length >= 3"),
    ("evaluation", {"images": 21}, r"labels is int64 \(20,\), expected i N with N = 21"),
    ("audit", {"engine": "guessed"}, "engine: invalid enum value 'guessed'"),
    ("audit", {"self_check": {"placements": 3}},
     "self_check: object missing required field max_abs_logit_difference"),
    ("audit", {"intervals": {}}, "intervals: object missing required field mean_accuracy"),
    ("audit", {"by_phase": {"2": [[0.5]], "4": [], "8": []}}, r"by_phase\.2: expected array of length >= 2"),
    ("audit", {"images": 2**70}, "images: expected int <= 9223372036854775807"),
    ("audit", {"placement": {"image": [4, 6], "canvas": [7, -8], "mode": "canvas"}},
     r"placement\.canvas\[1\]: expected int >= 1"),
    ("audit", {"placement": {"image": [4, 6], "canvas": [40_000, 40_000], "mode": "canvas"}},
     "more than 16,777,216"),
    ("audit", {"class_names": ["a", "b"], "per_class": [0.5, 0.5]},
     r"class_maps is float32 \(3, 4, 3\), expected f K R Q with K = 2"),
    ("training", {"settings": 5}, "settings: expected object, got int"),
    ("training", {"history": 5}, "history: expected array, got int"),
    ("training", {"history": [{"epoch": 1}]}, r"history\[0\]: object missing required field train_loss"),
    ("training", {"schema_version": 3}, "schema version 3, this release reads version 2; use the release"),
    ("training", {"kind": "tuning"}, "cannot read a result from .*'tuning'"),
    ("training", {"kind": []}, "cannot read a result from"),
])
def test_invalid_values_are_named(saved, name, values, message):
    change_json(saved / name, **values)
    with pytest.raises(CheckpointError, match=message):
        load_record(saved / name)


@pytest.mark.parametrize("name, values, message", [
    ("evaluation", {"labels": np.zeros(3, int)}, r"labels is int64 \(3,\), expected i N with N = 20"),
    ("evaluation", {"predictions": np.full(20, 99)}, "predictions goes from 99 to 99, expected -1 to 2"),
    ("evaluation", {"gallery_canvases": np.zeros((20, 1, 7, 8))}, "gallery_canvases is float64"),
    ("evaluation", {"cell_images": np.zeros((1, 1, 4, 6), np.uint8)}, "cell_images is uint8"),
    ("audit", {"predictions": np.zeros((20, 5), np.uint8)}, r"predictions is uint8 \(20, 5\), expected u N P"),
    ("audit", {"shown_index": np.full(20, 50)}, "shown_index goes from 50 to 50, expected 0 to 19"),
])
def test_invalid_arrays_are_named(saved, name, values, message):
    change_arrays(saved / name, **values)
    with pytest.raises(CheckpointError, match=message):
        load_record(saved / name)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(saved, share):
    path = saved / "audit" / "arrays.npz"
    data = path.read_bytes()
    path.write_bytes(data[:int(share * len(data))])
    with pytest.raises(CheckpointError, match="cannot read a result from .*create it again"):
        load_record(saved / "audit")


def test_corrupted_files_are_refused_or_load_valid(saved, records):
    path = saved / "audit" / "arrays.npz"
    data = path.read_bytes()
    refused = 0
    for place in range(40, len(data), len(data) // 40):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1:])
        try:
            found = Audit.load(saved / "audit")
        except CheckpointError:
            refused += 1
        else:  # a byte that nobody reads, such as a date
            np.testing.assert_array_equal(found.predictions, records["audit"].predictions)
    assert refused > 20


def test_images_must_match_the_units(tmp_path):
    made = Synthesis(model="net", objective="fc:all", units=["fc:0", "fc:1"], class_names=[], start="zero",
                     settings={}, seconds=0.1, device="cpu", notes=[], images=np.zeros((2, 1, 4, 4), np.float32),
                     activations=np.zeros(2, np.float32), activations_start=np.zeros(2, np.float32),
                     predictions=np.zeros(2, int), confidence=np.zeros(2, np.float32))
    made.save(tmp_path)
    assert Synthesis.load(tmp_path).units == made.units
    change_json(tmp_path, units=["fc:0"])
    with pytest.raises(CheckpointError, match="images is float32 .*expected f U C H W with U = 1"):
        load_record(tmp_path)


@pytest.mark.parametrize(("kind", "later"), [
    ("audit", {"exact_ties": 0, "tie_tolerance": 1e-5, "output_type": "unknown"}),
    ("evaluation", {"exact_ties": 0, "ties": 0, "output_type": "unknown"})])
def test_records_of_release_0_1_lack_later_fields(kind, later, records):
    record = records[kind]
    values = {key: value for key, value in record.to_dict().items() if key not in later}
    old = type(record).from_dict(values, {name: getattr(record, name) for name in record.arrays})
    assert {name: getattr(old, name) for name in later} == later and record.output_type == "logits"
