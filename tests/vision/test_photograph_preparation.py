"""The middle window of a prepared photograph is the pixels of torchvision's Resize and CenterCrop."""

import numpy as np
import pytest
from PIL import Image

from shiftscope.data.resizing import Target
from shiftscope.preparation import Preparation

SIZES = ((300, 431), (431, 300), (256, 256), (257, 256), (151, 620), (901, 322), (90, 77))


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("side", "crop"), [(256, 224), (232, 224), (235, 224), (224, 224)])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_equal_those_of_torchvision(size, side, crop, method):
    from torchvision import transforms

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    how = Preparation(resize="shorter", shorter_side=side, crop=(crop, crop), interpolation=method)
    target = Target.sized(how, how.image_size((crop, crop), "crop"))
    top, left = ((length - crop) // 2 for length in target.size)
    window = target.fit(image)[:, top:top + crop, left:left + crop]
    resize = transforms.Resize(side, interpolation=getattr(transforms.InterpolationMode, method.upper()))
    np.testing.assert_array_equal(window, np.asarray(transforms.CenterCrop(crop)(resize(image))).transpose(2, 0, 1))


def test_pixels_without_antialias_equal_those_of_a_tensor(size=(301, 430)):
    import torch
    from torchvision import transforms

    image = np.random.default_rng(0).integers(0, 256, (3, *size), dtype=np.uint8)
    for method in ("bilinear", "bicubic"):
        target = Target(size=(64, 64), resize="shorter", interpolation=method, antialias=False)
        how = getattr(transforms.InterpolationMode, method.upper())
        resize = transforms.Resize(64, interpolation=how, antialias=False)
        expected = transforms.CenterCrop(64)(resize(torch.from_numpy(image)))
        assert (torch.from_numpy(target.fit(image)).int() - expected.int()).abs().max() <= 1
