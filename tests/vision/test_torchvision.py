"""Datasets and models of torchvision go through the public interface as they are."""

import struct
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import shiftscope
from shiftscope.errors import DataError

SIZE = 28
CLASSES = 10


def write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


def bars(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of class k: a bright bar of k + 2 rows in noise; easy to learn, not symmetric."""
    random = np.random.default_rng(seed)
    labels = (np.arange(count) % CLASSES).astype(np.uint8)
    images = random.integers(0, 40, (count, SIZE, SIZE), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3:5 + 2 * label, 4:20] = 220
    return images, labels


@pytest.fixture
def root(tmp_path):
    """A folder in the layout of torchvision's FashionMNIST class, with few small images."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count, seed in (("train", 150, 0), ("t10k", 50, 1)):
        images, labels = bars(count, seed)
        write_idx(raw / f"{part}-images-idx3-ubyte", images)
        write_idx(raw / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path


def fashion(root: Path, transform: object) -> tuple:
    from torchvision.datasets import FashionMNIST

    return tuple(FashionMNIST(str(root), train=train, transform=transform) for train in (True, False))


@pytest.mark.parametrize("as_tensor", [True, False], ids=["ToTensor", "PIL images"])
def test_a_dataset_arrives_bit_for_bit(root, as_tensor):
    from torchvision.transforms import ToTensor

    data = shiftscope.from_torch(*fashion(root, ToTensor() if as_tensor else None))
    images, labels = bars(50, 1)
    assert data.shape == (1, SIZE, SIZE)
    assert data.class_names[0] == "T-shirt/top"
    assert len(data.train) == 150
    assert np.array_equal(data.test.gather(torch.arange(50))[:, 0].numpy(), images)
    assert data.test.labels.tolist() == labels.tolist()


def test_color_images_keep_their_channels():
    from torchvision.datasets import FakeData
    from torchvision.transforms import ToTensor

    parts = [FakeData(size=6, image_size=(3, 20, 24), num_classes=3, transform=ToTensor(), random_offset=offset)
             for offset in (0, 6)]
    data = shiftscope.from_torch(*parts, class_names=["a", "b", "c"])
    assert data.shape == (3, 20, 24)
    expected = (parts[1][4][0] * 255).round().to(torch.uint8)
    assert data.test.gather(torch.tensor([4]))[0].equal(expected)


def test_normalized_pixels_are_refused(root):
    from torchvision.transforms import Compose, Normalize, ToTensor

    with pytest.raises(DataError, match="remove Normalize from the transform"):
        shiftscope.from_torch(*fashion(root, Compose([ToTensor(), Normalize((0.5,), (0.2,))])))


def gray_resnet18() -> torch.nn.Module:
    """A resnet18 for one channel; its batch statistics are quick enough for a few steps of training."""
    from torchvision.models import resnet18

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = resnet18(num_classes=CLASSES, norm_layer=partial(torch.nn.BatchNorm2d, momentum=0.5))
        model.conv1 = torch.nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    return model


def test_a_resnet_is_trained_and_evaluated(root):
    data = shiftscope.from_torch(*fashion(root, None))
    place = shiftscope.Placement(image=(SIZE, SIZE), canvas=(32, 32))
    model = gray_resnet18().eval()
    before = model.fc.weight.detach().clone()
    settings = shiftscope.TrainSettings(epochs=4, batch_size=30, learning_rate=2e-3)
    result = shiftscope.train(model, data, placement=place, settings=settings)
    assert [line["epoch"] for line in result.history] == [1, 2, 3, 4]
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"] / 2
    assert not model.fc.weight.equal(before)
    assert not model.training

    score = shiftscope.evaluate(model, data, placement=place)
    assert score.accuracy["centered"] > 0.5  # chance is 0.1
    assert score.confusion.sum() == 50
    with torch.no_grad():
        pixels = place.place(data.test.gather(torch.arange(50)), torch.as_tensor(score.offsets)) / 255
        assert model(pixels).argmax(1).tolist() == score.predictions.tolist()
