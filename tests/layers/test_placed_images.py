import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.errors import UsageError
from shiftscope.layers import Normalize
from shiftscope.layers.placed_images import (
    can_convolve_patches,
    can_prepare_first,
    placed_conv_pool,
    prepare_and_place,
)
from shiftscope.models import TwoFullNet
from shiftscope.models.forward import placed_pixels
from shiftscope.placement import Placement


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("background", [0, 40])
@pytest.mark.parametrize("image, canvas", [((3, 5), (7, 6)), ((4, 2), (4, 9)), ((5, 5), (5, 5)), ((1, 1), (2, 3))])
def test_equals_placing_first_bit_for_bit_at_every_offset(image, canvas, background, channels):
    place = Placement(image=image, canvas=canvas, background=background)
    offsets = place.offsets()
    images = torch.randint(0, 256, (len(offsets), channels, *image), dtype=torch.uint8)
    normalize = Normalize([0.3, 0.5, 0.1][:channels], [0.6, 0.2, 0.9][:channels])
    placed = place.place(images, offsets).float() / 255
    assert prepare_and_place(images, offsets, place, torch.float32, normalize).equal(normalize(placed))
    assert placed_pixels(images, offsets, place).equal(placed)


def test_no_images_and_images_of_another_size():
    place = Placement(image=(3, 5), canvas=(7, 6))
    none = torch.zeros(0, 1, 3, 5, dtype=torch.uint8)
    assert prepare_and_place(none, torch.zeros(0, 2, dtype=torch.int64), place, torch.float32).shape == (0, 1, 7, 6)
    with pytest.raises(UsageError, match=r"images must be \(batch, channel, 3, 5\) for this placement, got \(1, 1, 5"):
        prepare_and_place(torch.zeros(1, 1, 5, 3, dtype=torch.uint8), torch.zeros(1, 2, dtype=torch.int64), place,
                          torch.float32)


def test_textures_and_other_modes_are_placed_first():
    plain = Placement(image=(3, 3), canvas=(5, 6), mode="circular")
    textured = Placement(image=(3, 3), canvas=(5, 6), background=torch.arange(30, dtype=torch.uint8).view(5, 6))
    images = torch.randint(0, 256, (4, 1, 3, 3), dtype=torch.uint8)
    model = TwoFullNet(canvas=(5, 6), classes=4)
    for place in (plain, textured):
        offsets = place.sample(torch.arange(4), seed=0)
        assert not can_prepare_first(place, images.device)
        assert model.forward_placed(images, offsets, place) is None
        assert placed_pixels(images, offsets, place).equal(place.place(images, offsets).float() / 255)


def test_forward_placed_of_the_perceptron_equals_forward():
    place = Placement(image=(3, 4), canvas=(5, 9), background=7)
    images, offsets = torch.randint(0, 256, (12, 1, 3, 4), dtype=torch.uint8), place.offsets()[:12]
    model = TwoFullNet(canvas=(5, 9), classes=4)
    found = model.forward_placed(images, offsets, place)
    assert found is not None and found.equal(model(place.place(images, offsets).float() / 255))
    assert model.forward_placed(images.expand(12, 3, 3, 4), offsets, place) is None


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 7), st.integers(1, 7)), st.tuples(st.integers(0, 8), st.integers(0, 8)),
       st.tuples(st.integers(1, 4), st.integers(1, 4)), st.integers(1, 3), st.integers(1, 2), st.integers(0, 255))
def test_equals_the_whole_canvas_at_every_offset(image, room, kernel, pool, channels, background):
    canvas = (max(image[0] + room[0], kernel[0] + pool), max(image[1] + room[1], kernel[1] + pool))
    place = Placement(image=image, canvas=canvas, background=background)
    conv, normalize = nn.Conv2d(channels, 3, kernel).double(), Normalize(0.3, 0.6).double()
    offsets = place.offsets()
    images = torch.randint(0, 256, (len(offsets), channels, *image), dtype=torch.uint8)
    expected = F.relu(F.max_pool2d(conv(normalize(place.place(images, offsets).double() / 255)), pool))
    found = placed_conv_pool(conv, pool, normalize, images, offsets, place)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    upstream = torch.randn_like(expected)
    parameters = list(conv.parameters())
    for mine, theirs in zip(torch.autograd.grad(found, parameters, upstream),
                            torch.autograd.grad(expected, parameters, upstream), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("conv, mode, ok", [
    (nn.Conv2d(1, 2, 3), "canvas", True), (nn.Conv2d(1, 2, 3), "circular", False),
    (nn.Conv2d(1, 2, 3, padding=1), "canvas", False), (nn.Conv2d(1, 2, 3, stride=2), "canvas", False),
    (nn.Conv2d(1, 2, 3, dilation=2), "canvas", False),
])
def test_patches_are_used_only_if_exact(conv, mode, ok):
    assert can_convolve_patches(conv, Placement(image=(4, 4), canvas=(9, 9), mode=mode)) is ok
