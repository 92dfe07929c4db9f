import pytest
import torch
from torch import nn

from shiftscope.evaluation.brute import BruteForceEngine
from shiftscope.evaluation.fast_paths import FieldWindows
from shiftscope.placement import Placement, texture

PLACES = {
    "canvas": Placement(image=(4, 6), canvas=(9, 14), background=90),
    "circular": Placement(image=(4, 6), canvas=(7, 8), mode="circular", background=90),
    "circular texture": Placement(image=(4, 6), canvas=(7, 8), mode="circular", background=texture((7, 8))),
    "crop": Placement(image=(12, 17), canvas=(9, 14), mode="crop"),
    "max_shift": Placement(image=(4, 6), canvas=(9, 15), max_shift=1),
    "circular max_shift": Placement(image=(4, 6), canvas=(7, 8), mode="circular", max_shift=1),
    "step": Placement(image=(4, 6), canvas=(9, 14), step=3),
    "fill": Placement(image=(9, 14), canvas=(9, 14), mode="fill", background=90, max_shift=3),
    "edge": Placement(image=(9, 14), canvas=(9, 14), mode="fill", fill="edge", max_shift=8, step=4),
    "reflect": Placement(image=(9, 14), canvas=(9, 14), mode="fill", fill="reflect", max_shift=2),
    "one": Placement(image=(4, 6), canvas=(4, 6)),
}


def noise(place, count=3, channels=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, *place.image), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", PLACES)
def test_windows_are_bit_identical_to_placements(name, channels_last, channels):
    place = PLACES[name]
    images, offsets = noise(place, channels=channels), place.offsets()
    windows = FieldWindows(place, offsets, channels_last=channels_last)
    strips = windows.strips(images, torch.float64)
    assert strips[0].numel() == windows.numel(channels)
    pairs = torch.cartesian_prod(torch.arange(3), torch.arange(len(offsets)))
    pairs = pairs[torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1))]
    found = windows.read(strips, pairs[:, 0], pairs[:, 1])
    expected = place.place(images[pairs[:, 0]], offsets[pairs[:, 1]]).double() / 255
    assert found.shape == expected.shape and found.equal(expected)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert found.is_contiguous(memory_format=layout)


def test_some_offsets_in_any_order():
    place = PLACES["canvas"]
    offsets = torch.tensor([[5, 8], [0, 3], [2, 3], [5, 8]])
    windows = FieldWindows(place, offsets)
    assert windows.columns.tolist() == [0, 5] and windows.rows == (0, 14)
    found = windows.read(windows.strips(noise(place)), torch.tensor([1, 1, 1, 1]), torch.arange(4))
    assert (found * 255).round().to(torch.uint8).equal(place.place(noise(place)[[1] * 4], offsets))


def test_canvases_may_be_overwritten():
    place = PLACES["one"]
    windows = FieldWindows(place, place.offsets())
    strips = windows.strips(noise(place))
    nothing = torch.tensor([0])
    before = windows.read(strips, nothing, nothing).clone()
    windows.read(strips, nothing, nothing).zero_()
    assert windows.read(strips, nothing, nothing).equal(before)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PLACES)
def test_brute_force_with_windows_equals_brute_force_without(name, channels):
    place = PLACES[name]
    model = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3))
    model(torch.zeros(1, channels, *place.canvas))
    images = noise(place, channels=channels)
    engine = BruteForceEngine(model.double(), place, images.shape[1:])
    plain = BruteForceEngine(model, place, images.shape[1:], short_cuts=False)
    engine.chunk = 7  # chunks that begin and end within an image
    assert engine.windows is not None and plain.windows is None
    torch.testing.assert_close(engine.logits(images), plain.logits(images))


def test_no_windows_if_they_are_impossible_or_too_large():
    model = nn.Sequential(nn.Flatten(), nn.Linear(9 * 14, 2))
    place = PLACES["canvas"]
    fixed = Placement(image=(4, 6), canvas=(9, 14), background=texture((9, 14)))
    assert BruteForceEngine(model, fixed, (1, 4, 6)).windows is None
    taken = 4 * 4 * FieldWindows(place, place.offsets()).numel(1)  # a quarter of the memory, float32
    assert BruteForceEngine(model, place, (1, 4, 6), memory=taken).windows is not None
    assert BruteForceEngine(model, place, (1, 4, 6), memory=taken - 1).windows is None
    assert BruteForceEngine(model, place, (1, 4, 6), memory=3 * taken).images_per_call == 3
