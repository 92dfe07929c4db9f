import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shiftscope.layers import Normalize
from shiftscope.layers.placed_images import can_convolve_patches, placed_conv_pool
from shiftscope.placement import Placement


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
