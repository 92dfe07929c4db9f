import numpy as np
import pytest
import torch

from shiftscope.auditing.predictions import PlacementPredictions, ShownImages, shown_count, to_float16
from shiftscope.auditing.self_check import SampleCheck, difference, draw_sample
from shiftscope.auditing.statistics import agreement, figures
from shiftscope.errors import UsageError
from shiftscope.metrics import rounding_tolerance


def test_more_than_255_classes():
    logits = torch.zeros(1, 3, 300)
    logits[0, 0, 299], logits[0, 1, 255], logits[0, 2, 0] = 1.0, 1.0, torch.inf
    predictions = PlacementPredictions(torch.tensor([299]), 3, 300)
    predictions.add(0, logits)
    assert predictions.classes.dtype == np.uint16 and predictions.classes.tolist() == [[299, 255, 65535]]
    with pytest.raises(UsageError, match="at most 65,535 classes, got 70,000"):
        PlacementPredictions(torch.tensor([0]), 1, 70_000)


def test_a_single_class_is_always_correct():
    predictions = PlacementPredictions(torch.tensor([0]), 2, 1)
    predictions.add(0, torch.tensor([[[3.0], [4.0]]]))
    assert predictions.classes.tolist() == [[0, 0]] and predictions.ties.tolist() == [0]


def test_an_image_without_finite_predictions_has_no_margin():
    predictions = PlacementPredictions(torch.tensor([0, 0]), 2, 2)
    predictions.add(0, torch.tensor([[[torch.nan, 0.0], [0.0, torch.inf]], [[2.0, 1.0], [torch.nan, 1.0]]]))
    assert np.isnan(predictions.margins[0]).all() and predictions.margins[1].tolist() == [1, 1]
    assert predictions.worst.tolist() == [0, 1] and predictions.classes.tolist() == [[255, 255], [0, 255]]


def test_nonfinite_predictions_form_their_own_class():
    consistency, same = agreement(np.array([[255, 255], [1, 255]], dtype=np.uint8), 3)
    assert consistency.tolist() == [1, 0.5] and same.tolist() == [True, False]


def test_agreement_in_blocks(monkeypatch):
    predictions = np.random.default_rng(0).integers(0, 3, (50, 20)).astype(np.uint8)
    whole = agreement(predictions, 3)
    monkeypatch.setattr("shiftscope.results.agreement._CHUNK", 70)
    assert all((a == b).all() for a, b in zip(whole, agreement(predictions, 3), strict=True))


def test_intervals_contain_their_figures():
    generator = np.random.default_rng(1)
    found = figures(generator.integers(0, 3, (200, 30)).astype(np.uint8), generator.integers(0, 3, 200), 3, 7)
    assert set(found["intervals"]) == {"mean_accuracy", "worst_case_accuracy", "consistency", "unanimity",
                                       "middle_accuracy"}
    for name, (low, high) in found["intervals"].items():
        assert 0 <= low <= found[name] <= high <= 1


def test_values_beyond_float16_are_shifted_or_clamped():
    assert to_float16(torch.tensor([[1e6, -torch.inf, 1e6 - 2], [3.0, -1e6, 0.5]])).tolist() == [
        [0, -np.inf, -2], [3, -65504, 0.5]]
    assert np.isnan(to_float16(torch.tensor([torch.nan]))).all()
    assert to_float16(torch.tensor([[torch.inf, 1.0]])).tolist() == [[np.inf, 1]]


def test_large_scores_show_fewer_images():
    assert shown_count(100, 50_000, 1000) == 2 and shown_count(1, 50_000, 1000) == 1
    shown = ShownImages(3, 4, 2)
    shown.add(0, torch.zeros(1, 4, 2), np.zeros((1, 4), np.uint8))
    assert shown.arrays(3)[0].tolist() == [0] and shown.arrays(3)[1].shape == (1, 4, 2)


def test_the_sample_is_random_and_repeats():
    sample, again, other = (draw_sample(10_000, 841, seed=seed) for seed in (0, 0, 1))
    assert sample.images.equal(again.images) and sample.columns.equal(again.columns)
    assert not sample.images.equal(other.images)
    assert len(sample.images.unique()) == 32 and sample.images.max() > 5000 and sample.columns.max() > 700
    assert sample.columns.numel() == 256


def test_the_rounding_tolerance_scales_with_the_outputs():
    logits = torch.tensor([[3.0, -40.0], [torch.nan, 1.0]])
    assert rounding_tolerance(logits, torch.float32) == pytest.approx(21.5e-5)  # both are 21.5 from their mean
    assert rounding_tolerance(1e-9 * logits, torch.float32) == pytest.approx(21.5e-14)
    assert rounding_tolerance(logits + 1e6, torch.float32) == pytest.approx(4 * 2**-23 * 1e6, rel=1e-3)
    assert rounding_tolerance(logits, torch.float16) == pytest.approx(4 * 2**-10 * 40)
    assert rounding_tolerance(torch.zeros(2, 2), torch.float32) == 0
    assert rounding_tolerance(torch.zeros(0, 2), torch.float32) == 0


@pytest.mark.parametrize("mask", [-torch.inf, -1e9, torch.finfo(torch.float32).min])
def test_masked_classes_do_not_make_the_tolerance_larger(mask):
    logits = torch.tensor([[3.0, -4.0, 0.0, 1.0]]).expand(5, -1)
    masked = torch.cat((logits, torch.full((5, 6), mask)), 1)
    assert rounding_tolerance(masked, torch.float32) == pytest.approx(rounding_tolerance(logits, torch.float32))
    assert difference(masked, masked) == 0


def test_only_equal_infinities_are_equal():
    row = torch.tensor([[1.0, -torch.inf, 0.0]])
    assert difference(row, row) == 0
    for other in ([[1.0, torch.inf, 0.0]], [[1.0, torch.nan, 0.0]], [[1.0, -5.0, 0.0]]):
        assert difference(torch.tensor(other), row) == torch.inf


def test_tiny_log_probabilities_are_equal():
    """log(softmax) is -inf or -103, depending on the last digit of what went in."""
    row = torch.tensor([[0.0, -torch.inf, -torch.inf]])
    assert difference(torch.tensor([[0.0, -103.3, -102.6]]), row) == 0
    assert difference(torch.tensor([[0.0, -20.0, -102.6]]), row) > 1


def test_minus_infinity_is_not_a_nonfinite_prediction():
    predictions = PlacementPredictions(torch.tensor([0, 1]), 2, 3)
    predictions.add(0, torch.tensor([[[-torch.inf, 1.0, 0.0], [2.0, -torch.inf, -torch.inf]],
                                 [[-torch.inf] * 3, [0.0, torch.inf, 1.0]]]))
    assert predictions.classes.tolist() == [[1, 0], [255, 255]]
    assert predictions.margins[0, 0] == -np.inf and predictions.worst.tolist() == [0, 0]


def test_a_nonfinite_placement_is_the_worst():
    predictions = PlacementPredictions(torch.tensor([0]), 3, 2)
    predictions.add(0, torch.tensor([[[-torch.inf, 1.0], [2.0, 1.0], [torch.nan, 1.0]]]))
    assert predictions.worst.tolist() == [2]


def test_half_precision_and_exact_ties():
    predictions = PlacementPredictions(torch.tensor([1]), 2, 3, tolerance=0.01)
    predictions.add(0, torch.tensor([[[1.0, 1.0, 0.0], [1.0, 1.0078125, 1.0]]], dtype=torch.bfloat16))
    assert predictions.classes.tolist() == [[0, 1]]
    assert predictions.exact_ties.tolist() == [1] and predictions.ties.tolist() == [1]


def test_differences():
    logits = torch.tensor([[3.0, -40.0], [torch.nan, 1.0]])
    assert difference(logits, logits + torch.tensor([[0.5, 0.0], [0.0, -0.25]])) == 0.5
    assert difference(torch.zeros(0, 2), torch.zeros(0, 2)) == 0


def test_a_check_without_images_is_empty(made, place):
    data = made.noise()
    check = SampleCheck(made.SmallNet(), data.test, place, place.offsets(), draw_sample(7, 54, seed=0))
    check.add(100, torch.zeros(2, 54, 3))
    assert check.result()["placements"] == 0
