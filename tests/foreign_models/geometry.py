"""Strides, padding, pooling and resampling in all forms of PyTorch."""

import torch
import torch.nn.functional as F
from torch import nn

from .registry import Base, foreign, settle


class After(nn.Module):
    """A convolution, a function of the maps, a linear head."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3)
        size = self.after(self.conv(torch.zeros(2, channels, *canvas))).flatten(1).shape[1]
        self.head = nn.Linear(size, classes)
        settle(self, channels, canvas)

    def after(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.head(self.after(self.conv(x)).flatten(1))


@foreign()
class SlicedStride(Base):
    def before(self, x):
        return x[:, :, ::2, 1::2]


@foreign(dense="index_select")
class IndexSelected(Base):
    def before(self, x):
        return x.index_select(2, torch.arange(0, 12, 2)).index_select(3, torch.arange(0, 15, 2))


@foreign(dense="pixel_unshuffle")
class PixelUnshuffled(Base):
    def before(self, x):
        return F.pixel_unshuffle(x[:, :, :12, :14], 2)


@foreign(dense="reshape")
class SpaceToDepth(Base):
    def before(self, x):
        n, c = x.shape[:2]
        return x[:, :, :12, :12].reshape(n, c, 4, 3, 4, 3).permute(0, 1, 3, 5, 2, 4).reshape(n, 9 * c, 4, 4)


@foreign(dense="upsample")
class Interpolated(Base):
    def before(self, x):
        return F.interpolate(x, size=(8, 9), mode="bilinear", align_corners=False)


@foreign(dense="upsample")
class NearestUp(Base):
    def before(self, x):
        return F.interpolate(x, scale_factor=1.5, mode="nearest")


@foreign(dense="im2col")
class Unfolded(After):
    def after(self, x):
        return F.unfold(x, 3, stride=2).relu().mean(1)


@foreign(dense="reflect")
class Reflected(After):
    def after(self, x):
        return F.max_pool2d(F.pad(x, (1, 2, 0, 1), mode="reflect").relu(), 2)


@foreign(dense="replicate")
class Replicated(After):
    def after(self, x):
        return F.max_pool2d(F.pad(x, (1, 1, 2, 0), mode="replicate").relu(), 2)


@foreign(dense={"crop": "circular"})
class CircularNet(nn.Module):
    """Circular convolutions, the head reads positions."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.conv = nn.Conv2d(channels, 5, 3, padding=1, padding_mode="circular")
        self.head = nn.Linear(5 * canvas[0] * canvas[1], classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.conv(x).relu().flatten(1))


@foreign(dense={"canvas": "?rounding", "circular": "?rounding", "crop": "circular"})
class CircularInvariant(CircularNet):
    """Circular convolutions and a global mean: one prediction at all placements."""

    def __init__(self, channels, canvas, classes):
        super().__init__(channels, canvas, classes)
        self.head = nn.Linear(5, classes)
        settle(self, channels, canvas)

    def forward(self, x):
        x = self.conv(x).relu()
        return self.head(x.mean((2, 3)) if self.head.in_features == 5 else x.flatten(1))


@foreign(dense={"canvas": "zero padding", "circular": "border of each window", "crop": "border of each window"})
class ZeroPadded(nn.Module):
    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.first, self.second = nn.Conv2d(channels, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding="same")
        self.head = nn.Linear(4 * (canvas[0] // 2) * (canvas[1] // 2), classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(F.max_pool2d(self.second(self.first(x).relu()).relu(), 2).flatten(1))


@foreign(dense={"canvas": "padding with 0.5", "circular": "border of each window", "crop": "border of each window"})
class PaddedWithHalf(Base):
    def before(self, x):
        return F.pad(x, (2, 1, 1, 3), value=0.5)


@foreign(dense={"circular": "border of each window", "crop": "border of each window"})
class AsymmetricZeros(Base):
    """Padding with the background value on two sides."""

    def before(self, x):
        return F.pad(x, (3, 0, 0, 2))


@foreign()
class CroppedInside(Base):
    def before(self, x):
        return x[..., 2:-1, 1:-3]


@foreign()
class NegativePad(Base):
    def before(self, x):
        return F.pad(x, (-1, -2, -1, 0))


@foreign(dense="flip")
class Flipped(Base):
    def before(self, x):
        return x.flip(3)


@foreign(dense="input is not")
class Transposed(Base):
    def before(self, x):
        return x.transpose(2, 3)


@foreign(dense={"crop": "roll"})
class Rolled(Base):
    def before(self, x):
        return x.roll((2, -3), (2, 3))


@foreign()
class Strided3(nn.Module):
    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 6, (4, 2), stride=(3, 2)), nn.ELU(), nn.Conv2d(6, 8, (2, 3)))
        self.head = nn.Linear(self.body(torch.zeros(1, channels, *canvas)).numel(), classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


@foreign()
class CeilMode(After):
    def after(self, x):
        return F.max_pool2d(x, 3, stride=2, ceil_mode=True)


@foreign(dense="ceil_mode")
class CeilModeAverage(After):
    def after(self, x):
        return F.avg_pool2d(x.relu(), 4, stride=3, ceil_mode=True, count_include_pad=False)


@foreign(dense="border of each window")
class PaddedMaxPool(After):
    def after(self, x):
        return F.max_pool2d(x, 3, stride=2, padding=1)


@foreign(dense="border")
class PaddedAveragePool(After):
    def after(self, x):
        return F.avg_pool2d(x, (3, 2), stride=2, padding=1, count_include_pad=False)


@foreign()
class GapsBetweenWindows(After):
    """The stride is larger than the window."""

    def after(self, x):
        return F.avg_pool2d(x.relu(), (2, 1), stride=(3, 2))


@foreign()
class DilatedMaxPool(After):
    def after(self, x):
        return F.max_pool2d(x, (2, 3), stride=1, dilation=(3, 2))


@foreign()
class GlobalAveragePool(After):
    """One output position: the whole map in one window."""

    def after(self, x):
        return F.avg_pool2d(x.relu(), (x.size(2), x.size(3)))


@foreign()
class GlobalPoolModule(nn.Module):
    """AvgPool2d(8) on a map of 8 x 8."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, (6, 8)), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten())
        self.head = nn.Linear(8, classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.body(x))


@foreign(dense="equal parts")
class AdaptiveAverage(After):
    def after(self, x):
        return F.adaptive_avg_pool2d(x.relu(), (3, 2))


@foreign(dense="equal parts")
class AdaptiveMax(After):
    def after(self, x):
        return F.adaptive_max_pool2d(x, (2, 4))


@foreign()
class DilatedConvolutions(nn.Module):
    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 6, 3, dilation=(2, 3)), nn.ReLU(), nn.Conv2d(6, 6, 2, dilation=2))
        self.head = nn.Linear(self.body(torch.zeros(1, channels, *canvas)).numel(), classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.body(x).flatten(1))


@foreign(dense="conv_transpose2d")
class TransposedConvolution(nn.Module):
    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.down, self.up = nn.Conv2d(channels, 6, 4, stride=3), nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1)
        self.head = nn.Linear(self.up(self.down(torch.zeros(1, channels, *canvas))).numel(), classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.up(self.down(x).relu()).flatten(1))


@foreign()
class PowerPool(After):
    def after(self, x):
        return F.lp_pool2d(x.relu() + 0.1, 2, 3, stride=2)


@foreign(dense="there is no rule")
class Unpooled(After):
    def after(self, x):
        maxima, where = F.max_pool2d(x[..., :10, :12], 2, return_indices=True)
        return F.max_unpool2d(maxima, where, 2)


@foreign()
class BlurPool(After):
    """Max pooling with stride 1, then a fixed blur with stride 2."""

    def after(self, x):
        blur = torch.tensor([1.0, 2, 1]) / 4
        kernel = (blur[:, None] * blur).expand(6, 1, 3, 3)
        return F.conv2d(F.max_pool2d(x, 2, stride=1), kernel, stride=2, groups=6)


@foreign(channels=3)
class Color(Base):
    pass


@foreign(channels=3)
class Gray(Base):
    """Converts color to gray with fixed weights first."""

    def before(self, x):
        return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


@foreign(channels=3, image=(5, 12), canvas=(8, 20))
class WideCanvas(Base):
    pass


@foreign(image=(1, 4), canvas=(7, 6))
class OneRowImage(Base):
    pass


@foreign(image=(6, 7), canvas=(6, 12))
class OneDirection(Base):
    """Image and canvas have the same height."""


@foreign(classes=2)
class TwoClasses(Base):
    pass


@foreign(classes=300, near=0.05)
class ThreeHundredClasses(Base):
    """More classes than uint8 holds."""
