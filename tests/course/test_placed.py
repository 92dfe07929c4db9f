import pytest
import torch
from torch.utils.data import DataLoader, random_split

import shiftscope.model_utils
from shiftscope.course.loaders import PlacedImages, PlacedLoader
from shiftscope.data.base import TensorImages
from shiftscope.errors import UsageError
from shiftscope.placement import Placement

PLACE = Placement(image=(4, 3), canvas=(12, 10))
IMAGES = TensorImages(torch.full((7, 1, 4, 3), 255, dtype=torch.uint8), torch.arange(7))
DARK, BRIGHT = (0 - 0.1307) / 0.3081, (1 - 0.1307) / 0.3081


def corner(image: torch.Tensor) -> tuple[int, int]:
    rows, columns = (image[0] > 0).nonzero(as_tuple=True)
    return int(rows.min()), int(columns.min())


def test_an_item_is_a_normalized_canvas_and_its_label():
    image, label = PlacedImages(IMAGES, PLACE)[-2]
    assert image.shape == (1, 12, 10)
    assert type(label) is int
    assert label == 5
    assert sorted({round(value, 4) for value in image.flatten().tolist()}) == [round(DARK, 4), round(BRIGHT, 4)]
    assert int((image > 0).sum()) == 12


def test_moving_images_get_new_positions_and_repeat_with_the_seed():
    moving = PlacedImages(IMAGES, PLACE)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        places = [corner(moving[0][0]) for _ in range(400)]
        torch.manual_seed(0)
        assert [corner(moving[0][0]) for _ in range(400)] == places
    assert {row for row, _ in places} == set(range(9))
    assert {column for _, column in places} == set(range(8))


def test_each_fixed_image_keeps_its_position():
    fixed = PlacedImages(IMAGES, PLACE, moving=False)
    assert all(torch.equal(fixed[index][0], fixed[index][0]) for index in range(7))
    assert len({corner(fixed[index][0]) for index in range(7)}) > 3
    batch, _ = fixed.batch(torch.arange(7))
    assert torch.equal(batch[4], fixed[4][0])


def test_iterating_ends():
    assert [label for _, label in PlacedImages(IMAGES, PLACE)] == list(range(7))


@pytest.mark.parametrize("workers", [0, 1])
def test_random_split_and_dataloader_accept_the_dataset(workers):
    first, rest = random_split(PlacedImages(IMAGES, PLACE), [5, 2], torch.Generator().manual_seed(0))
    seen = []
    for part in (first, rest):
        for images, labels in DataLoader(part, batch_size=2, shuffle=True, num_workers=workers):
            assert images.shape[1:] == (1, 12, 10)
            assert labels.dtype == torch.int64
            seen += labels.tolist()
    assert sorted(seen) == list(range(7))


def test_workers_do_not_repeat_positions():
    many = TensorImages(torch.full((40, 1, 4, 3), 255, dtype=torch.uint8), torch.zeros(40, dtype=torch.int64))
    loader = DataLoader(PlacedImages(many, PLACE), batch_size=20, num_workers=2)
    passes = [[corner(image) for images, _ in loader for image in images] for _ in range(2)]
    assert passes[0] != passes[1]
    assert passes[0][:20] != passes[0][20:]


def test_the_loader_yields_every_image_once_in_a_new_order():
    size = 3
    loader = PlacedLoader(PlacedImages(IMAGES, PLACE), lambda: size, shuffle=True)
    orders = [torch.cat([labels for _, labels in loader]).tolist() for _ in range(5)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert [len(images) for images, _ in loader] == [3, 3, 1]
    size = 7
    assert (len(loader), loader.batch_size) == (1, 7)


def test_the_ordered_loader_yields_matching_labels():
    gray = TensorImages((torch.arange(1, 8) * 36).view(7, 1, 1, 1).expand(7, 1, 4, 3).to(torch.uint8), torch.arange(7))
    for images, labels in PlacedLoader(PlacedImages(gray, PLACE), lambda: 4, shuffle=False):
        brightest = (images.amax((1, 2, 3)) * 0.3081 + 0.1307) * 255
        assert torch.allclose(brightest, (labels + 1) * 36.0, atol=1e-3)


def test_load_fashion_mnist_sets_the_state(MU, fashion_mnist_dir):
    MU.load_fashion_mnist(fashion_mnist_dir, imgsize=(40, 48))
    assert MU.imgsize == (40, 48)
    assert MU.class_names[1] == "Trouser"
    assert (len(MU.train_dataset), len(MU.test_dataset)) == (60_000, 10_000)
    image, label = MU.train_dataset[0]
    assert (image.shape, label) == ((1, 40, 48), 9)
    MU.args.batch_size = 64
    images, labels = next(iter(MU.train_loader))
    assert (images.shape, labels.shape) == ((64, 1, 40, 48), (64,))
    assert len(next(iter(MU.test_loader))[1]) == 1000


def test_a_canvas_that_is_too_small_is_refused(MU, fashion_mnist_dir):
    with pytest.raises(UsageError, match="does not fit: it is 28 x 28, the canvas 20 x 56"):
        MU.load_fashion_mnist(fashion_mnist_dir, imgsize=(20, 56))
    with pytest.raises(UsageError, match=r"imgsize must be two integers above 0, \(height, width\), got 56"):
        MU.load_fashion_mnist(fashion_mnist_dir, imgsize=56)
    assert shiftscope.model_utils.train_loader is None
