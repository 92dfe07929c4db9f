import base64
import dataclasses
import json
import zlib

import numpy as np
import pytest

from shiftscope.errors import UsageError
from shiftscope.reporting.confusion import confusion_payload
from shiftscope.reporting.curves import curves_payload
from shiftscope.reporting.explorer import explorer_payload
from shiftscope.reporting.selection import choose_images
from shiftscope.reporting.web_page import pack, script_json
from shiftscope.results import NONFINITE, Attribution
from shiftscope.results.image_table import to_csv


def unpack(packed) -> np.ndarray:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    return np.frombuffer(data, np.dtype(packed["dtype"]).newbyteorder("<")).reshape(packed["shape"])


@pytest.fixture
def random_audit(audit_of):
    """Twenty images of five classes at 4 x 6 offsets, of random logits."""
    def make(seed: int = 0, images: int = 20, computed=None, **changed):
        logits = np.random.default_rng(seed).normal(size=(images, 24, 5)) * 3
        return audit_of(logits, np.arange(images) % 5, np.arange(4), np.arange(6), computed=computed,
                        placement={"image": [28, 28], "canvas": [31, 33], "mode": "canvas", "background": 0},
                        **({"images": images} | changed) if "images" in changed else changed)
    return make


def test_predictions_of_every_model_match_its_audit(random_audit):
    audits = [random_audit(0), random_audit(1, model="two-conv"), random_audit(2, trained="centered")]
    (group,) = explorer_payload(audits)["groups"]
    assert [model["title"] for model in group["models"]] == ["perceptron", "convnet", "perceptron, trained centered"]
    for audit, model in zip(audits, group["models"], strict=True):
        predictions = audit.predictions[group["images"]["numbers"]]
        assert np.array_equal(unpack(model["classes"])[0], predictions)
        assert unpack(model["map"]) == pytest.approx(10_000 * audit.accuracy_map.ravel(), abs=0.5)
    assert unpack(group["images"]["pixels"]).shape == (20, 1, 28, 28)
    assert group["images"]["labels"] == [number % 5 for number in group["images"]["numbers"]]
    json.dumps(group, allow_nan=False)


def test_confidences_are_the_softmax_of_the_stored_scores(random_audit):
    audit = random_audit()
    (group,) = explorer_payload([audit])["groups"]
    number = group["images"]["numbers"][3]
    logits = audit.shown_logits[audit.shown_index == number][0].astype(float)
    expected = np.sort(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), axis=1)[:, ::-1][:, :3]
    (model,) = group["models"]
    assert unpack(model["confidences"])[:, 3].T == pytest.approx(1000 * expected, abs=0.5)
    assert np.array_equal(unpack(model["classes"])[:, 3].T, np.argsort(-logits, axis=1)[:, :3])


def test_the_prediction_comes_first_even_if_rounded_scores_disagree(random_audit):
    audit = random_audit()
    scores = audit.shown_logits.copy()
    scores[:, 0] = 0.0
    place = int(np.flatnonzero(audit.shown_index == 7)[0])
    audit.predictions[7, 0] = 4  # the first of equal scores would be class 0
    (group,) = explorer_payload([dataclasses.replace(audit, shown_logits=scores)])["groups"]
    at = group["images"]["numbers"].index(7)
    assert place < 20 and unpack(group["models"][0]["classes"])[:, at, 0].tolist() == [4, 0, 1]
    assert unpack(group["models"][0]["confidences"])[:, at, 0].tolist() == [200, 200, 200]


def test_nonfinite_missing_and_unknown_predictions_have_codes(random_audit):
    audit = random_audit(computed=np.array([0, 3, 9, 23]))
    audit.predictions[0, 1] = NONFINITE
    other = random_audit(1, model="two-conv", computed=np.array([0, 3, 9, 23]))
    other = dataclasses.replace(other, **{name: getattr(other, name)[other.shown_index != 0]
                                          for name in ("shown_images", "shown_logits", "shown_index")})
    (group,) = explorer_payload([audit, other])["groups"]
    at, codes = group["images"]["numbers"].index(0), group["codes"]
    classes, shares = (unpack(group["models"][0][name])[:, at] for name in ("classes", "confidences"))
    assert classes[0, [3, 1]].tolist() == [codes["nonfinite"], codes["not_computed"]]
    assert (shares[:, [3, 1]] == 65535).all() and (shares[:, [0, 9, 23]] <= 1000).all()
    classes, shares = (unpack(group["models"][1][name])[:, at] for name in ("classes", "confidences"))
    assert np.array_equal(classes[0, [0, 3, 9, 23]], other.predictions[0]) and (shares == 65535).all()
    assert any("sampled" in note for note in group["notes"])


def test_half_of_the_images_are_the_first_and_half_the_least_consistent(audit_of):
    labels = np.zeros(60, int)
    predictions = (np.arange(24) < np.arange(60)[:, None] % 13).astype(int)  # most undecided where 12 of 24
    audit = audit_of(np.eye(2)[predictions], labels, np.arange(4), np.arange(6))
    audit = dataclasses.replace(audit, shown_index=np.arange(60), shown_images=np.zeros((60, 1, 28, 28), np.uint8),
                                shown_logits=np.eye(2)[predictions].astype(np.float16))
    numbers, first = choose_images([audit])
    assert first == 12 and numbers[:12].tolist() == list(range(12))
    assert numbers[12:].tolist()[:4] == [12, 25, 38, 51] and len(set(numbers.tolist())) == 24
    assert choose_images([audit], 5)[0].tolist() == [0, 1, 2, 12, 25]


def test_without_inconsistent_images_the_first_ones_are_shown(audit_of):
    audit = audit_of(np.ones((30, 24, 1)) * np.array([1.0, 0.0]), np.zeros(30, int), np.arange(4), np.arange(6))
    numbers, first = choose_images([audit])
    assert first == len(numbers) == 24 and numbers.tolist() == list(range(24))


def test_other_placements_form_their_own_group_and_seeds_are_shown_once(random_audit):
    shifted = random_audit(3, model="two-conv")
    shifted = dataclasses.replace(shifted, placement=shifted.placement | {"background": 40})
    groups = explorer_payload([shifted, random_audit(0), random_audit(1), random_audit(2, model="net")])["groups"]
    assert [[model["title"] for model in group["models"]] for group in groups] == [["perceptron", "net"], ["convnet"]]
    assert groups[1]["background"] == 40 and "Only the first seed of each model is shown." in groups[0]["notes"]


def test_models_that_do_not_fit_are_listed(random_audit):
    (group,) = explorer_payload([random_audit(seed, model=f"net{seed}") for seed in range(8)])["groups"]
    assert len(group["models"]) == 6 and any("not shown: net6, net7" in note for note in group["notes"])


def test_in_circular_mode_the_unshifted_image_is_in_the_middle(audit_of):
    labels = np.array([0, 1])
    predictions = np.where(np.arange(12) == 0, labels[:, None], 2)  # correct only for the unshifted image
    place = {"image": [2, 3], "canvas": [3, 4], "mode": "circular", "background": 7}
    audit = audit_of(np.eye(3)[predictions], labels, np.arange(3), np.arange(4), mode="circular", placement=place,
                     images=np.zeros((2, 1, 2, 3), np.uint8))
    (group,) = explorer_payload([audit])["groups"]
    assert (group["rows"], group["columns"], group["middle"]) == ([-1, 0, 1], [-1, 0, 1, 2], [1, 1])
    (model,) = group["models"]
    assert np.flatnonzero(unpack(model["map"])).tolist() == [1 * 4 + 1]
    assert np.flatnonzero(unpack(model["classes"])[0, 0] == 0).tolist() == [1 * 4 + 1]


def test_a_texture_background_has_a_note(random_audit):
    audit = random_audit()
    (group,) = explorer_payload([dataclasses.replace(audit, placement=audit.placement | {"background": "texture"})]
                                )["groups"]
    assert group["background"] is None and "textured background" in group["notes"][0]


def test_pack_keeps_arrays_and_refuses_other_dtypes():
    values = np.arange(600, dtype=np.uint16).reshape(2, 300)[:, ::2]
    assert np.array_equal(unpack(pack(values)), values)
    with pytest.raises(UsageError, match=r"uint8 or uint16, got float32: convert it first"):
        pack(np.zeros(3, np.float32))


def test_script_json_is_safe_and_lossless():
    hostile = {"</script><!--": ["<img src=x onerror=alert(1)>", "&amp;", "\u2028\u2029", float("nan")]}
    text = script_json(hostile)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"</script><!--": ["<img src=x onerror=alert(1)>", "&amp;", "\u2028\u2029", None]}


def test_cell_images_have_predictions_and_offsets(make_evaluation):
    index = np.array([0, 1, 2, 5])
    evaluation = make_evaluation(cell_index=index, cell_images=np.arange(4 * 4).reshape(4, 1, 2, 2).astype(np.uint8))
    (matrix,) = confusion_payload([evaluation, make_evaluation(split="train"), make_evaluation(seed=1)])["matrices"]
    images = matrix["images"]
    assert matrix["counts"] == evaluation.confusion.tolist() and images["numbers"] == [0, 1, 2, 5]
    assert (images["true"], images["predicted"]) == ([0, 1, 2, 2], [0, 1, 0, 0])
    assert np.array_equal(unpack(images["pixels"]), evaluation.cell_images) and images["confidences"] == [0.75] * 4
    assert confusion_payload([make_evaluation()])["matrices"][0]["images"] is None


def test_too_many_images_are_thinned_evenly(make_evaluation, monkeypatch):
    monkeypatch.setattr("shiftscope.reporting.confusion.MAX_BYTES", 5 * 4)
    index = np.array([0, 3, 6, 9, 1, 4, 7, 2, 5])  # cells (0, 0) twice or more, (1, 1), then mistakes
    evaluation = make_evaluation(cell_index=np.sort(index), cell_images=np.zeros((9, 1, 2, 2), np.uint8))
    (matrix,) = confusion_payload([evaluation])["matrices"]
    cells = list(zip(matrix["images"]["true"], matrix["images"]["predicted"], strict=True))
    assert len(cells) == 5 and len(set(cells)) == len(
        {(evaluation.labels[n], evaluation.predictions[n]) for n in index})


def test_curves_are_means_over_seeds_and_missing_numbers_stay_missing(make_training):
    lines = curves_payload([make_training(), make_training(final=0.25, epochs=2), make_training(trained="centered",
                                                                                           final=None)])
    assert [line["title"] for line in lines] == ["perceptron, mean of 2 seeds", "perceptron, trained centered"]
    assert [epoch["val_accuracy"] for epoch in lines[0]["epochs"]] == [0.5, 0.5]
    assert [epoch["val_accuracy"] for epoch in lines[1]["epochs"]] == [None, None, None]


@pytest.mark.parametrize("kind", ["logits", "probabilities", "log-probabilities", "unknown"])
def test_confidences_follow_from_the_output_type(kind, random_audit):
    plain = random_audit()
    share = np.exp(plain.shown_logits.astype(float))
    share /= share.sum(-1, keepdims=True)
    kept = {"probabilities": share, "log-probabilities": np.log(share)}.get(kind, plain.shown_logits)
    (group,) = explorer_payload([dataclasses.replace(plain, output_type=kind, shown_logits=kept.astype(np.float16))])[
        "groups"]
    numbers = [list(plain.shown_index).index(number) for number in group["images"]["numbers"]]
    predicted = plain.predictions[group["images"]["numbers"]][..., None].astype(int)
    expected = np.take_along_axis(share[numbers], predicted, -1)
    np.testing.assert_allclose(unpack(group["models"][0]["confidences"])[0], 1000 * expected[..., 0], atol=2)


def test_minus_infinity_has_no_confidence(random_audit):
    plain = random_audit()
    masked = plain.shown_logits.copy()
    masked[..., 4] = -np.inf
    predictions = np.where(plain.predictions == 4, 0, plain.predictions)
    (group,) = explorer_payload([dataclasses.replace(plain, shown_logits=masked, predictions=predictions)])["groups"]
    assert unpack(group["models"][0]["confidences"]).max() <= 1000
    json.dumps(group, allow_nan=False)


def test_consistency_matches_the_audit_with_nonfinite_predictions(random_audit):
    plain = random_audit()
    predictions = plain.predictions.copy()
    predictions[0, :12], predictions[1] = NONFINITE, NONFINITE
    (group,) = explorer_payload([dataclasses.replace(plain, predictions=predictions)])["groups"]
    shown = dict(zip(group["images"]["numbers"], group["images"]["consistency"], strict=True))
    assert shown[1] == 1
    counts = np.bincount(predictions[0], minlength=256)
    assert shown[0] == pytest.approx(np.square(counts / 24).sum(), abs=1e-4)


def attribution(audit, numbers, **changed) -> Attribution:
    """Maps of images of an audit, centered; the map of image n is n at its first pixel and -2 n at its last."""
    index, canvas = list(numbers), audit.geometry.canvas
    maps = np.zeros((len(index), *canvas), np.float32)
    maps[:, 0, 0], maps[:, -1, -1] = index, -2 * np.array(index)
    zeros = np.zeros(len(index), np.float32)
    values = {
        "model": audit.model, "method": "occlusion", "layer": "", "target": "class", "options": {}, "seconds": 1.0,
        "class_names": audit.class_names, "device": "cpu", "notes": [], "dataset": audit.dataset, "split": audit.split,
        "trained": audit.trained, "placement": audit.placement, "index": index,
        "offsets": [audit.geometry.middle] * len(index), "images": np.zeros((len(index), 1, *canvas), np.float32),
        "maps": maps, "targets": np.arange(len(index)) % 5, "labels": audit.labels[index],
        "predictions": np.arange(len(index)) % 5, "confidence": zeros, "scores": zeros, "scores_baseline": zeros,
        "residuals": zeros}
    return Attribution(**(values | changed))


def test_attribution_maps_belong_to_their_images_and_models(random_audit):
    audits = [random_audit(0), random_audit(1, model="two-conv"), random_audit(2, trained="centered")]
    (group,) = explorer_payload(audits, [attribution(audits[2], [7, 3])])["groups"]
    numbers = group["images"]["numbers"]
    assert [model["attribution"] is None for model in group["models"]] == [True, True, False]
    found = group["models"][2]["attribution"]
    assert [numbers[index] for index in found["images"]] == [7, 3] and found["targets"] == ["class 0", "class 1"]
    assert found["offsets"] == [[1, 2], [1, 2]] and found["method"] == "Occlusion"
    maps = (unpack(found["maps"]).astype(float) - found["levels"]) / found["levels"]
    assert maps.shape == (2, 31, 33) and (maps[:, -1, -1] == -1).all() and (maps[:, 0, 1:] == 0).all()
    assert maps[:, 0, 0] == pytest.approx([0.5, 0.5], abs=0.04)
    assert group["filters"][-1] == {"text": "With attribution map", "audited": None,
                                    "images": sorted(numbers.index(number) for number in (3, 7))}


@pytest.mark.parametrize("changed", [
    {"model": "other"}, {"trained": "unknown"}, {"dataset": "other"}, {"split": "train"}, {"index": []},
    {"index": [3, 200]}, {"index": [-1, 2]}, {"offsets": []}, {"labels": np.array([4, 4])},
    {"placement": {"image": [28, 28], "canvas": [31, 33], "mode": "circular"}},
    {"maps": np.zeros((2, 4, 4), np.float32)}], ids=str)
def test_maps_of_other_models_and_images_are_ignored(random_audit, changed):
    audit = random_audit()
    (group,) = explorer_payload([audit], [attribution(audit, [3, 7], **changed)])["groups"]
    assert group["models"][0]["attribution"] is None and len(group["filters"]) == 1


def test_several_methods_show_integrated_gradients(random_audit):
    audit = random_audit()
    maps = [attribution(audit, [3], method=method) for method in ("saliency", "integrated-gradients", "occlusion")]
    (group,) = explorer_payload([audit], maps)["groups"]
    assert group["models"][0]["attribution"]["method"] == "Integrated gradients"


def test_filters_list_shown_images_and_count_all_of_them(random_audit):
    audits = [random_audit(0, images=60), random_audit(1, images=60, model="two-conv")]
    steady = audits[1].predictions.copy()
    steady[:30] = 2
    audits[1] = dataclasses.replace(audits[1], predictions=steady)
    (group,) = explorer_payload(audits)["groups"]
    low = [np.array([np.square(np.bincount(row, minlength=5) / 24).sum() < 0.5 for row in audit.predictions])
           for audit in audits]
    assert [entry["text"] for entry in group["filters"]] == [
        "Consistency below 50 %: any", "Consistency below 50 %: perceptron", "Consistency below 50 %: convnet"]
    for entry, wanted in zip(group["filters"], (low[0] | low[1], *low), strict=True):
        assert entry["audited"] == wanted.sum() > 0
        assert entry["images"] == [at for at, number in enumerate(group["images"]["numbers"]) if wanted[number]]
    (alone,) = explorer_payload(audits[1:])["groups"]
    assert alone["filters"][0]["text"] == "Consistency below 50 %" and alone["filters"][0]["audited"] == low[1].sum()


def test_the_table_is_the_text_of_the_file(random_audit):
    audit = random_audit()
    text = to_csv([audit])
    table = explorer_payload([audit], rows=text)["table"]
    assert unpack(table["data"]).tobytes().decode() == text and table["rows"] == 20 and table["name"] == "images.csv"
    assert explorer_payload([audit])["table"] is None and explorer_payload([], rows=text)["table"] is None


def test_all_explorers_have_one_scale(random_audit):
    for audits in ([random_audit(0)], [random_audit(0), random_audit(1, model="two-conv")]):
        assert explorer_payload(audits)["groups"][0]["scale"] == [0, 1]


def test_images_are_named_by_their_files_or_else_by_their_numbers(make_audit):
    plain = make_audit()
    images = explorer_payload([plain])["groups"][0]["images"]
    assert plain.image_names == [] and images["names"] == [f"image {number}" for number in images["numbers"]]
    named = make_audit(image_names=[f"cup/{number}.png" for number in range(12)])
    images = explorer_payload([named])["groups"][0]["images"]
    assert images["names"] == [f"cup/{number}.png" for number in images["numbers"]]
def test_groups_without_labels_show_agreement_and_file_names(make_audit):
    labeled = make_audit()
    count = labeled.images
    audit = dataclasses.replace(
        labeled, labeled=False, labels=np.full(count, -1), correct_counts=np.full(count, -1, np.int32),
        mean_accuracy=float("nan"), accuracy_map=np.full_like(labeled.accuracy_map, np.nan),
        image_names=[f"folder/{number}.png" for number in range(count)])
    (group,) = explorer_payload([audit])["groups"]
    numbers = group["images"]["numbers"]
    assert group["labeled"] is False and group["images"]["names"] == [f"folder/{number}.png" for number in numbers]
    assert set(group["images"]["labels"]) == {-1} and group["models"][0]["accuracy"]["mean"] is None
    expected = np.round(10_000 * labeled.agreement_map).astype(int).ravel().tolist()
    assert unpack(group["models"][0]["map"]).ravel().tolist() == expected
