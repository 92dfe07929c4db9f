"""The scripts of the MNIST results against naive references."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

import mnist_centering
import two_datasets
from shiftscope.data import from_arrays
from shiftscope.data.base import TensorImages


def random_boxes(count: int = 40) -> np.ndarray:
    draw, images = np.random.default_rng(0), np.zeros((count, 12, 10), np.uint8)
    for image in images:
        top, left, height, width = draw.integers(0, 5, 2).tolist() + draw.integers(1, 6, 2).tolist()
        image[top:top + height, left:left + width] = draw.integers(1, 256, (height, width))
    return images


def test_images_by_box_are_those_of_a_loop():
    images = random_boxes()
    moved = mnist_centering.by_box(TensorImages(torch.from_numpy(images)[:, None], torch.arange(40)))
    expected, shifts = np.zeros_like(images), []
    for image, target in zip(images, expected, strict=True):
        rows, columns = (np.flatnonzero(image.any(axis)) for axis in (1, 0))
        box = image[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
        top, left = ((size - extent) // 2 for size, extent in zip(image.shape, box.shape, strict=True))
        target[top:top + len(box), left:left + box.shape[1]] = box
        shifts.append((top - rows[0], left - columns[0]))
    assert np.array_equal(moved.images[:, 0].numpy(), expected)
    start = TensorImages(torch.from_numpy(images)[:, None], torch.arange(40))
    assert mnist_centering.displacements(start, moved).tolist() == [list(shift) for shift in shifts]


def test_a_net_is_tested_at_both_positions(monkeypatch):
    images, labels = random_boxes(), np.arange(40) % 10
    data = from_arrays(images, labels, images, labels, [str(k) for k in range(10)], name="boxes")
    by_box = {split: mnist_centering.by_box(getattr(data, split)) for split in ("train", "test")}

    class Row(torch.nn.Module):
        """Predicts the first occupied row of the canvas, modulo 10."""

        def forward(self, pixels):
            first = (pixels[:, 0] > 0).any(2).int().argmax(1) % 10
            return torch.nn.functional.one_hot(first, 10).float()

    monkeypatch.setattr(mnist_centering, "build_model", lambda *_, **__: Row())
    monkeypatch.setattr(mnist_centering.shiftscope, "train", lambda *_, **__: None)
    records = mnist_centering.measure({"mass": data, "box": replace(data, **by_box)}, 0, 1)
    tops = {"mass": images, "box": by_box["test"].images[:, 0].numpy()}
    for position, some in tops.items():
        rows = np.array([np.flatnonzero(image.any(1))[0] for image in some]) + (56 - 12) // 2
        assert records[0][f"accuracy_{position}"] == records[1][f"accuracy_{position}"] == (rows % 10 == labels).mean()


def test_the_table_has_one_row_per_dataset_and_training():
    def audit(dataset, trained, mean):
        figures = dict.fromkeys(two_datasets.FIGURES.values(), 0.5) | {"mean_accuracy": mean}
        return SimpleNamespace(dataset=dataset, trained=trained, model="two-conv", **figures)

    found = two_datasets.table([audit("mnist", "random", 0.9), audit("mnist", "centered", 0.25),
                                audit("fashion-mnist", "random", 0.8), audit("mnist", "random", 0.8)])
    assert found.splitlines()[2:] == [
        f"| mnist | two-conv | random positions | 85.0 % ± 7.1 | {' | '.join(['50.0 % ± 0.0'] * 4)} |",
        "| mnist | two-conv | centered images | 25.0 % | 50.0 % | 50.0 % | 50.0 % | 50.0 % |",
        "| fashion-mnist | two-conv | random positions | 80.0 % | 50.0 % | 50.0 % | 50.0 % | 50.0 % |"]
