import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.auditing.equivariance import equivariance
from shiftscope.auditing.layer_outputs import layer_outputs
from shiftscope.data import from_arrays
from shiftscope.errors import UsageError
from shiftscope.placement import Placement, texture
from shiftscope.results import Equivariance

ROUNDING = 250.0  # dB: an error of 3e-13, what float64 leaves of sums of some hundred terms
IMAGES = torch.randint(0, 256, (4, 1, 6, 5), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
ON_CANVAS = Placement(image=(6, 5), canvas=(24, 31))
AROUND = Placement(image=(6, 5), canvas=(16, 24), mode="circular")


def conv(*, circular: bool = False, **options) -> nn.Conv2d:
    torch.manual_seed(0)
    extra = {"padding": 1, "padding_mode": "circular"} if circular else {}
    return nn.Conv2d(1, 3, 3, **(extra | options)).double()


def at(found: Equivariance, layer: str, axis: int) -> list[float]:
    return found.decibels[found.layers.index(layer), axis].tolist()


def test_a_circular_net_of_stride_1_is_equivariant():
    net = nn.Sequential(conv(circular=True), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)).double()
    found = equivariance(net, IMAGES, placement=AROUND, period=8)
    assert found.layers == ["0", "1", "2", "4"] and found.kinds == ["map", "map", "units", "units"]
    assert found.strides == [[1, 1], [1, 1], None, None]
    assert (found.decibels > ROUNDING).all()
    assert found.loses_most is None and found.drops == [0.0, 0.0, None, None]


@pytest.mark.parametrize("placement", [ON_CANVAS, AROUND])
def test_convolutions_are_equivariant_away_from_the_border(placement):
    for padding in (0, 1):
        found = equivariance(nn.Sequential(conv(padding=padding)), IMAGES, placement=placement, period=6)
        assert found.strides == [[1, 1]] and (found.decibels > ROUNDING).all()


def test_subsampling_loses_an_impulse_at_every_odd_shift():
    impulses = torch.tensor([255, 100], dtype=torch.uint8).view(2, 1, 1, 1)
    place = Placement(image=(1, 1), canvas=(8, 12), mode="circular")
    found = equivariance(nn.Sequential(nn.MaxPool2d(1, stride=2)), impulses, placement=place, period=4)
    assert found.strides == [[2, 2]] and found.shapes == [[1, 4, 6]]
    for axis in (0, 1):  # the answer to an odd shift is empty: the error is the whole signal
        assert at(found, "0", axis) == pytest.approx([math.inf, 0.0, math.inf, 0.0], abs=1e-9)
    assert found.loses_most == "0"


def test_subsampling_a_pair_of_pixels_worked_out_by_hand():
    """Moved by 1 the pair still gives an impulse, one cell on; the reference is one moved by half a cell.

    Of n = 6 cells: its power is 5/6 (the highest of six frequencies vanishes at half a cell), its value at that cell
    (1 + 2 cos 30° + 2 cos 60°) / 6.
    """
    pair = torch.full((2, 1, 1, 2), 255, dtype=torch.uint8)
    place = Placement(image=(1, 2), canvas=(8, 12), mode="circular")
    found = equivariance(nn.Sequential(nn.MaxPool2d(1, stride=2)).double(), pair, placement=place, period=3)
    overlap = (1 + 2 * math.cos(math.pi / 6) + 2 * math.cos(math.pi / 3)) / 6
    expected = 10 * math.log10((5 / 6) / (1 - 2 * overlap + 5 / 6))
    assert at(found, "0", 1) == pytest.approx([math.inf, expected, math.inf], abs=1e-9)


@pytest.mark.parametrize("placement", [ON_CANVAS, AROUND])
def test_max_pooling_is_equivariant_at_multiples_of_its_stride(placement):
    net = nn.Sequential(conv(circular=placement is AROUND), nn.MaxPool2d((2, 3)))
    found = equivariance(net, IMAGES, placement=placement, period=7)
    assert found.strides == [[1, 1], [2, 3]]
    down, right = at(found, "1", 0), at(found, "1", 1)
    assert [value > ROUNDING for value in down] == [shift % 2 == 0 for shift in range(7)]
    assert [value > ROUNDING for value in right] == [shift % 3 == 0 for shift in range(7)]
    assert all(0 < value < 60 for value in (*down, *right) if value < ROUNDING)
    assert found.loses_most == "1" and found.drops[0] == 0
    assert found.drops[1] == pytest.approx(50 - found.overall[1])
    assert found.overall[1] == pytest.approx(pooled(down + right, found, down, right), abs=3)


def pooled(values, found, down, right) -> float:
    """Roughly what errors of equal signals sum to."""
    errors = [10 ** (-value / 10) for value in (*down[1:], *right[1:])]
    return -10 * math.log10(sum(errors) / len(errors))


def test_a_layer_with_weights_per_position_is_not_equivariant():
    class ByPlace(nn.Module):
        def forward(self, pixels):
            return pixels * torch.linspace(0, 1, pixels.shape[3], dtype=pixels.dtype)

    found = equivariance(nn.Sequential(ByPlace()).double(), IMAGES, placement=ON_CANVAS, period=4)
    assert (found.decibels[0, 0] > ROUNDING).all()  # the weights do not change downwards
    assert found.decibels[0, 1, 0] == math.inf and (found.decibels[0, 1, 1:] < 40).all()


def test_the_empty_canvas_is_subtracted():
    gray = Placement(image=(6, 5), canvas=(24, 31), background=200)
    net = nn.Sequential(nn.ZeroPad2d(1), conv())  # the padding paints a frame, which does not move
    found = equivariance(net, IMAGES, placement=gray, period=4)
    assert found.layers == ["1"] and (found.decibels > ROUNDING).all()


def test_units_are_compared_with_their_variance():
    net = nn.Sequential(nn.Flatten(), nn.Linear(24 * 31, 5)).double()
    found = equivariance(net, IMAGES, placement=ON_CANVAS, period=3)
    assert found.kinds == ["units"] and found.strides == [None] and found.drops == [None]
    start = tuple(found.start)
    answer = {shift: torch.stack([net(ON_CANVAS.place(image[None], torch.tensor([(start[0] + shift[0],
                                  start[1] + shift[1])])).double() / 255)[0] for image in IMAGES]).detach()
              for shift in ((0, 0), (2, 0), (0, 1))}
    spread = sum(((row - answer[0, 0].mean(dim=0)) ** 2).sum().item() for row in answer[0, 0])
    for shift, value in (((2, 0), at(found, "1", 0)[2]), ((0, 1), at(found, "1", 1)[1])):
        error = ((answer[shift] - answer[0, 0]) ** 2).sum().item()
        assert value == pytest.approx(10 * math.log10(spread / error), abs=1e-8)
    assert at(found, "1", 0)[0] == math.inf


class Functional(nn.Module):
    """Pools and cuts off by functions, as the convnet of the course does."""

    def __init__(self):
        super().__init__()
        self.first, self.drop, self.last = conv(), nn.Dropout(0.5), nn.Linear(3, 4).double()

    def forward(self, pixels):
        x = F.relu(F.max_pool2d(self.first(pixels), 2), inplace=True)
        x = F.relu(self.drop(x)).amax(dim=(2, 3))
        return F.log_softmax(self.last(x), dim=1)


def test_functions_are_layers():
    found = equivariance(Functional(), IMAGES, placement=ON_CANVAS, period=2)
    assert found.layers == ["first", "max_pool2d", "relu", "relu (2)", "last", "output"]  # softmax comes after "last"
    assert found.strides == [[1, 1], [2, 2], [2, 2], [2, 2], None, None]
    assert found.loses_most == "max_pool2d"


def test_containers_and_functions_can_be_selected():
    net = nn.Sequential(nn.Sequential(conv(), nn.MaxPool2d(2)), Functional().drop)
    assert equivariance(net, IMAGES, placement=ON_CANVAS, period=2, layers=["0"]).layers == ["0"]
    assert equivariance(Functional(), IMAGES, placement=ON_CANVAS, period=2, layers=["output", "relu"]).layers == [
        "relu", "output"]
    with pytest.raises(UsageError, match="fc9.*first"):
        equivariance(Functional(), IMAGES, placement=ON_CANVAS, layers=["fc9"])


def test_a_submodule_that_is_called_twice_has_two_outputs():
    relu = nn.ReLU()
    recorded = layer_outputs(nn.Sequential(relu, nn.Conv2d(1, 1, 3), relu), torch.zeros(1, 1, 5, 5))
    assert list(recorded.outputs) == ["0", "1", "0 (2)", "output"]
    assert recorded.outputs["0"].shape != recorded.outputs["0 (2)"].shape


def test_batches_do_not_matter(monkeypatch):
    whole = equivariance(Functional(), IMAGES, placement=ON_CANVAS, period=4)
    monkeypatch.setattr(sys.modules["shiftscope.auditing.equivariance"], "MEMORY", 1)
    single = equivariance(Functional(), IMAGES, placement=ON_CANVAS, period=4)
    finite = np.isfinite(whole.decibels)
    assert np.allclose(whole.decibels[finite], single.decibels[finite], rtol=1e-6)
    assert finite.sum() == np.isfinite(single.decibels).sum() and finite.any()


def test_hooks_and_modes_are_restored():
    net = Functional().train()
    net.drop.eval()
    state = torch.get_rng_state()
    for run in (lambda: equivariance(net, IMAGES, placement=ON_CANVAS, period=2),
                lambda: equivariance(net, IMAGES.repeat(1, 2, 1, 1), placement=ON_CANVAS, period=2)):
        try:
            run()
        except UsageError as error:
            assert "cannot take images of 2 x 24 x 31" in str(error)
        assert [part.training for part in net.modules()] == [True, True, False, True]
        assert all(parameter.requires_grad for parameter in net.parameters())
        assert not any(part._forward_hooks or part._forward_pre_hooks for part in net.modules())
        assert torch.equal(state, torch.get_rng_state())


def test_constant_layers_are_noted():
    dead = nn.Sequential(conv(), nn.ReLU())
    with torch.no_grad():
        dead[0].bias.fill_(-1e3)
    found = equivariance(dead, IMAGES, placement=ON_CANVAS, period=2)
    assert np.isnan(found.decibels[1]).all() and found.overall[1] is None and found.drops[1] is None
    assert found.notes == ["not compared, because they do not depend on the images or are not finite: 1"]


def test_normalization_and_dataset_are_used():
    data = from_arrays(IMAGES, [0, 1, 0, 1], IMAGES[:3], [0, 1, 1], class_names=("a", "b"))
    seen = []

    class Look(nn.Module):
        def forward(self, pixels):
            seen.append(pixels.min().item())
            return pixels

    found = equivariance(Look(), data, placement=ON_CANVAS, period=2, normalize=(0.5, 0.25), name="look")
    assert (found.model, found.images, found.split, found.dataset) == ("look", 3, "test", data.name)
    assert min(seen) == -2.0


@pytest.mark.parametrize(("changed", "words"), [
    ({"placement": Placement(image=(6, 5), canvas=(4, 4), mode="crop")}, "mode must be canvas or circular"),
    ({"placement": Placement(image=(6, 5), canvas=(6, 5), mode="fill")}, "mode must be canvas or circular"),
    ({"placement": Placement(image=(6, 5), canvas=(9, 9), background=texture((9, 9)))}, "background must be a number"),
    ({"placement": Placement(image=(6, 5), canvas=(30, 9)), "period": 6}, "period must be at most 5 .* got 6"),
    ({"layers": []}, "Functional has no layer to measure"),
    ({"period": 1}, "period must be at least 2, got 1"),
    ({"images": 1}, "images must be at least 2"),
    ({"data": IMAGES[:1]}, r"at least 2 images, uint8 \(N, C, h, w\), got torch.uint8 \(1, 1, 6, 5\)"),
    ({"data": IMAGES.float()}, "got torch.float32"),
])
def test_invalid_arguments_raise(changed, words):
    arguments = {"data": IMAGES, "placement": ON_CANVAS} | changed
    with pytest.raises(UsageError, match=words):
        equivariance(Functional(), arguments.pop("data"), **arguments)


def test_a_saved_record_loads(tmp_path):
    found = equivariance(Functional(), IMAGES, placement=ON_CANVAS, period=2)
    found.save(tmp_path)
    again = Equivariance.load(tmp_path)
    assert np.array_equal(found.decibels, again.decibels, equal_nan=True) and np.isposinf(again.decibels).any()
    assert again.to_dict() == found.to_dict()
    assert found.to_dict()["overall"][0] is None or found.overall[0] > ROUNDING  # infinity is null in JSON


def test_strides_are_found_through_padding_strided_convolutions_and_ties():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv2d(1, 4, 5, stride=(2, 1), padding=2), nn.ReLU(), nn.AvgPool2d(2),
                        nn.Conv2d(4, 4, 3, stride=2, padding=1), nn.Hardtanh(-0.01, 0.01)).double()
    found = equivariance(net, IMAGES, placement=Placement(image=(6, 5), canvas=(48, 40)), period=8)
    assert found.strides == [[2, 1], [2, 1], [4, 2], [8, 4], [8, 4]]
    dots = torch.tensor([255, 100], dtype=torch.uint8).view(2, 1, 1, 1)  # one dot looks alike at many steps
    small = Placement(image=(1, 1), canvas=(48, 40))
    assert equivariance(net, dots, placement=small, period=2).strides == found.strides
