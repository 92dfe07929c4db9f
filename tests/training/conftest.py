import pytest
import torch

from shiftscope.data.base import Dataset, TensorImages


def bright_spot(count: int, seed: int) -> TensorImages:
    """Images of 8 x 8 whose class is the quadrant of the brightest spot: easy, and all different."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 90, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 4
    for index, label in enumerate(labels.tolist()):
        images[index, 0, 1 + 4 * (label // 2):3 + 4 * (label // 2), 1 + 4 * (label % 2):3 + 4 * (label % 2)] = 250
    return TensorImages(images, labels)


@pytest.fixture(scope="session")
def spots() -> Dataset:
    return Dataset(name="spots", class_names=("nw", "ne", "sw", "se"), train=bright_spot(260, 0),
                   test=bright_spot(60, 1), source="made by the test", license="MIT", synthetic=True)
