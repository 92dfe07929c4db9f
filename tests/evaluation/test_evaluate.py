import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch import nn

from shiftscope.data.base import Dataset, TensorImages
from shiftscope.errors import UsageError
from shiftscope.evaluation import evaluate, predict
from shiftscope.models import build_model
from shiftscope.placement import Placement
from shiftscope.results import Evaluation

PLACE = Placement(image=(4, 6), canvas=(9, 14))


def dataset(count=300, channels=1):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, 4, 6), dtype=torch.uint8, generator=generator)
    images[:, :, 0, 0] = 255  # the brightest pixel marks the corner
    labels = torch.randint(0, 3, (count,), generator=generator)
    both = TensorImages(images, labels)
    return Dataset(name="noise", class_names=("a", "b", "c"), train=both, test=both, source="-", license="-")


class AnswersByColumn(nn.Module):
    """Says class 0, 1 or 2 by the column where the first white pixel lies: right only if placement reaches it."""

    def forward(self, pixels):
        column = pixels[:, 0].amax(1).argmax(1)
        return torch.nn.functional.one_hot(column % 3, 3).float()


def test_figures_equal_a_loop_over_images_and_sklearn():
    data, model = dataset(), build_model("two-full", canvas=(9, 14), classes=3)
    found = evaluate(model, data, placement=PLACE, seed=5)
    hits, predictions = [], []
    offsets = PLACE.sample(torch.arange(300), seed=5)
    for index in range(300):
        picture = PLACE.place(data.test.gather(torch.tensor([index])), offsets[index:index + 1]).float() / 255
        predictions.append(int(model.eval()(picture).argmax()))
        hits.append(predictions[-1] == int(data.test.labels[index]))
    assert found.accuracy["random"] == pytest.approx(np.mean(hits), abs=1e-12)
    assert found.predictions.tolist() == predictions
    assert (found.confusion == confusion_matrix(data.test.labels, predictions, labels=[0, 1, 2])).all()
    for cls in range(3):
        expected = np.mean([hit for hit, label in zip(hits, found.labels, strict=True) if label == cls])
        assert found.per_class["random"][cls] == pytest.approx(expected)
    shown = PLACE.place(data.test.gather(torch.tensor([3])), offsets[3:4])[0].numpy()
    assert (found.gallery_canvases[3] == shown).all()


def test_random_and_centered_differ_as_worked_out_by_hand():
    data = dataset()
    found = evaluate(AnswersByColumn(), data, placement=PLACE, seed=1)
    offsets = PLACE.sample(torch.arange(300), seed=1)
    by_hand = [(int(offset) + _first_white(image)) % 3 == int(label) for offset, image, label in
               zip(offsets[:, 1], data.test.images, data.test.labels, strict=True)]
    assert found.accuracy["random"] == pytest.approx(np.mean(by_hand))
    assert found.predictions_centered.tolist() == [(4 + _first_white(image)) % 3 for image in data.test.images]


def _first_white(image):
    return int((image[0].amax(0) == 255).nonzero()[0, 0])


def test_nonfinite_outputs_count_as_incorrect():
    class Broken(nn.Module):
        def forward(self, pixels):
            outputs = torch.zeros(len(pixels), 3)
            outputs[:, 1] = float("nan")
            return outputs

    found = evaluate(Broken(), dataset(), placement=PLACE)
    assert found.accuracy == {"random": 0.0, "centered": 0.0} and found.nonfinite == 300
    assert found.confusion.sum() == 0 and (found.predictions == -1).all()
    assert any("300 of 300 images have non-finite outputs" in note for note in found.notes)


def test_accuracy_near_chance_is_noted():
    class Constant(nn.Module):
        def forward(self, pixels):
            return torch.eye(3)[torch.zeros(len(pixels), dtype=torch.int64)]

    assert any("near chance (33.3 %)" in note for note in evaluate(Constant(), dataset(), placement=PLACE).notes)


def test_mode_and_gradients_are_restored_also_after_an_error():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(126, 3))
    model.train()
    model[1].eval()
    evaluate(model, dataset(), placement=PLACE)
    assert model.training and not model[1].training
    with pytest.raises(UsageError, match="cannot take images of 3 x 9 x 14"):
        evaluate(model, dataset(channels=3), placement=PLACE)
    assert model.training and not model[1].training and torch.is_grad_enabled()


def test_saved_records_load(tmp_path):
    found = evaluate(AnswersByColumn(), dataset(), placement=PLACE)
    found.save(tmp_path)
    again = Evaluation.load(tmp_path)
    assert again.to_dict() == found.to_dict()
    for name in Evaluation.arrays:
        assert (getattr(again, name) == getattr(found, name)).all() and getattr(again, name).dtype == \
            getattr(found, name).dtype


def test_splits_do_not_overlap_and_cover_the_training_set():
    data = dataset(100)
    sizes = {split: evaluate(AnswersByColumn(), data, placement=PLACE, split=split, validation=15).images
             for split in ("train", "validation", "test")}
    assert sizes == {"train": 85, "validation": 15, "test": 100}
    rest, held_out = data.split(15)
    assert set(rest.indices.tolist()) | set(held_out.indices.tolist()) == set(range(100))
    with pytest.raises(UsageError, match="unknown split 'tset': did you mean 'test'"):
        evaluate(AnswersByColumn(), data, placement=PLACE, split="tset")


def test_predictions_do_not_depend_on_the_short_cut():
    data, model = dataset(), build_model("two-conv", canvas=(20, 21), classes=3).double()
    place = Placement(image=(4, 6), canvas=(20, 21))
    offsets = place.sample(torch.arange(300), seed=0)
    short = predict(model, data.test, offsets, place)
    plain = predict(nn.Sequential(model), data.test, offsets, place)  # hides forward_placed
    assert short.classes.equal(plain.classes)
    torch.testing.assert_close(short.confidence, plain.confidence)
