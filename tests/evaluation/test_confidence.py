"""Confidence, ties and missing predictions of evaluations."""

import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import UsageError
from shiftscope.evaluation import evaluate
from shiftscope.placement import Placement

PLACE = Placement(image=(4, 6), canvas=(9, 14))


def dataset(count=120):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 1, 4, 6), dtype=torch.uint8, generator=generator)
    both = TensorImages(images, torch.arange(count) % 3)
    return Dataset(name="noise", class_names=("a", "b", "c"), train=both, test=both, source="-", license="-")


class Net(nn.Module):
    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.end = nn.Linear(9 * 14, 3), end

    def forward(self, pixels):
        return self.end(8 * self.fc(pixels.flatten(1)))


def scores(found):
    """Scores (N, 3) of the plain net at the placements of an evaluation."""
    canvases = PLACE.place(dataset().test.images, torch.from_numpy(found.offsets))
    with torch.no_grad():
        return Net(nn.Identity())(canvases / 255).double()


@pytest.mark.parametrize(("end", "kind"), [
    (nn.Identity(), "logits"), (nn.Softmax(1), "probabilities"), (nn.LogSoftmax(1), "log-probabilities")])
def test_confidence_is_the_probability_that_the_model_states(end, kind):
    found = evaluate(Net(end), dataset(), placement=PLACE)
    expected = scores(found).softmax(1).max(1)
    assert found.output_type == kind
    np.testing.assert_allclose(found.confidence, expected.values, atol=1e-6)
    assert found.predictions.tolist() == expected.indices.tolist()


def test_the_given_output_type_is_used():
    found = evaluate(Net(nn.Softmax(1)), dataset(), placement=PLACE, output_type="logits")
    np.testing.assert_allclose(found.confidence, scores(found).softmax(1).softmax(1).max(1).values, atol=1e-6)
    with pytest.raises(UsageError, match="output_type is 'probabilities', but the model returned values from -"):
        evaluate(Net(nn.Identity()), dataset(), placement=PLACE, output_type="probabilities")


class Masked(nn.Module):
    def forward(self, scores):
        return scores.log_softmax(1).masked_fill(torch.tensor([True, False, False]), -torch.inf)


class Broken(nn.Module):
    def forward(self, scores):
        outputs = scores.clone()
        if len(outputs) >= 3:
            outputs[0], outputs[1, 0], outputs[2, 0] = -torch.inf, torch.nan, torch.inf
        return outputs


def test_minus_infinity_at_losing_classes_is_valid():
    found = evaluate(Net(Masked()), dataset(), placement=PLACE)
    allowed = scores(found)[:, 1:]
    assert found.nonfinite == 0 and found.predictions.tolist() == (1 + allowed.argmax(1)).tolist()
    assert np.isfinite(found.confidence).all() and found.output_type == "logits"
    np.testing.assert_allclose(found.confidence, allowed.softmax(1).max(1).values, atol=1e-6)


def test_a_row_without_a_finite_maximum_has_no_prediction():
    found = evaluate(Net(Broken()), dataset(), placement=PLACE)
    assert found.nonfinite == 3 and found.predictions[:3].tolist() == [-1, -1, -1]
    assert found.confidence[:3].tolist() == [0, 0, 0] and (found.predictions[3:] >= 0).all()
    assert any("3 of 120 images have non-finite outputs" in note for note in found.notes)


class Steps(nn.Module):
    def forward(self, scores):
        return (scores / 4).round()


def test_ties_go_to_the_first_class_and_are_noted():
    found = evaluate(Net(Steps()), dataset(), placement=PLACE)
    rows = (scores(found).float() / 4).round().tolist()
    assert found.predictions.tolist() == [row.index(max(row)) for row in rows]
    assert found.exact_ties == sum(row.count(max(row)) > 1 for row in rows) > 0 and found.ties == 0
    assert any("predictions are exact ties" in note for note in found.notes)


def test_one_class_and_few_images():
    net = Net(nn.Identity())
    net.fc.bias.data += torch.tensor([0.0, 1000.0, 0.0])
    notes = evaluate(net, dataset(30), placement=PLACE).notes
    assert any("one class, 'b', is predicted for all images" in note for note in notes)
    assert any("fewer than 100 images (30)" in note for note in notes)
