import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shiftscope.errors import UsageError
from shiftscope.placement import Placement, default_fill, texture

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6))


def naive(image: torch.Tensor, place: Placement, dy: int, dx: int) -> torch.Tensor:
    """The definition, one image, in plain slices, rolls and NumPy's padding."""
    (h, w), (H, W) = place.image, place.canvas
    if place.mode == "fill":
        values = {"constant_values": place.background} if place.fill == "constant" else {}
        padded = np.pad(image.numpy(), ((0, 0), (h - 1, h - 1), (w - 1, w - 1)), mode=place.fill, **values)
        return torch.from_numpy(padded)[:, h - 1 - dy:2 * h - 1 - dy, w - 1 - dx:2 * w - 1 - dx]
    if place.mode == "crop":
        return image[:, dy:dy + H, dx:dx + W]
    top, left = (dy, dx) if place.mode == "canvas" else ((H - h) // 2, (W - w) // 2)
    canvas = torch.full((image.shape[0], H, W), place.background, dtype=image.dtype)
    canvas[:, top:top + h, left:left + w] = image
    return canvas if place.mode == "canvas" else canvas.roll((dy, dx), dims=(1, 2))


@st.composite
def placements(draw):
    (h, w), (more_y, more_x) = draw(SIZES), draw(SIZES)
    mode = draw(st.sampled_from(["canvas", "circular", "crop", "fill"]))
    if mode == "fill":
        fill = draw(st.sampled_from([None, "constant", "edge", "reflect"]))
        return Placement(image=(h, w), canvas=(h, w), mode=mode, background=draw(st.integers(0, 255)), fill=fill,
                         step=draw(st.integers(1, 3)),
                         max_shift=draw(st.none() | st.integers(0, min(h, w) - 1)))
    small, large = (h, w), (h + more_y - 1, w + more_x - 1)
    sizes = {"image": large, "canvas": small} if mode == "crop" else {"image": small, "canvas": large}
    return Placement(mode=mode, background=draw(st.integers(0, 255)), step=draw(st.integers(1, 3)),
                     max_shift=draw(st.none() | st.integers(0, 3)), **sizes)


@given(placements(), st.integers(1, 3))
def test_place_equals_the_definition_at_every_offset(place, channels):
    offsets = place.offsets()
    assert len(offsets) == place.count >= 1
    images = torch.randint(0, 256, (len(offsets), channels, *place.image), dtype=torch.uint8)
    placed = place.place(images, offsets)
    assert placed.dtype == torch.uint8 and placed.shape == (len(offsets), channels, *place.canvas)
    for image, canvas, (dy, dx) in zip(images, placed, offsets.tolist(), strict=True):
        assert canvas.equal(naive(image, place, dy, dx))


@given(placements(), st.integers(1, 3))
def test_every_placement_is_a_window_of_the_field(place, channels):
    images = torch.randint(0, 256, (2, channels, *place.image), dtype=torch.uint8)
    fields, offsets = place.field(images), place.offsets()
    (H, W), corners = place.canvas, place.corners(offsets)
    for offset, (y, x) in zip(offsets, corners.tolist(), strict=True):
        assert min(y, x) >= 0
        assert fields[:, :, y:y + H, x:x + W].equal(place.place(images, offset.expand(2, 2)))


def test_fixed_textures_have_no_field():
    ground = texture((5, 7))
    fixed, rolled = (Placement(image=(3, 4), canvas=(5, 7), mode=mode, background=ground)
                     for mode in ("canvas", "circular"))
    assert not fixed.has_field and rolled.has_field
    with pytest.raises(UsageError, match="background must be a number in mode canvas"):
        fixed.field(torch.zeros(1, 1, 3, 4, dtype=torch.uint8))
    image = torch.full((1, 1, 3, 4), 255, dtype=torch.uint8)
    (y, x), = rolled.corners(torch.tensor([[3, 6]])).tolist()
    window = rolled.field(image)[:, :, y:y + 5, x:x + 7]
    assert window.equal(rolled.place(image, torch.tensor([[3, 6]])))


@given(placements())
def test_cut_is_the_inverse_of_place(place):
    offsets = place.offsets()
    images = torch.randint(0, 256, (len(offsets), 1, *place.image), dtype=torch.uint8)
    if place.mode in ("crop", "fill"):
        with pytest.raises(UsageError, match="mode must be canvas or circular"):
            place.cut(place.place(images, offsets), offsets)
    else:
        assert place.cut(place.place(images, offsets), offsets).equal(images)


def test_circular_shifts_compose():
    place = Placement(image=(3, 4), canvas=(5, 7), mode="circular")
    image = torch.rand(1, 1, 3, 4, dtype=torch.float64)
    there = place.place(image, torch.tensor([[2, 3]]))
    assert there.roll((4, 5), dims=(2, 3)).equal(place.place(image, torch.tensor([[(2 + 4) % 5, (3 + 5) % 7]])))


def test_the_course_setting_has_841_placements_and_the_middle_is_14():
    place = Placement(image=(28, 28), canvas=(56, 56))
    assert place.count == 841 and place.middle == (14, 14)
    assert place.offsets()[0].tolist() == [0, 0] and place.offsets()[-1].tolist() == [28, 28]
    assert place.offsets()[29].tolist() == [1, 0]  # row-major
    assert place.center_only().offsets().tolist() == [[14, 14]]


@pytest.mark.parametrize("mode, sizes, expected", [
    ("canvas", {"image": (4, 4), "canvas": (10, 10)}, [2, 3, 4]),  # middle 3, at most 1 away
    ("circular", {"image": (4, 4), "canvas": (10, 10)}, [0, 1, 9]),
    ("crop", {"image": (10, 10), "canvas": (4, 4)}, [2, 3, 4]),
    ("fill", {"image": (10, 10), "canvas": (10, 10)}, [-1, 0, 1]),
])
def test_max_shift_counts_from_the_middle(mode, sizes, expected):
    place = Placement(mode=mode, max_shift=1, **sizes)
    assert place.axes[0].tolist() == expected


def test_step_keeps_the_middle():
    place = Placement(image=(28, 28), canvas=(57, 56), step=5)
    assert place.axes[0].tolist() == [4, 9, 14, 19, 24, 29]
    assert 14 in place.axes[1].tolist()


def test_sampling_depends_on_seed_epoch_and_index_only():
    place = Placement(image=(28, 28), canvas=(56, 64))
    all_at_once = place.sample(torch.arange(1000), seed=3, epoch=2)
    assert place.sample(torch.tensor([999, 5]), seed=3, epoch=2).equal(all_at_once[[999, 5]])
    assert not place.sample(torch.arange(1000), seed=4, epoch=2).equal(all_at_once)
    assert not place.sample(torch.arange(1000), seed=3, epoch=1).equal(all_at_once)
    assert all_at_once.min(0).values.tolist() == [0, 0] and all_at_once.max(0).values.tolist() == [28, 36]


def test_every_offset_is_equally_likely():
    place = Placement(image=(2, 2), canvas=(4, 5))
    synthetic = place.sample(torch.arange(12000), seed=0)
    counts = torch.bincount(synthetic[:, 0] * 4 + synthetic[:, 1], minlength=12)
    assert ((counts - 1000).abs() < 5 * 31).all()  # std sqrt(1000)


def test_textured_background_fills_the_rest_of_the_canvas():
    ground = texture((10, 12), channels=3)
    place = Placement(image=(4, 4), canvas=(10, 12), background=ground)
    placed = place.place(torch.full((1, 3, 4, 4), 255, dtype=torch.uint8), torch.tensor([[1, 2]]))
    assert (placed[0, :, 1:5, 2:6] == 255).all()
    outside = torch.ones(10, 12, dtype=torch.bool)
    outside[1:5, 2:6] = False
    assert placed[0][:, outside].equal(ground[:, outside])
    assert ground.float().std() > 5


@pytest.mark.parametrize("arguments, message", [
    ({"image": (60, 28), "canvas": (56, 56)},
     "the image does not fit: it is 60 x 28, the canvas 56 x 56; choose a canvas of at least 60 x 28"),
    ({"image": (28, 28), "canvas": (56, 56), "mode": "crop"}, "mode crop needs an image at least as large"),
    ({"image": (28, 28), "canvas": (56, 56), "mode": "torus"}, "mode must be canvas, circular, crop or fill, got"),
    ({"image": (28, 28), "canvas": (56, 56), "mode": "fill"},
     "mode fill needs an image of the size of the canvas: the image is 28 x 28, the canvas 56 x 56"),
    ({"image": (8, 9), "canvas": (8, 9), "mode": "fill", "background": texture((8, 9))},
     "background must be a pixel value from 0 to 255 in mode fill, got 'texture'"),
    ({"image": (28, 28), "canvas": (56, 56), "background": 300}, "background must be a pixel value from 0 to 255"),
    ({"image": (28, 28), "canvas": (56, 56), "background": torch.zeros(3, 3)}, "background must be a number"),
    ({"image": (28, 28), "canvas": (56, 56), "step": 0}, "step must be an integer of at least 1, got 0"),
    ({"image": (28, 0), "canvas": (56, 56)}, "image must be two integers of at least 1"),
])
def test_invalid_placements_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Placement(**arguments)


def test_images_of_another_size_are_refused():
    place = Placement(image=(28, 28), canvas=(56, 56))
    with pytest.raises(UsageError, match=r"images must be \(batch, channel, 28, 28\).*got \(1, 1, 28, 27\)"):
        place.place(torch.zeros(1, 1, 28, 27), torch.zeros(1, 2, dtype=torch.int64))


def test_empty_batches_are_allowed():
    place = Placement(image=(28, 28), canvas=(56, 56))
    placed = place.place(torch.zeros(0, 1, 28, 28, dtype=torch.uint8), torch.zeros(0, 2, dtype=torch.int64))
    assert placed.shape == (0, 1, 56, 56)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("fill", ["constant", "edge", "reflect"])
def test_filled_images_of_any_type_equal_padded_ones_at_offsets_beyond_max_shift(fill, dtype):
    place = Placement(image=(5, 7), canvas=(5, 7), mode="fill", fill=fill, background=90, max_shift=1)
    offsets = torch.tensor([[-4, 6], [4, -6], [0, 0], [3, -1], [-2, 5]])
    images = torch.randint(0, 256, (5, 3, 5, 7), generator=torch.Generator().manual_seed(0)).to(dtype)
    placed = place.place(images, offsets)
    assert placed.dtype == dtype
    for image, canvas, (dy, dx) in zip(images, placed, offsets.tolist(), strict=True):
        assert canvas.equal(naive(image, place, dy, dx))


def test_filled_pixels_by_hand():
    row = torch.tensor([[[[1, 2, 3, 4]]]], dtype=torch.uint8)

    def placed(fill, dx):
        place = Placement(image=(1, 4), canvas=(1, 4), mode="fill", fill=fill, background=9, max_shift=0)
        return place.place(row, torch.tensor([[0, dx]])).flatten().tolist()

    assert placed("constant", 2) == [9, 9, 1, 2] and placed("constant", -1) == [2, 3, 4, 9]
    assert placed("edge", 2) == [1, 1, 1, 2] and placed("edge", -1) == [2, 3, 4, 4]
    assert placed("reflect", 2) == [3, 2, 1, 2] and placed("reflect", -1) == [2, 3, 4, 3]


def test_sampled_offsets_of_mode_fill_are_within_max_shift():
    place = Placement(image=(28, 32), canvas=(28, 32), mode="fill")
    offsets = place.sample(torch.arange(2000), seed=1)
    assert offsets.min(0).values.tolist() == [-3, -3] and offsets.max(0).values.tolist() == [3, 3]
    assert place.count == 49 and place.middle == (0, 0) and place.center_only().offsets().tolist() == [[0, 0]]
    assert place.narrowed(max_shift=9).count == 361


def test_only_large_rgb_images_are_reflected_by_default():
    shapes = [(3, 64, 64), (3, 64, 63), (1, 224, 224), (4, 224, 224), (3, 480, 640)]
    assert [default_fill(shape) for shape in shapes] == ["reflect", "constant", "constant", "constant", "reflect"]
    assert Placement(image=(64, 64), canvas=(64, 64), mode="fill").fill == "constant"
