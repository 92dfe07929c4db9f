import pytest
import torch

from shiftscope.data import Dataset, Subset, TensorImages
from shiftscope.errors import DataError, UsageError


def numbered(count, classes=2):
    """Images 1 x 2 x 3 whose pixels all hold the image's number."""
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 2, 3).contiguous()
    return TensorImages(images, torch.arange(count) % classes)


@pytest.fixture
def data():
    return Dataset(name="numbers", class_names=("even", "odd"), train=numbered(50), test=numbered(10), source="here",
                   license="none")


def pixels(images):
    return images.gather(torch.arange(len(images)))[:, 0, 0, 0].tolist()


def test_split_returns_a_fixed_validation_set(data):
    train, validation = data.split(7)
    assert len(validation) == 7
    assert sorted(pixels(train) + pixels(validation)) == list(range(50))
    assert [value % 2 for value in pixels(validation)] == validation.labels.tolist()
    assert pixels(data.split(7)[1]) == pixels(validation)
    assert len(data.split(5000)[1]) == 10  # at most a fifth
    assert data.split(0) == (data.train, None)


def test_limit_keeps_the_first(data):
    limited = data.limit(20)
    assert pixels(limited.train) == list(range(20))
    assert len(limited.test) == 10
    assert data.limit(None) is data
    with pytest.raises(UsageError, match="limit must be an integer of at least 1, got 0"):
        data.limit(0)


def test_a_subset_of_a_subset_keeps_order_and_labels(data):
    subset = Subset(Subset(data.train, torch.tensor([5, 3, 8])), torch.tensor([2, 0]))
    assert pixels(subset) == [8, 5]
    assert subset.labels.tolist() == [0, 1]
    assert subset.to("cpu").gather(torch.tensor([1]))[0, 0, 0, 0] == 5


@pytest.mark.parametrize(("images", "labels", "problem"), [
    (torch.zeros(2, 1, 2, 3), torch.zeros(2), r"uint8 of shape \(N, C, h, w\), got torch.float32"),
    (torch.zeros(2, 2, 3, dtype=torch.uint8), torch.zeros(2), r"got torch.uint8 \(2, 2, 3\)"),
    (torch.zeros(0, 1, 2, 3, dtype=torch.uint8), torch.zeros(0), r"at least one image, got none"),
    (torch.zeros(2, 1, 2, 3, dtype=torch.uint8), torch.zeros(3), r"labels must be 2 integers"),
    (torch.zeros(2, 1, 2, 3, dtype=torch.uint8), torch.tensor([0.5, 1]), r"labels must be 2 integers, got"),
])
def test_images_that_are_refused(images, labels, problem):
    with pytest.raises(DataError, match=problem):
        TensorImages(images, labels)
