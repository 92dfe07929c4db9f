"""Offsets, middle and signed shifts against definitions written out by hand."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from shiftscope.errors import CheckpointError, UsageError
from shiftscope.geometry import Geometry
from shiftscope.results.validation import wrong_placement

SIZES = [((3, 4), (7, 5)), ((28, 28), (56, 56)), ((5, 2), (5, 9)), ((1, 1), (1, 1))]


@pytest.mark.parametrize("image, canvas", SIZES)
def test_canvas_offsets_keep_the_image_on_the_canvas(image, canvas):
    geometry = Geometry(image=image, canvas=canvas)
    (h, w), (H, W) = image, canvas
    expected = [[dy, dx] for dy in range(H) for dx in range(W) if dy + h <= H and dx + w <= W]
    assert geometry.offsets.tolist() == expected and geometry.count == len(expected)
    assert geometry.middle == ((H - h) // 2, (W - w) // 2)


def test_crop_offsets_keep_the_window_inside_the_image():
    geometry = Geometry(image=(6, 9), canvas=(4, 4), mode="crop")
    assert geometry.offsets.tolist() == [[dy, dx] for dy in range(3) for dx in range(6)]
    assert geometry.middle == (1, 2)


@pytest.mark.parametrize("size", [4, 5])
def test_circular_shifts_take_the_shorter_way(size):
    geometry = Geometry(image=(1, 1), canvas=(size, size), mode="circular", max_shift=1)
    assert geometry.axes[0].tolist() == [0, 1, size - 1] and geometry.middle == (0, 0)
    assert sorted(geometry.signed(geometry.axes[0], 0).tolist()) == [-1, 0, 1]


def test_fill_offsets_are_signed_and_restricted_by_an_eighth_of_the_smaller_side():
    geometry = Geometry(image=(16, 40), canvas=(16, 40), mode="fill", step=2)
    assert geometry.offsets.tolist() == [[dy, dx] for dy in (-2, 0, 2) for dx in (-2, 0, 2)]
    assert geometry.middle == geometry.start == (0, 0) and geometry.max_shift == 2 and geometry.fill == "constant"
    assert geometry.ranges == (range(-15, 16), range(-39, 40)) and geometry.limits == (31, 79)
    assert geometry.signed(geometry.axes[0], 0).tolist() == [-2, 0, 2] == geometry.shifts(geometry.axes[0], 0).tolist()
    assert Geometry(image=(5, 9), canvas=(5, 9), mode="fill").max_shift == 1
    assert Geometry(image=(1, 9), canvas=(1, 9), mode="fill").offsets.tolist() == [[0, 0]]


def test_fill_counts_max_shift_from_the_reference():
    geometry = Geometry(image=(9, 9), canvas=(9, 9), mode="fill", max_shift=1, reference=(-3, 2))
    assert [axis.tolist() for axis in geometry.axes] == [[-4, -3, -2], [1, 2, 3]]


def test_listed_offsets_of_mode_fill_need_no_max_shift():
    listed = ((0, 0), (-8, 3), (7, -8))
    geometry = Geometry(image=(9, 9), canvas=(9, 9), mode="fill", offset_list=listed)
    assert geometry.max_shift is None and geometry.offsets.tolist() == [list(offset) for offset in listed]
    assert geometry.unrestricted().max_shift == 8


@pytest.mark.parametrize("sizes, max_shift, expected", [
    (((2, 2), (9, 9), "canvas"), 1, 64), (((9, 9), (9, 9), "fill"), 4, 81), (((9, 9), (9, 9), "fill"), 0, 9)])
def test_unrestricted_geometries_have_all_offsets(sizes, max_shift, expected):
    image, canvas, mode = sizes
    geometry = Geometry(image=image, canvas=canvas, mode=mode, max_shift=max_shift, step=2)
    assert geometry.unrestricted().count == expected


def test_step_and_max_shift_count_from_the_middle():
    geometry = Geometry(image=(2, 2), canvas=(9, 9), step=2, max_shift=2)
    assert geometry.middle == (3, 3) and geometry.axes[0].tolist() == [1, 3, 5]


def test_listed_offsets_keep_their_order_and_a_reference_is_the_middle():
    listed = ((4, 1), (0, 0), (2, 2))
    geometry = Geometry(image=(3, 3), canvas=(7, 7), offset_list=listed, reference=(0, 0))
    assert geometry.offsets.tolist() == [list(offset) for offset in listed] and geometry.count == 3
    assert geometry.middle == (0, 0) and not geometry.is_grid and geometry.column(geometry.offsets) == 1
    grid = tuple(itertools.product((1, 2), (2, 3)))
    assert Geometry(image=(3, 3), canvas=(7, 7), offset_list=grid, reference=(1, 2)).is_grid
    assert Geometry(image=(3, 3), canvas=(7, 7)).column(np.array([[0, 0]])) is None


@pytest.mark.parametrize("given", [
    {}, {"mode": "circular", "step": 3}, {"max_shift": 2, "background": "texture"}, {"background": 7, "step": 2},
    {"offset_list": ((2, 1), (0, 0)), "reference": (2, 1)}, {"mode": "fill", "canvas": (3, 4)},
    {"mode": "fill", "canvas": (3, 4), "fill": "reflect", "offset_list": ((-2, 3), (0, 0))}])
def test_dictionaries_keep_all_fields(given):
    geometry = Geometry(**{"image": (3, 4), "canvas": (7, 6)} | given)
    assert ("fill" in geometry.to_dict()) == (geometry.mode == "fill")  # other modes: as in earlier files
    assert wrong_placement(geometry.to_dict()) == []
    assert Geometry.from_dict(json.loads(json.dumps(geometry.to_dict()))) == geometry


def test_dictionaries_of_version_0_1_load():
    written = {"image": [28, 28], "canvas": [56, 56], "mode": "canvas", "background": 0, "max_shift": None, "step": 1,
               "placements": 841}
    assert Geometry.from_dict(written) == Geometry(image=(28, 28), canvas=(56, 56))


@pytest.mark.parametrize("changed, message", [
    ({"image": [28]}, "not valid"), ({"canvas": None}, "not valid"), ({"mode": "around"}, "mode must be canvas"),
    ({"step": 0}, "step must be"), ({"image": [28.5, 28]}, "image must be"),
    ({"offset_list": [[99, 0]]}, "offset must"),
    ({"fill": "edge"}, "fill must be None in mode canvas"), ({"mode": "fill"}, "mode fill needs an image"),
    ({"mode": "fill", "canvas": [28, 28], "fill": "mirror"}, "fill must be constant, edge or reflect"),
    ({"mode": "fill", "canvas": [28, 28], "max_shift": 28}, "max_shift must be at most 27"),
    ({"canvas": [10, 10]}, "does not fit"), ({"background": "x"}, "background must be")])
def test_damaged_dictionaries_are_refused(changed, message):
    values = Geometry(image=(28, 28), canvas=(56, 56)).to_dict() | changed
    with pytest.raises(CheckpointError, match=message):
        Geometry.from_dict(values)
    del values["image"]
    with pytest.raises(CheckpointError, match="'image' is missing"):
        Geometry.from_dict(values)


@pytest.mark.parametrize("given, message", [
    ({"offset_list": ((0, 0), (0, 0), (2, 1))}, "distinct offsets"), ({"offset_list": ((0, 0),)}, r"include \(2, 1\)"),
    ({"reference": (5, 0)}, r"from \(0, 0\) to \(4, 2\)"), ({"reference": (0, -1)}, "offset must be"),
    ({"mode": "fill", "canvas": (3, 4), "max_shift": 3},
     "max_shift must be at most 2 in mode fill, less than the height and width of the images, got 3"),
    ({"mode": "fill", "canvas": (3, 4), "fill": "reflect", "max_shift": 99}, "max_shift must be at most 2"),
    ({"mode": "fill", "canvas": (3, 4), "max_shift": -1}, "max_shift must be an integer of at least 0, got -1"),
    ({"mode": "fill", "canvas": (3, 4), "fill": "wrap"}, "fill must be constant, edge or reflect, got 'wrap'"),
    ({"mode": "fill", "canvas": (3, 4), "background": "texture"}, "background must be a pixel value from 0 to 255"),
    ({"mode": "fill", "canvas": (3, 4), "offset_list": ((0, 0), (-3, 0))}, r"from \(-2, -3\) to \(2, 3\)"),
    ({"mode": "fill", "canvas": (4, 3)}, "mode fill needs an image of the size of the canvas"),
    ({"mode": "circular", "fill": "reflect"}, "fill must be None in mode circular"),
    ({"fill": "constant"}, "fill must be None in mode canvas, because only mode fill .* fills pixels, got 'constant'")])
def test_impossible_offsets_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        Geometry(**{"image": (3, 4), "canvas": (7, 6)} | given)


def test_geometry_does_not_import_torch():
    code = "import sys, shiftscope.geometry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
