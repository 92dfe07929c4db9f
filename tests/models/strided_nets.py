"""Small circular networks with strides of many kinds, invariant to shifts by their stride."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

SHAPE = (1, 12, 24)


class Net(nn.Module):
    """Layers by name, and a function used as `forward`."""

    def __init__(self, function: Callable, **layers: nn.Module):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(self, x)


def conv(inputs: int, outputs: int, kernel: int = 3, **more) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, **{"padding": kernel // 2, "padding_mode": "circular"} | more)


def _net(function: Callable, **layers: nn.Module) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        return Net(function, **copy.deepcopy(layers))
    return build


def _to_depth(x: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = x.shape
    return x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


def _low_frequencies(x: torch.Tensor) -> torch.Tensor:
    """Downsampling by cropping the spectrum: no operation has a stride."""
    spectrum = torch.fft.rfft2(x)
    rows = torch.cat((spectrum[:, :, :3], spectrum[:, :, -3:]), 2)
    return torch.fft.irfft2(rows[..., :7], s=(6, 12))


class Checkered(nn.Module):
    """Every second pixel is set to zero: the map keeps its size but has a period of two."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", (torch.arange(12)[:, None] % 2 * (torch.arange(24) % 2)).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.mask


def _once(self: Net, x: torch.Tensor) -> torch.Tensor:
    return F.relu(self.a(x))


def _twice(self: Net, x: torch.Tensor) -> torch.Tensor:
    return F.relu(self.b(F.relu(self.a(x))))


def zoo() -> dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]]:
    """Return networks by name, each with its strides down and right on a canvas of `SHAPE`."""
    torch.manual_seed(0)
    half = {"a": conv(1, 4, stride=2), "fc": nn.Linear(4, 3)}
    dense = {"a": conv(1, 4), "b": conv(4, 4), "fc": nn.Linear(4, 3)}
    wide = {"a": conv(1, 2), "b": conv(8, 4), "fc": nn.Linear(4, 3)}
    rows, columns = torch.arange(0, 12, 2), torch.arange(1, 24, 3)
    pattern = torch.tensor([0, 1, 4, 5, 8, 9])

    def then(function: Callable) -> Callable:
        """A dense layer, a stride, another layer and a mean."""
        return lambda self, x: self.fc(F.relu(self.b(function(_once(self, x)))).mean((2, 3)))

    return {
        # one position left
        "adaptive": (_net(lambda self, x: self.fc(F.adaptive_avg_pool2d(_once(self, x), 1).flatten(1)), **half),
                     (2, 2)),
        "mean": (_net(lambda self, x: self.fc(_once(self, x).mean((2, 3))), **half), (2, 2)),
        "avg_pool2d": (_net(lambda self, x: self.fc(F.avg_pool2d(y := _once(self, x), y.shape[2:]).flatten(1)), **half),
                       (2, 2)),
        "AvgPool2d": (_net(lambda self, x: self.fc(self.p(_once(self, x)).flatten(1)), p=nn.AvgPool2d((6, 12)), **half),
                      (2, 2)),
        "max_pool2d": (_net(lambda self, x: self.fc(F.max_pool2d(_once(self, x), (6, 12)).flatten(1)), **half), (2, 2)),
        "adaptive_max": (_net(lambda self, x: self.fc(F.adaptive_max_pool2d(_once(self, x), 1).flatten(1)), **half),
                         (2, 2)),
        "lp_pool2d": (_net(lambda self, x: self.fc(F.lp_pool2d(_once(self, x), 2, (6, 12)).flatten(1)), **half),
                      (2, 2)),
        "flat_mean": (_net(lambda self, x: self.fc(_once(self, x).flatten(2).mean(2)), **half), (2, 2)),
        "view_max": (_net(lambda self, x: self.fc(_once(self, x).reshape(len(x), 4, -1).max(-1).values), **half),
                     (2, 2)),
        "one_axis": (_net(lambda self, x: self.fc(F.avg_pool2d(_once(self, x), (6, 3)).amax((2, 3))), **half), (2, 6)),
        "one_row": (_net(lambda self, x: self.fc(_once(self, x).mean(2, keepdim=True)[..., ::4].amax((2, 3))), **half),
                    (2, 8)),
        # strides of layers
        "twice": (_net(lambda self, x: self.fc(_twice(self, x).mean((2, 3))), a=conv(1, 4, stride=2),
                       b=conv(4, 4, stride=2), fc=nn.Linear(4, 3)), (4, 4)),
        "three": (_net(lambda self, x: self.fc(_once(self, x).mean((2, 3))), a=conv(1, 4, stride=3),
                       fc=nn.Linear(4, 3)), (3, 3)),
        "by_axis": (_net(lambda self, x: self.fc(F.max_pool2d(_once(self, x), (1, 3)).mean((2, 3))),
                         a=conv(1, 4, stride=(2, 1)), fc=nn.Linear(4, 3)), (2, 3)),
        "dilated": (_net(lambda self, x: self.fc(_twice(self, x).mean((2, 3))), a=conv(1, 4, dilation=2, padding=2),
                         b=conv(4, 4, stride=(1, 4), dilation=3, padding=3), fc=nn.Linear(4, 3)), (1, 4)),
        "two_and_three": (_net(lambda self, x: self.fc(torch.cat((F.max_pool2d(_once(self, x), 2).mean((2, 3)),
                                                                  F.max_pool2d(_once(self, x), 3).mean((2, 3))), 1)),
                               a=conv(1, 4), fc=nn.Linear(8, 3)), (6, 6)),
        # strides without strided layers
        "slices": (_net(then(lambda x: x[:, :, ::2, 1::3]), **dense), (2, 3)),
        "slice_rows": (_net(then(lambda x: x[:, :, ::4]), **dense), (4, 1)),
        "pixel_unshuffle": (_net(then(lambda x: F.pixel_unshuffle(x, 2)), **wide), (2, 2)),
        "to_depth": (_net(then(_to_depth), **wide), (2, 2)),
        "focus": (_net(then(lambda x: torch.cat([x[..., i::2, j::2] for i in (0, 1) for j in (0, 1)], 1)), **wide),
                  (2, 2)),
        "view_mean": (_net(then(lambda x: x.view(x.shape[0], 4, 6, 2, 8, 3).mean((3, 5))), **dense), (2, 3)),
        "unflatten": (_net(then(lambda x: x.unflatten(3, (6, 4)).amax(4)), **dense), (1, 4)),
        "nearest": (_net(then(lambda x: F.interpolate(x, scale_factor=0.5)), **dense), (2, 2)),
        "area": (_net(then(lambda x: F.interpolate(x, size=(4, 12), mode="area")), **dense), (3, 2)),
        "index_select": (_net(then(lambda x: x.index_select(2, rows)), **dense), (2, 1)),
        "indices": (_net(then(lambda x: x[:, :, rows[:, None], columns]), **dense), (2, 3)),
        "pattern": (_net(then(lambda x: x[:, :, pattern]), **dense), (4, 1)),
        "windows": (_net(then(lambda x: x.unfold(2, 2, 2).unfold(3, 3, 3).amax((4, 5))), **dense), (2, 3)),
        "patches": (_net(lambda self, x: self.fc(F.relu(self.b(F.unfold(x, 3, stride=3).transpose(1, 2))).mean(1)),
                         b=nn.Linear(9, 4), fc=nn.Linear(4, 3)), (3, 3)),
        "tokens": (_net(lambda self, x: self.fc(_once(self, x).flatten(2).transpose(1, 2).softmax(2).amax(1)),
                        a=nn.Conv2d(1, 4, (3, 4), (3, 4)), fc=nn.Linear(4, 3)), (3, 4)),
        # only found by measurement
        "spectrum": (_net(then(_low_frequencies), **dense), (2, 2)),
        "checkered": (_net(then(Checkered()), **dense), (2, 2)),
    }


ONLY_MEASURED = {"spectrum", "checkered"}
"""Networks whose stride cannot be read from the graph."""


class Saturated(nn.Module):
    """Bright images, such as noise, are class 0; the class of dark ones depends on position. Outputs saturate."""

    def __init__(self, ending: str):
        super().__init__()
        self.ending = ending

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        down, right = x.shape[2] // 2, x.shape[3] // 2
        parts = [x[:, 0, i * down:(i + 1) * down, j * right:(j + 1) * right].mean((1, 2))
                 for i in (0, 1) for j in (0, 1)]
        bright = 100 * (x.mean((1, 2, 3)) - 0.3)
        logits = 1e3 * torch.stack([bright, *parts], 1)
        logits = logits - F.max_pool2d(x, 2)[:, :, 0, 0] * 0  # a stride without effect
        beside = logits - logits.mean(1, keepdim=True)
        return {"softmax": logits.softmax(1), "sigmoid": beside.sigmoid(), "tanh": beside.tanh(),
                "logits": logits}[self.ending]
