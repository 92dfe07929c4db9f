"""The audit against a loop over offsets that shares nothing with it but `Placement.place`."""

import itertools

import numpy as np
import pytest
import torch

import shiftscope
from shiftscope.auditing import audit
from shiftscope.placement import Placement, texture
from shiftscope.results import Audit

PLACES = {
    "canvas": Placement(image=(4, 6), canvas=(9, 14)),
    "circular": Placement(image=(4, 6), canvas=(7, 8), mode="circular", background=90),
    "crop": Placement(image=(12, 17), canvas=(9, 14), mode="crop"),
    "max_shift": Placement(image=(4, 6), canvas=(9, 14), max_shift=2),
    "step": Placement(image=(4, 6), canvas=(9, 14), step=3),
    "fill": Placement(image=(9, 14), canvas=(9, 14), mode="fill", background=90),
    "edge": Placement(image=(9, 14), canvas=(9, 14), mode="fill", fill="edge", max_shift=2),
    "reflect": Placement(image=(9, 14), canvas=(9, 14), mode="fill", fill="reflect", max_shift=5, step=2),
    "texture": Placement(image=(4, 6), canvas=(9, 14), background=texture((9, 14))),
}


def by_loop(model, data, offsets, place):
    """Logits (N, P, K), one placement of one image at a time."""
    images = data.test.gather(torch.arange(len(data.test)))
    with torch.no_grad():
        return torch.stack([torch.cat([model(place.place(image[None], offset[None]).double() / 255)
                                       for offset in offsets]) for image in images])


def over_placements(found, values):
    """Mean of values (N, n) over all P placements, (N,): the middle one, and others for which the rest of n stand."""
    if not found.sampled:
        return values.mean(1)
    middle, count = found.offsets.tolist().index(list(found.geometry.middle)), found.geometry.count
    return (values[:, middle] + (count - 1) * np.delete(values, middle, axis=1).mean(1)) / count


def over_pairs(found, predictions):
    """Fraction of equal pairs of all P placements, (N,)."""
    equal = predictions[:, :, None] == predictions[:, None]  # (N, n, n)
    if not found.sampled:
        return equal.mean((1, 2))
    middle, count = found.offsets.tolist().index(list(found.geometry.middle)), found.geometry.count
    rows = [k for k in range(found.placements) if k != middle]
    drawn = np.mean([equal[:, a, b] for a, b in itertools.permutations(rows, 2)], axis=0)
    return (count + 2 * (count - 1) * equal[:, middle][:, rows].mean(1) + (count - 1) * (count - 2) * drawn) / count**2


def check(found, data, logits):
    """Every figure of an audit against counts over `logits`."""
    labels, count, predictions = data.test.labels.numpy(), found.placements, logits.argmax(-1).numpy()
    assert (found.predictions == predictions).all() and found.predictions.dtype == np.uint8
    right = predictions == labels[:, None]
    assert (found.correct_counts == right.sum(1)).all()
    assert found.mean_accuracy == pytest.approx(over_placements(found, right).mean(), abs=1e-12)
    assert found.worst_case_accuracy == right.all(1).mean()
    assert found.unanimity == np.mean([len(set(row)) == 1 for row in predictions.tolist()])
    assert found.consistency == pytest.approx(over_pairs(found, predictions).mean(), abs=1e-12)
    for column, (dy, dx) in enumerate(found.offsets.tolist()):
        cell = found.rows.tolist().index(dy), found.columns.tolist().index(dx)
        assert found.accuracy_map[cell] == pytest.approx(right[:, column].mean(), abs=1e-12)
        for cls in set(labels.tolist()):
            assert found.class_maps[cls][cell] == pytest.approx(right[labels == cls, column].mean(), abs=1e-6)
    assert np.isfinite(found.accuracy_map).sum() == count
    for stride, dy, dx in ((2, 1, 0), (4, 2, 3)):
        inside = [right[:, p].mean() for p, (y, x) in enumerate(found.offsets) if y % stride == dy and x % stride == dx]
        expected = pytest.approx(np.mean(inside)) if inside else None
        assert found.by_phase[str(stride)][dy][dx] == expected
    check_margins(found, labels, logits)


def check_margins(found, labels, logits):
    for image, label in enumerate(labels):
        others = [k for k in range(logits.shape[-1]) if k != label]
        margin = (logits[image, :, label] - logits[image][:, others].amax(1)).numpy()
        assert found.margins[image] == pytest.approx([margin.min(), margin.mean()], abs=1e-5)
        assert found.worst_offset[image].tolist() == found.offsets[margin.argmin()].tolist()


@pytest.mark.parametrize("mode", PLACES)
@pytest.mark.parametrize("engine", ["brute", "auto"])
def test_every_count_equals_a_loop_over_offsets(mode, engine, made):
    place = PLACES[mode]
    model, data = made.SmallNet(place.canvas), made.noise(shape=(1, *place.image))
    found = audit(model, data, placement=place, engine=engine)
    assert found.offsets.tolist() == place.offsets().tolist() and not found.sampled and not found.partial
    check(found, data, by_loop(model, data, place.offsets(), place))
    middle = place.offsets().tolist().index(list(place.middle))
    assert found.middle_accuracy == (found.predictions[:, middle] == found.labels).mean()
    assert found.self_check["placements"] == (7 if found.engine == "dense" else 1) * 8
    assert found.self_check["max_abs_logit_difference"] < 1e-9


def test_a_sample_is_noted_and_contains_the_middle(made):
    place, data, model = PLACES["canvas"], made.noise(), made.SmallNet()
    found = audit(model, data, placement=place, sample=10, seed=3)
    assert found.sampled and found.placements == 10 and found.engine == "brute"
    assert list(place.middle) in found.offsets.tolist() and len({*map(tuple, found.offsets.tolist())}) == 10
    check(found, data, by_loop(model, data, torch.from_numpy(found.offsets), place))
    assert any("10 of 54 placements" in note and "no figure is exact" in note for note in found.notes)
    assert "a sample of placements was requested" in found.reason
    again, other = (audit(model, data, placement=place, sample=10, seed=seed) for seed in (3, 4))
    assert (again.offsets == found.offsets).all() and (other.offsets != found.offsets).any()


def test_too_many_placements_are_sampled(made, monkeypatch):
    monkeypatch.setattr("shiftscope.auditing.engines.MOST_PLACEMENTS", 50)
    monkeypatch.setattr("shiftscope.auditing.engines.SAMPLED", 20)
    found = audit(made.SmallNet(), made.noise(), placement=PLACES["canvas"], engine="brute")
    assert found.sampled and found.placements == 20 and found.placement["placements"] == 54


def test_limit_and_split(made):
    data = made.noise(count=30)
    found = audit(made.SmallNet(), data, placement=PLACES["step"], split="validation", validation=6, limit=4)
    _, held_out = data.split(6)
    assert found.labels.tolist() == held_out.labels[:4].tolist() and found.split == "validation"


def test_shown_images_are_the_first_and_those_of_worst_consistency(made, monkeypatch):
    monkeypatch.setattr("shiftscope.auditing.predictions.SHOWN", 6)
    monkeypatch.setattr("shiftscope.evaluation.brute.IMAGES", 4)
    data, place = made.noise(count=25), PLACES["canvas"]
    found = audit(made.SmallNet(), data, placement=place, engine="brute")
    consistency = [np.mean([a == b for a, b in itertools.product(row, row)]) for row in found.predictions.tolist()]
    worst = sorted(range(3, 25), key=lambda index: (consistency[index], index))[:3]
    assert found.shown_index.tolist() == [0, 1, 2, *worst]
    assert (found.shown_images == data.test.images[found.shown_index].numpy()).all()
    logits = by_loop(made.SmallNet(), data, place.offsets(), place)[found.shown_index]
    assert found.shown_logits.dtype == np.float16 and found.shown_logits.shape == (6, 54, 3)
    with torch.no_grad():  # the record holds what goes into the softmax
        shown = torch.from_numpy(found.shown_logits).double().log_softmax(-1)
    assert float((shown - logits).abs().max()) < 0.02  # float16 keeps 11 bits of logits up to about 10


def test_saved_and_loaded(made, tmp_path, place):
    found = shiftscope.audit(made.SmallNet(), made.noise(), placement=place)
    found.save(tmp_path)
    again = Audit.load(tmp_path)
    assert again.to_dict() == found.to_dict()
    for name in Audit.arrays:
        ours, theirs = getattr(found, name), getattr(again, name)
        assert np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f") and ours.dtype == theirs.dtype


def test_real_garments_and_a_trained_model(fashion_mnist_dir):
    data = shiftscope.load_dataset("fashion-mnist", data_dir=fashion_mnist_dir)
    model = shiftscope.models.build_model("two-conv")
    place = Placement(image=(28, 28), canvas=(56, 56), step=14)
    found = audit(model, data, placement=place, engine="brute", limit=3)
    model = model.double()
    expected = by_loop(model.eval(), data.limit(3), place.offsets(), place)
    top = expected.topk(2, -1).values
    clear = (top[..., 0] - top[..., 1] > 1e-5).numpy()
    assert (found.predictions == expected.argmax(-1).numpy())[clear].all() and clear.sum() >= 20
