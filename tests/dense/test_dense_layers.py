"""Each layer, in each mode: the engine gives what the plain model gives, in float64."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.dense import build_dense, engine
from shiftscope.layers import Normalize
from shiftscope.placement import Placement

from ..helpers import Lambda

pytestmark = pytest.mark.slow

IMAGE, CANVAS = (5, 4), (9, 11)
PLACEMENTS = {
    "canvas": Placement(image=IMAGE, canvas=CANVAS),
    "gray": Placement(image=IMAGE, canvas=CANVAS, background=70),
    "near": Placement(image=IMAGE, canvas=CANVAS, background=70, max_shift=2),
    "steps": Placement(image=IMAGE, canvas=CANVAS, step=2),
    "circular": Placement(image=IMAGE, canvas=CANVAS, mode="circular", background=200),
    "rolled": Placement(image=IMAGE, canvas=CANVAS, mode="circular", max_shift=3, step=2),
    "texture": Placement(image=IMAGE, canvas=CANVAS, mode="circular",
                         background=torch.arange(2 * 99, dtype=torch.uint8).view(2, 9, 11)),
    "crop": Placement(image=(12, 14), canvas=CANVAS, mode="crop"),
    "cropped": Placement(image=(12, 14), canvas=CANVAS, mode="crop", max_shift=1),
}


def conv(*args, **kwargs):
    return nn.Conv2d(*args, **kwargs)


def net(*layers, classes=3):
    """Layers between a first convolution and a linear layer."""
    return nn.Sequential(conv(2, 4, 3), *layers, nn.Flatten(), nn.LazyLinear(classes))


def activations(self, x):
    x = self.head(x)
    x = torch.cat([F.relu(x), F.leaky_relu(x, 0.1), F.gelu(x), F.elu(x), F.silu(x), torch.sigmoid(x), x.tanh()], 1)
    x = torch.cat([F.hardswish(x), F.softplus(x).clamp(0.2, 1.0), x.abs().add(0.1).sqrt(), x.square()], 1)
    return (1 - x / 3 + 2 * x**2 - x.exp() * 0.01).flatten(1) @ self.matrix


def residual(self, x):
    x = F.relu(self.a(x))
    x = x[:, :, 1:-1, 1:-1] + self.b(x)
    y = self.d(F.relu(self.c(x)))
    x = F.relu(x[..., 2:-2, 2:-2] * self.scale + y)
    return self.out(x.mean((2, 3)))


def functional(self, x):
    x = F.max_pool2d(F.relu(F.conv2d(x, self.w, self.b)), 2)
    x = F.dropout(x, training=self.training)
    return F.log_softmax(F.linear(x.view(-1, x.shape[1:].numel()), self.w2), dim=-1)


def squeeze(self, x):
    x = F.relu(self.a(x))
    one = F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1)
    return self.out(torch.cat([x.amax((2, 3)), x.mean([-1, -2]), one, x.flatten(2).max(dim=2).values,
                               x.sum(-1).amin(2), F.adaptive_max_pool2d(x, 1)[..., 0, 0]], 1))


def channels_last(self, x):
    x = self.a(x).permute(0, 2, 3, 1)
    x = F.gelu(self.norm(self.mix(x)))
    return self.out(x.reshape(len(x), -1))


def parts(self, x):
    a, b = self.a(x).chunk(2, 1)
    c, d = self.a(x).split([1, 3], dim=1)
    a, b = a[:, [1, 0]], b - c
    x = torch.cat([a * torch.sigmoid(b), c.expand(-1, 2, -1, -1), d[:, 1:], x[:, :1, 2:, :-2] * self.scale], 1)
    return self.out(F.normalize(x).softmax(1)[:, :, ::2, 1::3].transpose(2, 3).flatten(1))


def one_row(self, x):
    x = self.a(x)
    return self.out(torch.cat([x[:, :, 3].mean(2), x.select(3, -1).amax(-1)], 1))


NETS = {
    "linear": lambda: nn.Sequential(Normalize([0.2, 0.4], [0.3, 0.5]), nn.Flatten(), nn.Linear(198, 7), nn.ReLU(),
                                    nn.Linear(7, 3), nn.LogSoftmax(1)),
    "conv": lambda: net(nn.ReLU(), conv(4, 6, (2, 3), bias=False), nn.Tanh()),
    "strides": lambda: net(nn.ReLU(inplace=True), conv(4, 3, 2, stride=(2, 3)), nn.Sigmoid(), conv(3, 5, 2)),
    "two strides of odd sizes": lambda: nn.Sequential(conv(2, 3, 2, stride=2), nn.ReLU(), conv(3, 4, 3, stride=2),
                                                      nn.Flatten(), nn.LazyLinear(4)),
    "dilated": lambda: net(conv(4, 4, 3, dilation=(2, 3)), nn.GELU()),
    "grouped": lambda: net(nn.ReLU(), conv(4, 8, 3, groups=2, stride=2), nn.ELU(), conv(8, 8, 2, groups=8)),
    "max pools": lambda: net(nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d((2, 3), stride=1)),
    "max pool with holes": lambda: net(nn.MaxPool2d(3, stride=2, dilation=(1, 2))),
    "average pools": lambda: net(nn.ReLU(), nn.AvgPool2d(2), nn.AvgPool2d(3, stride=1, divisor_override=4)),
    "lp pool": lambda: net(nn.ReLU(), nn.LPPool2d(2, 3)),
    "adaptive": lambda: net(nn.AdaptiveMaxPool2d((7, 3)), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 3))),
    "batch norm": lambda: net(nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5), nn.BatchNorm1d(5),
                              nn.PReLU(5)),
    "dropout": lambda: net(nn.Dropout2d(), nn.ReLU(), nn.Dropout(0.3)),
    "activations": lambda: Lambda(activations, head=conv(2, 2, 3), matrix=nn.Parameter(torch.randn(2 * 28 * 63, 3))),
    "residual": lambda: Lambda(residual, a=conv(2, 4, 2), b=conv(4, 4, 3), c=conv(4, 2, 2), d=conv(2, 4, 4),
                               scale=nn.Parameter(torch.randn(4, 1, 1)), out=nn.Linear(4, 3)),
    "functional": lambda: Lambda(functional, w=nn.Parameter(torch.randn(5, 2, 2, 2)), b=nn.Parameter(torch.randn(5)),
                                 w2=nn.Parameter(torch.randn(4, 100))),
    "global pools": lambda: Lambda(squeeze, a=conv(2, 3, 3, stride=2), out=nn.Linear(18, 3)),
    "channels last": lambda: Lambda(channels_last, a=conv(2, 4, 3), mix=nn.Linear(4, 6), norm=nn.LayerNorm(6),
                                    out=nn.Linear(6 * 63, 3)),
    "parts": lambda: Lambda(parts, a=conv(2, 4, 3), scale=nn.Parameter(torch.randn(1)), out=nn.LazyLinear(3)),
    "one row": lambda: Lambda(one_row, a=conv(2, 4, 3), out=nn.Linear(8, 3)),
    "fully convolutional": lambda: nn.Sequential(conv(2, 4, 3, stride=2), nn.ReLU(), conv(4, 3, (4, 5)), nn.Flatten(),
                                                 nn.Softmax(-1)),
    "weight norm": lambda: net(nn.utils.parametrizations.weight_norm(conv(4, 5, 3))),
    "soft in the middle": lambda: net(nn.Softmax2d(), conv(4, 2, 2), nn.LogSoftmax(1)),
    "one channel": lambda: Lambda(lambda self, x: self.out((x[:, :1] * self.factors - 0.1).flatten(1)),
                                  factors=nn.Parameter(torch.randn(3, 1, 1)), out=nn.Linear(297, 2)),
    "crop after a stride": lambda: Lambda(lambda self, x: self.out(self.a(x)[:, :, 1:, 2:][..., 1::2].flatten(1)),
                                          a=conv(2, 3, 2, stride=2), out=nn.Linear(9, 2)),
    "no end": lambda: nn.Sequential(nn.Flatten(), nn.Linear(198, 2)),
}


def made(name, seed=0):
    torch.manual_seed(seed)
    model = NETS[name]().double()
    model(torch.zeros(2, 2, *CANVAS, dtype=torch.float64))  # lazy layers take their size
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)
        nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    return model.eval()


def images(placement, count=2, channels=2):
    return torch.randint(0, 256, (count, channels, *placement.image), dtype=torch.uint8)


def agree(model, placement, pictures, brute):
    operations = len(engine.trace(model, (pictures.shape[1], *placement.canvas)).nodes) - 1
    found = build_dense(model, placement, pictures.shape[1:], shared=operations).logits(pictures)
    expected = brute(model, placement, pictures)
    assert found.shape == expected.shape == (len(pictures), placement.count, expected.shape[2])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())


@pytest.fixture(autouse=True)
def traced_once(monkeypatch):
    """Reading the operations takes most of the time, and is the same for all placements."""
    monkeypatch.setattr(engine, "trace", functools.cache(engine.trace))


@pytest.mark.parametrize("name", NETS)
def test_every_layer_in_every_mode(name, brute):
    model = made(name)
    for where in ("canvas", "gray", "circular", "crop"):
        agree(model, PLACEMENTS[where], images(PLACEMENTS[where]), brute)


@pytest.mark.parametrize("name", ["linear", "two strides of odd sizes", "residual", "max pools"])
def test_subsets_of_the_placements(name, brute):
    model = made(name)
    for where in ("near", "steps", "rolled", "texture", "cropped"):
        agree(model, PLACEMENTS[where], images(PLACEMENTS[where]), brute)


def test_images_as_small_as_a_pixel_and_as_large_as_the_canvas(brute):
    model = made("strides")
    for image in ((1, 1), (9, 11), (9, 1), (8, 10)):
        for mode in ("canvas", "circular"):
            place = Placement(image=image, canvas=CANVAS, mode=mode, background=30)
            agree(model, place, images(place), brute)


def test_an_image_that_strides_step_over(brute):
    class Corner(nn.Module):  # reads one pixel in nine
        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return torch.cat([x[:, :1, ::3, ::3].amax((2, 3)), x[:, 1:, 0, 0] * self.one], 1)

    place = Placement(image=(1, 1), canvas=(7, 9), background=3)
    agree(Corner().double(), place, images(place), brute)


@pytest.mark.parametrize("mode", ["canvas", "circular"])
def test_circular_padding_is_exact_on_a_torus(mode, brute):
    torch.manual_seed(0)
    model = nn.Sequential(conv(1, 3, 3, padding=1, padding_mode="circular"), nn.ReLU(), nn.MaxPool2d(2),
                          conv(3, 4, 3, padding=2, dilation=2, padding_mode="circular"), nn.Tanh(), nn.AvgPool2d(2),
                          nn.Flatten(), nn.Linear(24, 3)).double()
    place = Placement(image=(3, 5), canvas=(8, 12), mode=mode, background=9)
    agree(model, place, images(place, channels=1), brute)


def padded_first(background, normalize=True):
    torch.manual_seed(0)
    first = [Normalize(background / 255, 0.3)] if normalize else []
    return nn.Sequential(*first, conv(2, 3, 3, padding=(1, 2)), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.LazyLinear(3)).double()


def test_zero_padding_is_exact_where_it_continues_the_background(brute):
    for background, normalize in ((0, False), (255, True)):
        place = Placement(image=IMAGE, canvas=CANVAS, background=background)
        model = padded_first(background, normalize)
        model(torch.zeros(1, 2, *CANVAS).double())
        agree(model, place, images(place), brute)


def test_inner_padding_is_exact_if_no_window_has_the_image_near_its_border(brute):
    torch.manual_seed(0)
    model = nn.Sequential(conv(2, 3, 3, bias=False), nn.ReLU(), conv(3, 4, 3, padding=1), nn.Flatten(),
                          nn.Linear(4 * 63, 2)).double()
    far = Placement(image=(2, 2), canvas=CANVAS, max_shift=1)
    agree(model, far, images(far), brute)
    agree(model, Placement(image=(2, 2), canvas=CANVAS), images(Placement(image=(2, 2), canvas=CANVAS)), brute)


@pytest.mark.parametrize("sides", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (2, 1, 0, 3),
                                   (-1, 2, 1, -1)])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_of_each_side(sides, mode, brute):
    torch.manual_seed(0)
    value, sides = (0.3 if mode == "constant" else None), sides if mode == "constant" else tuple(map(abs, sides))
    model = Lambda(lambda self, x: self.out(self.b(F.relu(F.pad(self.a(x), sides, mode, value))).flatten(1)),
                   a=conv(2, 3, 3), b=conv(3, 2, 2, stride=2), out=nn.LazyLinear(2)).double()
    model(torch.zeros(1, 2, *CANVAS, dtype=torch.float64))
    for where in ("gray", "crop"):
        agree(model, PLACEMENTS[where], images(PLACEMENTS[where]), brute)


@pytest.mark.parametrize("mode", ["canvas", "circular"])
def test_a_roll_of_the_whole_canvas_is_exact_on_a_torus(mode, brute):
    torch.manual_seed(0)
    model = Lambda(lambda self, x: self.out((self.a(x.roll((2, -3), (2, 3))) * self.a(x)).flatten(1)),
                   a=conv(2, 2, 2), out=nn.Linear(160, 3)).double()
    place = Placement(image=IMAGE, canvas=CANVAS, mode=mode, background=20)
    agree(model, place, images(place), brute)


def test_zero_padding_that_differs_from_the_background(brute):
    model = padded_first(80, normalize=True)
    model(torch.zeros(1, 2, *CANVAS).double())
    for background in (0, 80):
        place = Placement(image=IMAGE, canvas=CANVAS, background=background)
        agree(model, place, images(place), brute)


def gate(self, x):
    x = F.relu(self.a(x))
    return self.out((x * torch.sigmoid(self.b(x.mean((2, 3), keepdim=True)))).flatten(1))


PADDED = {
    "same": lambda: net(nn.ReLU(), conv(4, 3, (2, 4), padding="same")),
    "modes": lambda: net(conv(4, 4, 3, padding=2, padding_mode="reflect"), nn.ReLU(),
                         conv(4, 4, 3, padding=(1, 2), padding_mode="replicate", stride=2)),
    "circular": lambda: net(conv(4, 3, 3, stride=2), conv(3, 3, 3, padding=1, padding_mode="circular")),
    "pools": lambda: net(nn.MaxPool2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(3, 1, 1), nn.AvgPool2d(2, 1, 1,
                                                                                               count_include_pad=False)),
    "ceil": lambda: net(nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(2, 2, ceil_mode=True)),
    "ceil and padding": lambda: net(nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, 2, 1, ceil_mode=True)),
    "uneven": lambda: net(nn.AdaptiveAvgPool2d((4, 5)), nn.AdaptiveMaxPool2d((3, 2))),
    "depthwise": lambda: net(conv(4, 8, 3, padding=1, groups=4), nn.ReLU6(), conv(8, 8, 3, 2, 1, groups=8)),
    "dilated": lambda: net(conv(4, 4, 3, padding=2, dilation=2), nn.ReLU(), conv(4, 4, 3, padding=1, stride=3)),
    "large kernel": lambda: net(conv(4, 3, 7, padding=3, stride=2), nn.ReLU()),
    "reflection": lambda: nn.Sequential(nn.ReflectionPad2d((1, 2, 0, 3)), conv(2, 3, 3), nn.Flatten(),
                                        nn.LazyLinear(2)),
    "gate": lambda: Lambda(gate, a=conv(2, 4, 3, padding=1), b=conv(4, 4, 1), out=nn.LazyLinear(3)),
    "global": lambda: nn.Sequential(conv(2, 4, 3, padding=1), nn.Tanh(), conv(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1),
                                    nn.Flatten(), nn.Linear(4, 2)),
}


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("where", ["canvas", "gray", "near", "steps", "circular", "crop", "cropped"])
def test_padded_layers(name, where, brute):
    torch.manual_seed(0)
    model = PADDED[name]().double().eval()
    model(torch.zeros(2, 2, *CANVAS, dtype=torch.float64))
    agree(model, PLACEMENTS[where], images(PLACEMENTS[where]), brute)


def test_one_placement_and_listed_offsets(brute):
    torch.manual_seed(0)
    model = nn.Sequential(conv(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), conv(3, 3, 3, padding=1), nn.Flatten(),
                          nn.LazyLinear(2)).double()
    model(torch.zeros(1, 2, *CANVAS, dtype=torch.float64))
    for options in ({"max_shift": 0}, {"offset_list": [(2, 3), (0, 7), (4, 0), (2, 0), (4, 7)]}):
        place = Placement(image=IMAGE, canvas=CANVAS, **options)
        agree(model, place, images(place), brute)


@pytest.mark.parametrize("fill", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("name", ["same", "pools", "global"])
def test_mode_fill(fill, name, brute):
    torch.manual_seed(0)
    model = PADDED[name]().double().eval()
    model(torch.zeros(2, 2, *CANVAS, dtype=torch.float64))
    place = Placement(image=CANVAS, canvas=CANVAS, mode="fill", fill=fill, background=60, max_shift=4)
    agree(model, place, images(place), brute)
