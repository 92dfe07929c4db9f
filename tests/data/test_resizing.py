from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shiftscope.data.resizing import Target, differ_much, usual_size
from shiftscope.errors import UsageError

SIDES = st.integers(1, 40)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(9, 14), (14, 9), (7, 7), (56, 20), (21, 49)])
@pytest.mark.parametrize("background", [0, 200])
def test_padding_is_that_of_pillow(channels, size, background):
    pixels = np.random.default_rng(sum(size)).integers(0, 256, (channels, *size), dtype=np.uint8)
    image = Image.fromarray(pixels[0] if channels == 1 else pixels.transpose(1, 2, 0))
    color = background if channels == 1 else (background,) * 3
    reference = np.asarray(ImageOps.contain(image, (21, 14), method=Image.Resampling.BILINEAR))
    reference = reference[None] if channels == 1 else reference.transpose(2, 0, 1)
    fitted = Target(size=(14, 21), background=background).fit(pixels)
    assert fitted.shape == (channels, 14, 21) and fitted.dtype == np.uint8
    height, width = reference.shape[1:]
    top, left = (14 - height) // 2, (21 - width) // 2
    np.testing.assert_array_equal(fitted[:, top:top + height, left:left + width], reference)
    outside = np.ones((14, 21), dtype=bool)
    outside[top:top + height, left:left + width] = False
    assert (fitted[:, outside] == background).all() and color is not None


@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_a_scaled_image_fits_touches_one_side_and_keeps_its_ratio(size, whole):
    height, width = Target(size=whole).scaled(size)
    assert 1 <= height <= whole[0] and 1 <= width <= whole[1]
    assert height == whole[0] or width == whole[1]
    factor = min(whole[0] / size[0], whole[1] / size[1])
    assert abs(height - max(1, size[0] * factor)) <= 0.5 and abs(width - max(1, size[1] * factor)) <= 0.5
    assert Target(size=whole, resize="stretch").scaled(size) == whole


@given(st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=12))
def test_the_usual_size_is_that_of_an_image_and_of_the_majority(sizes):
    found = usual_size(sizes)
    assert found in sizes and found == usual_size(sizes[::-1])
    common, count = Counter(sizes).most_common(1)[0]
    if 2 * count > len(sizes):
        assert found == common


def test_of_two_equally_common_sizes_the_smaller_one_is_usual():
    assert usual_size([(10, 10), (4, 6), (10, 10), (4, 6)]) == (4, 6)


def test_thirty_six_squares_outweigh_one_wide_image():
    squares = [(side, side) for side in range(60, 96)]
    height, width = usual_size([*squares, (77, 154)])
    assert height == width and 70 < height < 85
    assert differ_much([*squares, (77, 154)], (height, width)) and not differ_much(squares, (height, width))


@pytest.mark.parametrize("values, message", [
    ({"size": (0, 4)}, "image_size must be two integers of at least 1"),
    ({"size": (2**13, 2**13)}, "image_size must be at most 16,777,216 pixels in total"),
    ({"size": (4, 4), "resize": "fit"}, "resize must be pad, stretch or shorter, got 'fit'")])
def test_invalid_targets(values, message):
    with pytest.raises(UsageError, match=message):
        Target(**values)
