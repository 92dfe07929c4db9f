"""Audits without labels, and of models with more outputs than the dataset has classes, against loops."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.auditing import audit, compare
from shiftscope.callbacks.epoch_audit import subset
from shiftscope.cli.audit_command import audit_document
from shiftscope.data import from_images
from shiftscope.data.base import Dataset, NoImages, TensorImages
from shiftscope.data.packing import from_dataset
from shiftscope.errors import DataError, UsageError
from shiftscope.files import to_json
from shiftscope.placement import Placement
from shiftscope.results import Audit
from shiftscope.visualization.neighbors import find_neighbors

PLACE = Placement(image=(4, 6), canvas=(7, 8))


def net(outputs: int, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(56, 20), nn.ReLU(), nn.Linear(20, outputs)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


def images(count: int = 9) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def labeled(classes: int, names: tuple[str, ...] = ()) -> Dataset:
    test = TensorImages(images(), torch.arange(9) % classes)
    return Dataset(name="made", class_names=names or tuple(f"class {k}" for k in range(classes)), test=test,
                   train=NoImages("made", test.shape), source="-", license="-")


def by_loop(model: nn.Module, offsets: np.ndarray) -> np.ndarray:
    """Outputs (N, P, K), one image at one placement at a time."""
    found = []
    for image in images():
        for dy, dx in offsets.tolist():
            canvas = torch.zeros(1, 1, 7, 8, dtype=torch.float64)
            canvas[..., dy:dy + 4, dx:dx + 6] = image.double() / 255
            found.append(model(canvas)[0].detach().numpy())
    return np.stack(found).reshape(9, len(offsets), -1)


@pytest.mark.parametrize(("outputs", "engine"), [(3, "brute"), (3, "dense"), (300, "brute")])
def test_figures_without_labels_against_a_loop(outputs, engine):
    model = net(outputs)
    found = audit(model, images(), placement=PLACE, engine=engine)
    logits = by_loop(model, found.offsets)
    predictions, ordered = logits.argmax(-1), np.sort(logits, -1)
    assert (found.predictions == predictions).all()
    assert found.predictions.dtype == (np.uint8 if outputs == 3 else np.uint16)
    middle = found.offsets.tolist().index([1, 1])
    for column, (dy, dx) in enumerate(found.offsets.tolist()):
        same = sum(row[column] == row[middle] for row in predictions.tolist())
        assert found.agreement_map[dy, dx] == same / 9
    gaps = ordered[..., -1] - ordered[..., -2]
    expected = np.stack([gaps.min(1), np.median(gaps, 1), gaps.max(1)], 1)
    assert found.top_margins == pytest.approx(expected, rel=1e-5, abs=1e-6)
    confidence = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).max(-1)
    assert found.confidences == pytest.approx(np.stack([confidence.min(1), confidence.max(1)], 1), rel=1e-5)
    assert (found.worst_offset == found.offsets[gaps.argmin(1)]).all()
    fractions = [[row.count(k) / len(row) for k in set(row)] for row in predictions.tolist()]
    consistency = [sum(part**2 for part in row) for row in fractions]
    assert found.consistency == pytest.approx(np.mean(consistency))
    assert found.unanimity == np.mean([len(row) == 1 for row in fractions])
    order = sorted(range(9), key=lambda index: (round(consistency[index], 12), found.top_margins[index, 0]))
    assert found.least_stable().tolist() == order


def test_nothing_is_computed_from_missing_labels(tmp_path):
    found = audit(net(3), images(), placement=PLACE)
    for name in ("mean_accuracy", "worst_case_accuracy", "middle_accuracy", "top5_accuracy"):
        assert math.isnan(getattr(found, name)), name
    assert np.isnan(found.accuracy_map).all() and np.isnan(found.class_maps).all() and np.isnan(found.margins).all()
    assert found.per_class == [None] * 3 and (found.correct_counts == -1).all() and (found.labels == -1).all()
    assert {name for name, interval in found.intervals.items() if np.isfinite(interval).all()} == {
        "consistency", "unanimity"}
    document = json.loads(to_json(audit_document(found)))
    for name in ("mean_accuracy", "worst_case_accuracy", "middle_accuracy", "accuracy_map", "per_class", "by_phase"):
        assert document[name] is None, name
    assert document["labeled"] is False and len(document["agreement_map"]) == 4
    found.save(tmp_path)
    again = Audit.load(tmp_path)
    assert not again.labeled and np.array_equal(again.agreement_map, found.agreement_map)
    assert np.array_equal(again.top_margins, found.top_margins) and math.isnan(again.mean_accuracy)
    assert "without labels: consistency" in str(found) and "accuracy: mean" not in str(found)


def test_labels_change_nothing_else():
    with_labels, without = audit(net(3), labeled(3), placement=PLACE), audit(net(3), images(), placement=PLACE)
    for name in ("predictions", "agreement_map", "top_margins", "confidences", "shown_index"):
        assert np.array_equal(getattr(with_labels, name), getattr(without, name)), name
    assert (with_labels.consistency, with_labels.unanimity) == (without.consistency, without.unanimity)
    assert with_labels.labeled and np.isfinite(with_labels.mean_accuracy)


def test_records_of_earlier_releases_get_an_agreement_map():
    found = audit(net(3), labeled(3), placement=PLACE)
    added = ("agreement_map", "top_margins", "confidences", "top5_counts")
    arrays = {name: getattr(found, name) for name in found.arrays if name not in added}
    values = {name: value for name, value in found.to_dict().items() if name not in ("labeled", "files")}
    again = Audit.from_dict(values, arrays)
    assert again.labeled and np.array_equal(again.agreement_map, found.agreement_map)
    assert np.isnan(again.top_margins).all() and again.top_margins.shape == (9, 3)


def test_fewer_classes_than_outputs_against_a_loop():
    model, chosen = net(300), np.array([299, 4, 258])
    names = [f"name {k}" for k in range(300)]
    maps = [None, {"name 299": 299}, {"name 299": "name 299", "name 4": 4, "name 258": "Name_258"}]
    data = labeled(3, ("name 299", "name 4", "name 258"))
    audits = [audit(model, data, placement=PLACE, output_names=names, class_map=one) for one in maps]
    audits.append(audit(model, labeled(3, ("299", "4", "258")), placement=PLACE, output_names=names))
    logits, truth = by_loop(model, audits[0].offsets), chosen[np.arange(9) % 3]
    rank = (logits > np.take_along_axis(logits, truth[:, None, None].repeat(12, 1), -1)).sum(-1)
    for found in audits:
        assert (found.labels == truth).all() and found.class_names == names
        assert found.mean_accuracy == pytest.approx((rank == 0).mean())
        assert found.top5_accuracy == pytest.approx((rank < 5).mean())
        assert (found.top5_counts == (rank < 5).sum(1)).all() and len(found.intervals["top5_accuracy"]) == 2
        assert [k for k, value in enumerate(found.per_class) if value is not None] == sorted(chosen)
        assert any(note.startswith("classes of made are outputs of") for note in found.notes)


def test_top5_accuracy_of_a_model_that_ranks_the_class_fifth_and_sixth():
    class Ranked(nn.Module):
        def forward(self, pixels):
            return -torch.arange(100.0, device=pixels.device).expand(len(pixels), 100)

    for label, expected in ((4, 1.0), (5, 0.0)):
        found = audit(Ranked(), labeled(1, ("a",)), placement=PLACE, class_map={"a": label})
        assert found.top5_accuracy == expected and found.mean_accuracy == 0
    ties = audit(lambda pixels: torch.zeros(len(pixels), 100), labeled(1, ("a",)), placement=PLACE, class_map={"a": 5})
    assert ties.top5_accuracy == 0.0


def test_nonfinite_outputs_without_labels():
    class Broken(nn.Module):
        def forward(self, pixels):
            outputs = pixels.flatten(1)[:, :3] + torch.tensor([0.0, 1.0, 3.0])
            return outputs.masked_fill((pixels[:, 0, 0, 0] > 0)[:, None], torch.nan)

    found = audit(Broken(), images(), placement=PLACE, engine="brute")
    assert found.nonfinite == 9 and (found.predictions[:, 0] == 255).all()
    assert found.agreement_map[0, 0] == 0 and np.isfinite(found.top_margins).all()
    silent = audit(lambda pixels: torch.full((len(pixels), 3), torch.nan), images(), placement=PLACE)
    assert np.isnan(silent.top_margins).all() and np.isnan(silent.confidences).all()
    assert silent.consistency == 1 and (silent.agreement_map == 1).all()


def test_comparison_without_labels_is_of_unanimity():
    one, other = (audit(net(3, seed), images(), placement=PLACE) for seed in (0, 1))
    found = compare(one, other)
    assert found["middle"] is found["worst_case"] is found["mean"] is None
    assert (found["unanimity"]["a"], found["unanimity"]["b"]) == (one.unanimity, other.unanimity)


@pytest.mark.parametrize("use", [
    lambda data: shiftscope.train(net(3), data, placement=PLACE),
    lambda data: shiftscope.evaluate(net(3), data, placement=PLACE),
    lambda data: find_neighbors(net(3), ["class:0"], data, placement=PLACE),
    lambda data: subset(data, "test", 3, validation=0, seed=0),
    from_dataset,
    lambda data: audit(net(3), data, placement=PLACE, expected=0.9),
], ids=["train", "evaluate", "neighbors", "epoch audit", "packing", "expected accuracy"])
def test_what_needs_labels_refuses_images_without(use):
    with pytest.raises(DataError, match="needs labels, and the images of images have none: sort them") as raised:
        use(from_images(images()))
    assert len(str(raised.value)) < 400


def test_what_needs_training_images_refuses_test_images():
    for use in (lambda: shiftscope.train(net(3), labeled(3), placement=PLACE),
                lambda: audit(net(3), labeled(3), placement=PLACE, split="train")):
        with pytest.raises(DataError, match="made has no training images, only test images"):
            use()


@pytest.mark.parametrize(("options", "problem"), [
    ({"class_map": {"a": 0}}, "a class map needs classes"),
    ({"output_names": ["a"]}, "output_names must hold 3 names"),
])
def test_options_that_do_not_fit(options, problem):
    with pytest.raises(UsageError, match=problem):
        audit(net(3), images(), placement=PLACE, **options)


def test_labels_of_unlabeled_datasets_are_refused():
    data = labeled(3)
    with pytest.raises(DataError, match="has labeled=False, but its test images have labels"):
        dataclasses.replace(data, labeled=False)
