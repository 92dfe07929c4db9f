import numpy as np
import pytest

from shiftscope.data.garments.painting import box, ellipse, points, polygon, rounded, stroke


def one(value):
    return np.array([value], dtype=np.float32)


def square(left, right, top, bottom):
    return points((one(left), one(top)), (one(right), one(top)), (one(right), one(bottom)), (one(left), one(bottom)))


def test_polygon_covers_full_and_half_pixels():
    mask = polygon(square(3, 6.5, 10, 12))[0]
    assert np.allclose(mask[10, 2:8], [0, 1, 1, 1, 0.5, 0])
    assert mask.sum() == pytest.approx(3.5 * 2)


def test_polygon_area_is_correct_for_a_concave_outline_in_both_directions():
    corners = [(2, 2), (20, 2), (20, 20), (11, 8), (2, 20)]  # a notch from below
    outline = points(*((one(x), one(y)) for x, y in corners))
    area = 18 * 18 - 18 * 12 / 2
    assert polygon(outline).sum() == pytest.approx(area, rel=0.01)
    assert np.allclose(polygon(outline), polygon(outline[:, ::-1]), atol=1e-5)
    assert polygon(outline)[0, 18, 11] == 0


def test_polygon_is_clipped_to_the_image():
    assert polygon(square(-5, 40, -3, 50)).min() == 1
    assert polygon(square(-5, -1, 0, 28)).max() == 0


def test_rounding_cuts_corners_only():
    full, soft = polygon(square(4, 24, 4, 24))[0], polygon(rounded(square(4, 24, 4, 24)))[0]
    assert soft[4, 4] == 0 and soft[14, 14] == 1 and soft[14, 4] == full[14, 4] == 1


def test_box_and_ellipse_cover_their_area():
    assert box(one(1.25), one(4), one(2), one(3.5)).sum() == pytest.approx(2.75 * 1.5)
    assert ellipse(one(14), one(14), one(6), one(6)).sum() == pytest.approx(np.pi * 36, rel=0.02)


def test_stroke_has_its_width_and_none_of_width_zero():
    path = points((one(4), one(10.5)), (one(24), one(10.5)))
    assert stroke(path, one(3))[0, :, 14].sum() == pytest.approx(3)
    assert stroke(path, one(0)).max() == 0


def test_a_batch_is_drawn_as_each_shape_alone():
    outlines = np.concatenate([square(3, 9, 2, 8), square(10, 27.5, 1, 26)])
    assert np.array_equal(polygon(outlines)[1:], polygon(outlines[1:]))
