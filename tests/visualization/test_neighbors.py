import numpy as np
import pytest
import torch
from torch import nn

from shiftscope.data import Dataset
from shiftscope.data.base import TensorImages
from shiftscope.errors import ShiftscopeError, UsageError
from shiftscope.models import TwoConvTwoFullNet
from shiftscope.models.forward import to_pixels
from shiftscope.placement import Placement
from shiftscope.results import Neighbors
from shiftscope.visualization import neighbors as neighbors_module
from shiftscope.visualization import objective
from shiftscope.visualization.neighbors import coarser, find_neighbors

PLACE = Placement(image=(2, 3), canvas=(5, 7))


def dataset(images: torch.Tensor, classes: int = 2) -> Dataset:
    labels = torch.arange(len(images)) % classes
    part = TensorImages(images, labels)
    return Dataset(name="dots", class_names=tuple("abcd"[:classes]), train=part, test=part, source="-", license="-")


def random_images(count: int, channels: int = 1, size: tuple[int, int] = (2, 3)) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(1, 256, (count, channels, *size), generator=draw, dtype=torch.uint8)


class Planted(nn.Module):
    """A neuron for the pixel (3, 1), one that decreases with brightness, and a dead one."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(35, 3)
        with torch.no_grad():
            self.fc.weight.zero_()
            self.fc.weight[0, 3 * 7 + 1] = 2.0
            self.fc.weight[1] = -1.0
            self.fc.bias.copy_(torch.tensor([0.0, 40.0, -1.0]))
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.fc(x.flatten(1)).relu())


def test_pixel_detector_finds_the_brightest_pixel():
    images = torch.zeros(4, 1, 2, 3, dtype=torch.uint8)
    for number, (row, column, gray) in enumerate([(0, 0, 100), (1, 2, 250), (0, 1, 200), (1, 0, 50)]):
        images[number, 0, row, column] = gray
    seen, dark = find_neighbors(Planted(), ["fc:0", "fc:1-2"], dataset(images), placement=PLACE, k=3)
    # image 1 has its pixel at (1, 2), which would need the offset (2, -1) to be at (3, 1)
    assert seen.top_index.tolist() == [[2, 0, 3]]
    assert seen.top_offset.tolist() == [[[3, 0], [3, 1], [2, 1]]]
    np.testing.assert_allclose(seen.top_activation, [[400 / 255, 200 / 255, 100 / 255]], rtol=1e-6)
    assert (seen.top_canvases[0, :, 0, 3, 1] == [200, 100, 50]).all()
    assert seen.top_labels.tolist() == [[0, 0, 1]]
    assert seen.placements == seen.possible == 20 and seen.images == 4 and seen.counts.sum() == 80
    assert seen.mean[0] == pytest.approx((200 + 100 + 400) / 255 / 80)
    assert dark.top_index[0].tolist() == [3, 0, 2] and dark.units == ["fc:1", "fc:2"]
    assert (dark.peaks <= 0).tolist() == [False, False, True]
    assert dark.fields.tolist() == [[0, 0, 5, 7]] * 2


@pytest.mark.parametrize("goals", [["class:all", "fc1:3-8"], ["conv2:0-3", "conv1:all"],
                                   ["conv2:2@1,0", "conv2+relu:4"]])
def test_neighbors_match_single_forward_passes(goals):
    placement = Placement(image=(12, 14), canvas=(18, 21))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TwoConvTwoFullNet(canvas=(18, 21), channels=3, classes=2).double()
    images = random_images(6, 3, (12, 14))
    result = find_neighbors(model, goals, dataset(images), placement=placement, k=2)
    outputs: dict = {}
    for name in ("conv1", "conv2", "fc1", "fc2"):
        getattr(model, name).register_forward_hook(lambda _m, _i, out, name=name: outputs.__setitem__(name, out))
    expected: list[list] = [[], []]
    with torch.no_grad():
        for image in images:
            for offset in placement.offsets():
                model.eval()(to_pixels(placement.place(image[None], offset[None]), torch.float64))
                for part, goal in zip(expected, goals, strict=True):
                    part.append(_read(goal, outputs))
    for record, part in zip(result, expected, strict=True):
        values = torch.stack(part).view(6, placement.count, -1)
        best = values.amax(1)  # (N, U)
        top = best.topk(2, dim=0)
        np.testing.assert_array_equal(record.top_index, top.indices.T)
        np.testing.assert_allclose(record.top_activation, top.values.T, rtol=1e-5)
        offsets = placement.offsets()[values.argmax(1)]  # (N, U, 2)
        assert record.top_offset[1 % len(record.units), 0].tolist() == offsets[
            top.indices[0, 1 % len(record.units)], 1 % len(record.units)].tolist()
        np.testing.assert_allclose(record.maximum, best.amax(0), rtol=1e-5)
        np.testing.assert_allclose(record.mean, values.mean((0, 1)), rtol=1e-4, atol=1e-6)


@pytest.fixture
def together(monkeypatch):
    """Make the dense engine the faster one for any number of images; the list receives the images of its calls."""
    calls, timed, call = [], neighbors_module._timed, neighbors_module._Together.__call__
    monkeypatch.setattr(neighbors_module, "WORTH", 0.0)
    monkeypatch.setattr(neighbors_module, "_timed", lambda passes, images: (
        timed(passes, images)[0], 2.0 if isinstance(passes, neighbors_module._ByModel) else 1.0))
    monkeypatch.setattr(neighbors_module._Together, "__call__",
                        lambda self, images: calls.append(len(images)) or call(self, images))
    return calls


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(6 * 9 * 10, 12), nn.Linear(12, 2)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        return self.fc2(self.fc1(self.conv2(x).relu().flatten(1)).relu())


@pytest.mark.parametrize("goals", [["class:all", "fc1:3-8"], ["conv2:0-3", "conv1:all"], ["conv2:2@1,0", "conv2:*"]])
@pytest.mark.parametrize("net", [lambda: TwoConvTwoFullNet(canvas=(18, 21), channels=3, classes=2), Padded])
def test_the_dense_engine_finds_the_same(together, monkeypatch, net, goals):
    placement, data = Placement(image=(12, 14), canvas=(18, 21)), dataset(random_images(6, 3, (12, 14)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = net().double()
    found = find_neighbors(model, goals, data, placement=placement, k=2)
    assert sum(together) >= 6
    monkeypatch.setattr(neighbors_module, "WORTH", 1e9)
    for record, plain in zip(found, find_neighbors(model, goals, data, placement=placement, k=2), strict=True):
        for name in ("top_index", "top_offset", "top_canvases", "fields"):
            np.testing.assert_array_equal(getattr(record, name), getattr(plain, name))
        for name in ("top_activation", "mean", "maximum", "peaks"):
            np.testing.assert_allclose(getattr(record, name), getattr(plain, name), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(record.counts.sum(1), plain.counts.sum(1))


def test_an_engine_that_differs_from_the_model_is_not_used(together, monkeypatch):
    data = dataset(random_images(6))
    monkeypatch.setattr(neighbors_module._AllValues, "forward", lambda self, pixels: torch.cat(
        [self.model.fc(pixels.flatten(1) + 0.01)] * 2, 1))
    found = find_neighbors(Planted(), ["fc:all"], data, placement=PLACE)[0]
    assert together  # it was tried
    monkeypatch.setattr(neighbors_module, "WORTH", 1e9)
    plain = find_neighbors(Planted(), ["fc:all"], data, placement=PLACE)[0]
    np.testing.assert_array_equal(found.top_activation, plain.top_activation)


def _read(goal: str, outputs: dict) -> torch.Tensor:
    match goal:
        case "class:all":
            return outputs["fc2"][0]
        case "fc1:3-8":
            return outputs["fc1"][0, 3:9]
        case "conv2:0-3":
            return outputs["conv2"][0, :4].mean((1, 2))
        case "conv1:all":
            return outputs["conv1"][0].mean((1, 2))
        case "conv2:2@1,0":
            return outputs["conv2"][0, 2:3, 1, 0]
    return outputs["conv2"][0, 4:5].relu().mean((1, 2))


def test_neighbors_of_sums_and_whole_layers():
    images = random_images(5)
    whole, both = find_neighbors(Planted(), ["fc:*", objective("fc:1") - objective("fc:0")], dataset(images), k=1,
                             placement=PLACE)
    canvases = to_pixels(PLACE.place(images.repeat_interleave(20, 0), PLACE.offsets().repeat(5, 1)))
    with torch.no_grad():
        outputs = Planted().fc(canvases.flatten(1))
    assert whole.maximum[0] == pytest.approx(float(outputs.square().mean(1).max()), rel=1e-5)
    assert both.maximum[0] == pytest.approx(float((outputs[:, 1] - outputs[:, 0]).max()), rel=1e-5)


def test_results_do_not_depend_on_the_batch_size(monkeypatch):
    data = dataset(random_images(7))
    whole = find_neighbors(Planted(), ["fc:all"], data, placement=PLACE)[0]
    for chunk in (3, 45):  # part of the placements of an image; two images per batch
        monkeypatch.setattr("shiftscope.visualization.neighbors._BATCH", {"cpu": chunk, "gpu": 1})
        parts = find_neighbors(Planted(), ["fc:all"], data, placement=PLACE)[0]
        for name in ("top_index", "top_offset", "top_canvases", "peaks"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
        assert parts.counts.sum() == whole.counts.sum() == 3 * 7 * 20


def test_fewer_images_and_placements(tmp_path):
    data = dataset(random_images(9))
    (result,) = find_neighbors(Planted(), ["fc:0"], data, placement=coarser(PLACE, 6), images=4, k=9, name="net")
    assert (result.images, result.placements, result.possible, result.top_index.shape) == (4, 6, 20, (1, 4))
    assert result.words == "The first 4 test images at 6 of 20 placements."
    result.save(tmp_path)
    again = Neighbors.load(tmp_path)
    assert again.to_dict() == result.to_dict()
    assert all(np.array_equal(getattr(again, name), getattr(result, name)) for name in result.arrays)


@pytest.mark.parametrize(("seconds", "limit", "images"), [
    (0.01, 60.0, 9), (1.0, 5.0, 4), (1.0, 1e-3, 2), (9.0, 20.0, 2)])
def test_only_as_many_images_as_the_time_allows(monkeypatch, seconds, limit, images):
    class Clock:
        now = 0.0

    class Timed(Planted):
        def forward(self, x):
            Clock.now += seconds * len(x) / PLACE.count
            return super().forward(x)

    monkeypatch.setattr(neighbors_module.time, "perf_counter", lambda: Clock.now)
    monkeypatch.setattr(neighbors_module, "_BATCH", {"cpu": 20})
    monkeypatch.setattr(neighbors_module, "WORTH", 1e9)  # the dense engine does not call `forward`
    data = dataset(random_images(9))
    (found,) = find_neighbors(Timed(), ["fc:0"], data, placement=PLACE, k=2, max_time=limit)
    assert found.images == images and found.counts.sum() == images * PLACE.count
    (whole,) = find_neighbors(Planted(), ["fc:0"], data, placement=PLACE, k=2, images=images)
    np.testing.assert_array_equal(found.top_index, whole.top_index)
    np.testing.assert_array_equal(found.counts, whole.counts)  # a trial is not counted


def test_coarser_keeps_the_middle_offset():
    thin = coarser(Placement(image=(2, 3), canvas=(9, 7)), 4)
    assert thin.count <= 4 and list(thin.middle) in thin.offsets().tolist()


@pytest.mark.parametrize("changed, message", [
    ({"k": 0}, "k must be an integer of at least 1, got 0"),
    ({"images": 0}, "images must be an integer of at least 1, got 0"),
    ({"max_time": 0}, "max_time must be a number of seconds above 0, got 0"),
    ({"placement": Placement(image=(3, 3), canvas=(5, 7))}, "the images of dots are 2 x 3, those of the placement"),
    ({"goals": ["fc:3"]}, "the units of 'fc' range from 0 to 2"),
    ({"data": dataset(random_images(4), 4)}, "has 2 outputs, got 4 class names")])
def test_invalid_arguments_are_rejected(changed, message):
    given = {"goals": ["fc:0"], "data": dataset(random_images(3)), "placement": PLACE} | changed
    with pytest.raises(UsageError, match=message):
        find_neighbors(Planted(), given.pop("goals"), given.pop("data"), **given)


def test_model_state_is_restored_after_errors_and_nan():
    model = Planted().train()
    with torch.no_grad():
        model.fc.bias[0] = torch.nan
    with pytest.raises(ShiftscopeError, match="Planted returns NaN or infinity for some images"):
        find_neighbors(model, ["fc:all"], dataset(random_images(3)), placement=PLACE)
    with pytest.raises(UsageError, match=r"1 x 5 x 8 .*RuntimeError in forward \(tests.*mat1 and mat2") as caught:
        find_neighbors(model, ["fc:all"], dataset(random_images(3)), placement=Placement(image=(2, 3), canvas=(5, 8)))
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert model.training and all(p.requires_grad for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
