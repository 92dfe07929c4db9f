import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftscope.errors import UsageError
from shiftscope.layers import Recenter
from shiftscope.layers.recenter import heaviest_corners, occupied_arcs
from shiftscope.placement import Placement


def windows(layer, place, images):
    """All windows (P, B, C, h, w)."""
    return torch.stack([layer(place.place(images, offset.expand(len(images), 2)).double() / 255)
                        for offset in place.offsets()])


@settings(max_examples=60, deadline=None)
@given(st.tuples(st.integers(1, 4), st.integers(1, 5)), st.tuples(st.integers(0, 4), st.integers(0, 4)),
       st.sampled_from(["canvas", "circular"]), st.booleans(), st.sampled_from([2, 256]), st.sampled_from([0, 1, 100]),
       st.integers(1, 2), st.integers(0, 2**31))
def test_equal_tensors_at_all_placements(image, room, mode, robust, levels, background, channels, seed):
    place = Placement(image=image, canvas=(image[0] + room[0], image[1] + room[1]), mode=mode, background=background)
    images = torch.randint(0, levels, (3, channels, *image), generator=torch.Generator().manual_seed(seed),
                           dtype=torch.uint8)
    found = windows(Recenter(background=background / 255, robust=robust), place, images)
    assert all(window.equal(found[0]) for window in found)
    small = windows(Recenter(image, background=background / 255, robust=robust), place, images)
    assert all(window.equal(small[0]) for window in small)


@pytest.mark.parametrize("robust", [False, True])
def test_the_whole_image_is_in_the_window(robust):
    images = torch.randint(1, 256, (2, 3, 4, 5), dtype=torch.uint8)
    place = Placement(image=(4, 5), canvas=(9, 11))
    found = windows(Recenter((4, 5), robust=robust), place, images)
    assert found[0].equal(images.double() / 255) and (found[0, 0] - found[0, 1]).abs().max() > 0.1


@pytest.mark.parametrize("robust", [False, True])
def test_an_empty_canvas_stays_empty(robust):
    empty = torch.full((2, 3, 5, 6), 0.5)
    assert Recenter(background=0.5, robust=robust)(empty).equal(empty)
    assert Recenter((2, 3), background=0.5, robust=robust)(empty).equal(empty[..., :2, :3])


def test_the_box_is_centered_also_if_it_wraps_around():
    canvas = torch.zeros(1, 1, 6, 7)
    canvas[..., [5, 0], :] = torch.tensor([0, 0, 0, 0, 1.0, 2.0, 3.0])
    expected = torch.zeros(4, 5)
    expected[1:3, 1:4] = torch.tensor([1.0, 2.0, 3.0])
    assert Recenter((4, 5))(canvas)[0, 0].equal(expected)


def test_ties_between_gaps_commute_with_shifts():
    canvas = torch.zeros(1, 1, 1, 8)
    canvas[..., 0], canvas[..., 4] = 1.0, 0.5  # two gaps of three
    shown = [Recenter()(canvas.roll(dx, 3)) for dx in range(8)]
    assert all(window.equal(shown[0]) for window in shown)
    rows, length = occupied_arcs(canvas[0, 0] != 0)
    assert rows.nonzero()[:, 1].tolist() == [0, 4] and length.tolist() == [5]


def test_a_shifted_canvas_of_noise_is_recentered():
    noise = torch.randint(0, 256, (2, 2, 4, 6)) / 255
    for robust in (False, True):
        layer = Recenter(robust=robust)
        assert all(layer(noise.roll((dy, dx), (2, 3))).equal(layer(noise)) for dy in range(4) for dx in range(6))


def test_one_noisy_pixel_moves_the_box_but_not_the_heaviest_window():
    canvas = torch.zeros(1, 1, 12, 14)
    canvas[..., 2:6, 3:8] = 0.9
    noisy = canvas.clone()
    noisy[..., 10, 11] = 0.1
    box, robust = Recenter((4, 5)), Recenter((4, 5), robust=True)
    assert not box(noisy).equal(box(canvas)) and robust(noisy).equal(robust(canvas))


def test_heaviest_corners_equal_a_search_over_all_windows():
    pixels, size = torch.randint(0, 256, (3, 2, 5, 7)) / 255, (2, 3)
    for picture, corner in zip(pixels, heaviest_corners(pixels, size, 0.2), strict=True):
        weights = {(y, x): float((picture.roll((-y, -x), (1, 2))[:, :2, :3] - 0.2).abs().sum())
                   for y in range(5) for x in range(7)}
        assert tuple(corner.tolist()) == max(weights, key=lambda place: weights[place])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("robust", [False, True])
def test_every_background_is_recognized_in_every_dtype(dtype, robust):
    levels = torch.arange(256, dtype=torch.uint8)
    pixels = levels.to(dtype).div_(255)
    for level in range(256):
        canvas = pixels[level].expand(1, 1, 3, 4).clone()
        assert Recenter((2, 2), background=level / 255, robust=robust)(canvas).eq(pixels[level]).all()
        canvas[..., 2, 3] = pixels[255 - level]
        shown = Recenter((1, 1), background=level / 255, robust=robust)(canvas)
        assert shown.item() == pixels[255 - level].item() and shown.dtype == dtype


def test_gradients_flow_to_the_pixels_in_the_window():
    canvas = torch.zeros(1, 1, 4, 5, dtype=torch.float64)
    canvas[..., 1:3, 2:4] = torch.rand(2, 2)
    canvas.requires_grad_()
    Recenter((2, 2))(canvas).sum().backward()
    assert canvas.grad is not None and canvas.grad.sum().item() == 4 and canvas.grad[..., 1:3, 2:4].eq(1).all()


@pytest.mark.parametrize("robust", [False, True])
def test_one_node_when_exported_with_the_same_result(robust):
    layer, x = Recenter((3, 4), robust=robust), torch.rand(2, 1, 6, 7)
    program = torch.export.export(layer, (torch.zeros_like(x),), strict=False)
    assert sum("recenter" in str(node.target) for node in program.graph.nodes) == 1
    assert program.module()(x).equal(layer(x))


def test_empty_batch():
    assert Recenter((2, 3))(torch.zeros(0, 1, 4, 5)).shape == (0, 1, 2, 3)


@pytest.mark.parametrize("call, message", [
    (lambda: Recenter((0, 3)), r"size must be two positive integers, got \(0, 3\)"),
    (lambda: Recenter(background=1.5), r"background must be a pixel value in \[0, 1\], got 1.5"),
    (lambda: Recenter((5, 3))(torch.zeros(1, 1, 4, 6)), "a window of 5 x 3 does not fit on a canvas of 4 x 6"),
])
def test_bad_input(call, message):
    with pytest.raises(UsageError, match=message):
        call()
