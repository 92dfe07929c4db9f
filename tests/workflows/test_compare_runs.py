"""Pairs of models from run folders, the counts behind their tests, and the pictures of what they disagree about."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from shiftscope.cli import main
from shiftscope.data import load_dataset
from shiftscope.errors import CheckpointError, UsageError
from shiftscope.placement import Placement
from shiftscope.progress import SilentProgress
from shiftscope.results import Audit, Evaluation, TrainResult
from shiftscope.workflows.common_images import first_images
from shiftscope.workflows.compare_runs import audit_disagreements, compare_runs, evaluation_disagreements

pytestmark = pytest.mark.slow

QUIET = SilentProgress()
PLACE = Placement(image=(12, 12), canvas=(24, 26))


def stored(done, model, what):
    return (Audit if what == "audit" else Evaluation).load(done[0] / "results" / model / what)


@pytest.fixture(scope="module")
def both(done):
    return [stored(done, f"{model}-seed4", "test") for model in ("two-full", "two-conv")]


@pytest.fixture(scope="module")
def audits(done):
    return [stored(done, f"{model}-seed4", "audit") for model in ("two-full", "two-conv")]


def test_two_models_of_one_run_seed_by_seed(done, both, audits):
    found = compare_runs(done[0], done[0], models=("two-full", "two-conv"), progress=QUIET)
    assert [(pair["a"]["model"], pair["b"]["model"], pair["a"]["seed"], pair["b"]["seed"])
            for pair in found["pairs"]] == [("two-full", "two-conv", seed, seed) for seed in (4, 5)]
    pair = found["pairs"][0]
    for key, name in (("random", "predictions"), ("centered", "predictions_centered")):
        a, b = (getattr(part, name) == part.labels for part in both)
        only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
        part = pair[key]
        assert (part["only_a"], part["only_b"]) == (only_a, only_b)
        assert part["p_value"] == pytest.approx(binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0)
        assert part["difference"] == pytest.approx(a.mean() - b.mean())
        assert part["interval"][0] <= part["difference"] <= part["interval"][1]
        assert part["intervals"][0][0] <= part["a"] <= part["intervals"][0][1]
    assert pair["audit"]["mean"]["difference"] == pytest.approx(audits[0].mean_accuracy - audits[1].mean_accuracy)
    assert pair["audit"]["worst_case"]["difference"] == pytest.approx(
        audits[0].worst_case_accuracy - audits[1].worst_case_accuracy)
    assert found["notes"] == [] and json.loads(json.dumps(found)) == found


def copy_of(folder, *records):
    for place, record in enumerate(records):
        record.save(folder / "results" / f"{record.model}-seed{getattr(record, 'seed', 4)}" / f"part{place}")
    return folder


def test_models_are_matched_by_name_training_and_seed(done, both, tmp_path):
    other = replace(both[0], predictions=both[0].labels)
    found = compare_runs(done[0], copy_of(tmp_path, other, replace(both[1], trained="centered")), progress=QUIET)
    (pair,) = found["pairs"]
    assert pair["a"] == pair["b"] == {"model": "two-full", "trained": "random", "seed": 4}
    assert pair["random"]["b"] == 1.0 and pair["random"]["only_a"] == 0 and pair["audit"] is None


def test_the_only_models_of_two_folders_are_a_pair(audits, tmp_path):
    for name, audit in zip("ab", audits, strict=True):
        audit.save(tmp_path / name)
    (pair,) = compare_runs(tmp_path / "a", tmp_path / "b", out=tmp_path / "out", progress=QUIET)["pairs"]
    assert pair["random"] is None and pair["audit"]["models"] == ["two-full", "two-conv"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.json", "disagreements-two-full-two-conv-seed0.png", "disagreements-two-full-two-conv-seed0.svg"}


def test_figures_show_images_that_only_one_model_classifies_correctly(both, npz):
    a, b = both
    found = evaluation_disagreements(a, b)
    right = [part.predictions == part.labels for part in both]
    assert found.totals == (int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()))
    kept = sorted({*a.gallery_index.tolist(), *b.gallery_index.tolist(), *a.cell_index.tolist(),
                   *b.cell_index.tolist()})
    index = torch.tensor([number for number in kept if right[0][number] != right[1][number]])
    assert len(index) > 3
    canvases = PLACE.place(load_dataset(f"npz:{npz}").test.gather(index), torch.from_numpy(a.offsets)[index])
    np.testing.assert_array_equal(found.canvases, canvases.numpy())
    assert found.predictions[:, 0].tolist() == a.predictions[index].tolist()
    assert found.predictions[:, 1].tolist() == b.predictions[index].tolist()


def test_audits_show_each_image_at_the_nearest_placement_of_disagreement(audits, npz):
    a, b = audits
    found = audit_disagreements(a, b)
    right = [part.predictions == part.labels[:, None] for part in audits]
    expected = []
    for number in sorted({*a.shown_index.tolist(), *b.shown_index.tolist()}):
        columns = np.flatnonzero(right[0][number] != right[1][number])
        if len(columns):
            far = [abs(int(dy) - 6) + abs(int(dx) - 7) for dy, dx in a.offsets[columns]]
            expected.append((number, int(columns[int(np.argmin(far))])))
    numbers, columns = (torch.tensor(part) for part in zip(*expected, strict=True))
    canvases = PLACE.place(load_dataset(f"npz:{npz}").test.gather(numbers), torch.from_numpy(a.offsets)[columns])
    np.testing.assert_array_equal(found.canvases, canvases.numpy())
    assert found.totals == (int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()))
    assert ((found.predictions == found.labels[:, None]).sum(1) == 1).all()


def test_models_that_never_differ_have_no_figure(both, tmp_path):
    copy_of(tmp_path / "a", both[0])
    copy_of(tmp_path / "b", replace(both[0], model="twin"))
    found = compare_runs(tmp_path / "a", tmp_path / "b", out=tmp_path / "out", progress=QUIET)
    assert found["pairs"][0]["random"]["p_value"] == 1.0 and "no images of disagreements" in found["notes"][0]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.json"]


@pytest.mark.parametrize("change, message", [
    ({"dataset": "other"}, "differ in dataset: 'bars' and 'other'; evaluate both on the same images"),
    ({"split": "train"}, "two-full was evaluated on test images, two-full was evaluated on train images: evaluate"),
    ({"placement": {"image": [12, 12], "canvas": [20, 20], "mode": "canvas"}}, "differ in placement"),
    ({"offsets": np.zeros((60, 2), int), "seed": 4}, r"have different random placements \(seeds 4 and 4\)"),
    ({"labels": np.zeros(60, int)}, "are of different images: their labels differ"),
])
def test_invalid_comparisons_raise_an_error(done, both, tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        compare_runs(copy_of(tmp_path / "a", both[0]), copy_of(tmp_path / "b", replace(both[0], **change)),
                     progress=QUIET)


def test_audits_are_compared_if_evaluations_cannot_be(both, audits, tmp_path):
    first = copy_of(tmp_path / "a", both[0], audits[0])
    second = copy_of(tmp_path / "b", replace(both[1], model="two-full", offsets=both[1].offsets * 0),
                     replace(audits[1], model="two-full"))
    found = compare_runs(first, second, progress=QUIET)
    assert found["pairs"][0]["random"] is None and found["pairs"][0]["audit"] is not None
    assert "have different random placements" in found["notes"][0]


def test_runs_of_different_lengths_are_compared_on_the_images_of_both(both, audits, tmp_path):
    count = 25
    short = (first_images(both[0], count), first_images(audits[0], count - 5))
    changed = [replace(record, model="two-full") for record in (both[1], audits[1])]
    found = compare_runs(copy_of(tmp_path / "a", *short), copy_of(tmp_path / "b", *changed), progress=QUIET,
                         out=tmp_path / "out")
    (pair,) = found["pairs"]
    correct = [(record.predictions == record.labels)[:count] for record in both]
    assert pair["images"] == count and pair["random"]["b"] == pytest.approx(correct[1].mean())
    assert pair["random"]["only_a"] == int((correct[0] & ~correct[1]).sum())
    assert pair["audit"]["images"] == count - 5
    means = [(record.predictions == record.labels[:, None])[:count - 5].mean() for record in audits]
    assert pair["audit"]["mean"]["difference"] == pytest.approx(means[0] - means[1])
    assert f"two-full and two-full are compared on the first {count} test images, which both have, of {count} and " \
        f"{both[1].images}" in found["notes"]
    assert any(note.startswith(f"two-full and two-full are compared on the first {count - 5} audited test images")
               for note in found["notes"])


def test_runs_without_a_common_image(both, tmp_path):
    short = replace(first_images(both[0], 25), labels=(both[0].labels[:25] + 1) % len(both[0].class_names))
    with pytest.raises(UsageError, match="are of different images: their labels differ; evaluate both on the same"):
        compare_runs(copy_of(tmp_path / "a", short), copy_of(tmp_path / "b", both[0]), progress=QUIET)


@pytest.mark.parametrize("models, message", [
    ((), "was given twice: choose two of its models with --models, from two-full, two-full-centered, two-conv"),
    (("two-full",), "models must be two names, one of each run, got 1: two-full"),
    (("two-full", "two-cnv"), "unknown model 'two-cnv': did you mean 'two-conv'"),
    (("two-full", "two-full"), "two-full would be compared with itself"),
])
def test_a_run_and_itself(done, models, message):
    with pytest.raises(UsageError, match=message):
        compare_runs(done[0], done[0], models=models, progress=QUIET)


def test_folders_without_a_common_model(done, both, tmp_path):
    copy_of(tmp_path, replace(both[0], model="mine"), replace(both[0], model="yours"))
    with pytest.raises(UsageError, match="no model in both with the same seed: choose one of each with"):
        compare_runs(done[0], tmp_path, progress=QUIET)


def test_a_training_alone_has_nothing_to_compare(done, tmp_path):
    TrainResult.load(done[0] / "results" / "two-full-seed4" / "training").save(tmp_path)
    with pytest.raises(CheckpointError, match="has neither evaluations nor audits"):
        compare_runs(done[0], tmp_path, progress=QUIET)


def test_from_the_command_line(done, tmp_path, capsys):
    line = ["compare", str(done[0]), str(done[0]), "--models", "two-full", "two-conv", "--quiet"]
    assert main([*line, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["pairs"]) == 2
    assert main([*line, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "A: two-full, seed 4" in shown and "audit, mean" in shown and shown.endswith(f"{tmp_path / 'out'}\n")
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    assert main(["compare", str(done[0]), str(tmp_path / "nowhere")]) == 3
    assert "there is no folder" in capsys.readouterr().err
