"""Predictions, probabilities and what outputs are: each against NumPy, in all types and layouts."""

import numpy as np
import pytest
import torch

from shiftscope.errors import UsageError
from shiftscope.outputs import (
    OUTPUT_TYPES,
    _first_by_counting,
    classify,
    determine_output_type,
    first_maximum,
    is_finite,
    predicted_classes,
    probabilities,
    resolve_output_type,
    tie_masks,
    top_two,
)

Z = torch.tensor([[0.5, 2.0, -1.0], [3.0, -2.0, 0.0]])
INF = torch.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("classes", [1, 2, 7, 8, 16, 33, 1000])
def test_the_first_of_equal_outputs_is_the_label(dtype, classes):
    generator = torch.Generator().manual_seed(classes)
    rows = torch.randint(0, 3, (40, classes), generator=generator).to(dtype)
    expected = [row.index(max(row)) for row in rows.tolist()]
    for layout in (rows, rows.t().contiguous().t(), rows[:, None].expand(-1, 2, -1)[:, 1]):
        assert first_maximum(layout).tolist() == expected
        assert _first_by_counting(layout).tolist() == expected  # what other devices do
    assert first_maximum(rows.double().numpy()).tolist() == expected


@pytest.mark.parametrize(("row", "label"), [
    ([0.0, -INF, -INF], 0), ([-INF, -INF, -5.0], 2), ([-INF] * 3, -1), ([0.0, INF, 1.0], -1),
    ([torch.nan, 0.0, 1.0], -1), ([-INF, torch.nan, 1.0], -1), ([-1e38, -3e38, -INF], 0)])
def test_only_nan_or_an_infinite_maximum_is_nonfinite(row, label):
    outputs = torch.tensor([row])
    assert predicted_classes(outputs).tolist() == predicted_classes(outputs.numpy()).tolist() == [label]
    assert is_finite(outputs).tolist() == is_finite(outputs.numpy()).tolist() == [label >= 0]
    classes, confidence = classify(outputs, "logits")
    assert classes.tolist() == [label] and (confidence > 0).tolist() == [label >= 0]


def test_the_two_largest_and_their_ties():
    outputs = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0 + 1e-6, 0.0], [0.0, 0.5, 1.0], [torch.nan, 1.0, 1.0],
                            [-INF] * 3])
    first, best, second = top_two(outputs)
    exact, near = tie_masks(best, second, 1e-5)
    assert first[:3].tolist() == [0, 1, 2] and second[:3].tolist() == [1, 1, 0.5]
    assert exact.tolist() == [True, False, False, False, False] and near.tolist() == [False, True, False, False, False]
    assert top_two(torch.ones(1, 1))[2].tolist() == [-INF]


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16])
def test_probabilities_of_each_type(dtype, as_array):
    kinds = {"logits": Z, "probabilities": Z.softmax(1), "log-probabilities": Z.log_softmax(1)}
    for kind, values in kinds.items():
        outputs = values.to(dtype)
        found = probabilities(outputs.numpy() if as_array else outputs, kind)
        np.testing.assert_allclose(np.asarray(found, np.float64), Z.double().softmax(1), atol=2e-3 if
                                   dtype == torch.float16 else 1e-6)
        assert determine_output_type(outputs.numpy() if as_array else outputs) == kind


def test_softmax_is_not_applied_to_probabilities():
    confident = torch.tensor([[0.295, 0.205, 0.5]])
    assert classify(confident)[1].item() == pytest.approx(0.5)
    assert classify(confident, "logits")[1].item() == pytest.approx(float(confident.softmax(1).max()))


@pytest.mark.parametrize(("rows", "kind"), [
    ([[0.2, 0.8], [0.4, 0.6]], "probabilities"), ([[1.0, 0.0]], "probabilities"), ([[0.2, 0.7]], "logits"),
    ([[0.0, -INF]], "log-probabilities"), ([[-0.1, 1.1]], "logits"), ([[0.2, 0.8], [3.0, -2.0]], "logits"),
    ([[torch.nan, 0.5], [0.5, 0.5]], "probabilities"), ([[torch.nan, 0.5]], "logits"), ([[0.0, 0.0]], "logits"),
    ([[INF, 0.0], [-0.6931472, -0.6931472]], "log-probabilities")])
def test_the_output_type_of_a_batch(rows, kind):
    assert determine_output_type(torch.tensor(rows)) == kind
    assert resolve_output_type(None, torch.tensor(rows)) == kind


def test_a_given_output_type_must_not_contradict_the_outputs():
    for kind in OUTPUT_TYPES:
        assert resolve_output_type(kind, torch.tensor([[-0.0, 0.0]])) == kind
    with pytest.raises(UsageError, match="output_type is 'log-probabilities', but .* from -1 to 3; choose 'logits'"):
        resolve_output_type("log-probabilities", torch.tensor([[3.0, -1.0]]))
    with pytest.raises(UsageError, match="unknown output type 'logit': did you mean 'logits'"):
        resolve_output_type("logit", Z)
    with pytest.raises(UsageError, match="unknown output type 'votes'"):
        probabilities(Z, "votes")


def test_unknown_output_types_are_treated_as_logits():
    assert probabilities(Z, "unknown").equal(Z.softmax(1))
