import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from shiftscope.course.figures import make_grid, rescale, to_tensor
from shiftscope.errors import UsageError


def test_a_grid_contains_the_images_in_order():
    images = torch.arange(1.0, 6.0).view(5, 1, 1, 1).expand(5, 1, 4, 6)
    grid = make_grid(images, nrow=3, padding=1)
    assert grid.shape == (3, 2 * 5 + 1, 3 * 7 + 1)
    assert grid[0, 1, 1] == 1
    assert grid[0, 4, 20] == 3
    assert grid[2, 6, 8] == 5
    assert grid[0, 6, 15] == 0
    assert (grid[:, 0] == 0).all()
    assert (grid[:, :, 7] == 0).all()


def test_normalize_rescales_each_image_by_its_own_range():
    images = torch.stack((torch.linspace(-1, 1, 12).view(1, 3, 4), torch.linspace(50, 90, 12).view(1, 3, 4)))
    grid = make_grid(images, nrow=2, normalize=True, padding=0)
    assert torch.allclose(grid[0, :, :4], grid[0, :, 4:], atol=1e-5)
    assert (grid.min(), grid.max()) == (0, 1)


def test_arrays_of_generate_image_form_a_grid():
    gray, color = [np.zeros((4, 6), np.float32)] * 3, [np.zeros((4, 6, 3), np.float32)] * 2
    assert make_grid(gray, 8).shape == (3, 8, 26)
    assert make_grid(color, 1, padding=0).shape == (3, 8, 6)


@pytest.mark.parametrize("images, expected", [([], "at least one image"), (torch.zeros(2, 1, 2, 2, 2), "an image"),
                                              ([torch.zeros(1, 2, 2), torch.zeros(1, 3, 2)], "all of one size")])
def test_invalid_grids_are_refused(images, expected):
    with pytest.raises(UsageError, match=expected):
        make_grid(images)


def test_rescale_accepts_constant_images_and_nan():
    assert rescale(torch.full((2, 2), 7.0)).eq(0).all()
    assert rescale(torch.tensor([float("nan"), 1.0, -1.0])).tolist() == [0.5, 1.0, 0.0]


def test_to_tensor_finds_the_channel_axis():
    assert to_tensor(np.zeros((4, 6, 3))).shape == (3, 4, 6)
    assert to_tensor(np.zeros((3, 4, 6))).shape == (3, 4, 6)
    assert to_tensor(torch.zeros(3, 4, 6, requires_grad=True)).shape == (3, 4, 6)
    with pytest.raises(UsageError, match=r"got shape \(5, 1, 4, 6\): pick one image of a batch"):
        to_tensor(torch.zeros(5, 1, 4, 6))


@pytest.mark.parametrize("image", [torch.linspace(-3, 9, 24).view(1, 4, 6), np.linspace(-3, 9, 24).reshape(4, 6)])
def test_show_draws_the_rescaled_image_into_the_current_axes(MU, image):
    figure, (left, right) = plt.subplots(1, 2)
    plt.sca(right)
    MU.show(image)
    assert not left.images
    pixels = np.asarray(right.images[0].get_array())
    assert pixels.shape == (4, 6, 3)
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)
