"""Architectures that sort, route, transform or compute their own filters, small and untrained."""

import torch
import torch.nn.functional as F
from torch import nn

from .architectures import Gated, Net, Perceptron
from .registry import Base, foreign, settle


@foreign(dense="unfold")
class MedianPool(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 4, 3)

    def body(self, x):
        x = self.conv(x).unfold(2, 3, 2).unfold(3, 3, 2)
        return x.flatten(4).median(-1).values.flatten(1)


@foreign(dense="argmax")
class ArgmaxPool(Net):
    """The position of each map's maximum."""

    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 12, 3)

    def body(self, x):
        x = self.conv(x)
        where = x.flatten(2).argmax(-1)
        return torch.cat((where // x.shape[3], where % x.shape[3]), 1).float() / 10


@foreign()
class BinaryWeights(Net):
    """Weights are signs times a scale."""

    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 8, 3, stride=2, bias=False)

    def body(self, x):
        weight = self.conv.weight.sign() * self.conv.weight.abs().mean()
        return F.conv2d(x, weight, stride=2).relu().flatten(1)


@foreign()
class BinaryActivations(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 16, 3, stride=2)

    def body(self, x):
        return self.conv((x > 0.5).float()).sign().flatten(1)


@foreign(dense="glu")
class Ensemble(nn.Module):
    def __init__(self, *args):
        super().__init__()
        self.members = nn.ModuleList(make(*args) for make in (Base, Perceptron, Gated))

    def forward(self, x):
        return torch.stack([member(x) for member in self.members]).mean(0)


@foreign(dense="flip")
class TestTimeFlip(Base):
    """Averages over the image and its mirror image."""

    def forward(self, x):
        return (self.logits(x).softmax(1) + self.logits(x.flip(-1)).softmax(1)) / 2


@foreign(dense={"crop": "roll"})
class TestTimeShifts(Base):
    def forward(self, x):
        return sum(self.logits(x.roll(shift, 3)) for shift in (-1, 0, 1)) / 3


@foreign(dense="neither rows nor columns")
class LocalResponse(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 8, 3, stride=2)

    def body(self, x):
        return F.local_response_norm(self.conv(x).relu() * 5, 3, alpha=0.5).flatten(1)


@foreign()
class Activations(Net):
    """A chain of functions of single values, with a learned slope."""

    def parts(self, channels, canvas):
        self.conv, self.slope = nn.Conv2d(channels, 8, 3, stride=2), nn.PReLU(8)

    def body(self, x):
        x = F.mish(F.softplus(self.slope(self.conv(x)) * 3))
        return F.leaky_relu(F.silu(F.selu(x - 1)) - 0.1, 0.2).flatten(1)


@foreign()
class Maxout(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 12, 3, stride=2)

    def body(self, x):
        first, second, third = self.conv(x).chunk(3, 1)
        return torch.maximum(first, torch.max(second, third)).flatten(1)


@foreign(dense={"canvas": "conv_transpose2d", "circular": "border of each window", "crop": "border of each window"})
class Hourglass(Net):
    """Down, up again, and a shortcut across."""

    def parts(self, channels, canvas):
        self.down, self.up = nn.Conv2d(channels, 6, 3, stride=2, padding=1), nn.ConvTranspose2d(6, 4, 3, stride=2)

    def body(self, x):
        up = F.interpolate(self.up(self.down(x).relu()), size=x.shape[2:], mode="bilinear", align_corners=True)
        return F.avg_pool2d(torch.cat((up, x), 1), 3).flatten(1)


@foreign(dense="rows or columns")
class Mixer(Net):
    """Mixes tokens, then channels."""

    def parts(self, channels, canvas):
        self.patches = nn.Conv2d(channels, 10, (4, 5), stride=(3, 5))
        self.tokens, self.channels, self.norm = nn.Linear(12, 12), nn.Linear(10, 10), nn.LayerNorm(10)

    def body(self, x):
        x = self.patches(x).flatten(2)
        x = x + self.tokens(F.gelu(x))
        return self.channels(self.norm(x.transpose(1, 2))).amax(1)


@foreign()
class FullyConvolutional(nn.Module):
    """Scores at every position, their mean at the end."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 8, 3, stride=2), nn.Linear(8, classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.conv(x).relu().permute(0, 2, 3, 1)).mean((1, 2))


@foreign(dense="bmm")
class BilinearPool(Net):
    """Outer products of the channels, summed over positions."""

    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 5, 3)

    def body(self, x):
        x = self.conv(x).relu().flatten(2)
        return F.normalize(torch.bmm(x, x.transpose(1, 2)).flatten(1))


@foreign(dense="cdist")
class Prototypes(Net):
    """Negative distances to prototypes."""

    def parts(self, channels, canvas):
        self.conv, self.prototypes = nn.Conv2d(channels, 6, 4, stride=4), nn.Parameter(torch.randn(7, 54) * 0.3)

    def body(self, x):
        return -torch.cdist(self.conv(x).flatten(1), self.prototypes)


@foreign(dense="mixes positions")
class Cosine(Net):
    """Angles between features and directions."""

    def parts(self, channels, canvas):
        self.conv, self.directions = nn.Conv2d(channels, 6, 4, stride=4), nn.Linear(54, 9, bias=False)

    def body(self, x):
        return F.linear(F.normalize(self.conv(x).flatten(1)), F.normalize(self.directions.weight))


@foreign(dense="indexes positions")
class Thresholds(Net):
    """A forest of comparisons."""

    def parts(self, channels, canvas):
        self.pixels = torch.randint(0, canvas[0] * canvas[1], (24, 2))

    def body(self, x):
        x = x.flatten(1)
        return torch.where(x[:, self.pixels[:, 0]] > x[:, self.pixels[:, 1]], 1.0, -1.0)


@foreign(dense="floor_divide")
class GrayLevels(Net):
    """An embedding of the stored gray levels."""

    def parts(self, channels, canvas):
        self.table = nn.Embedding(8, 3)

    def body(self, x):
        return self.table((x * 255).round().long() // 32).flatten(1)


@foreign(dense="between positions")
class CenteredByMass(Net):
    """Moves each image's center of mass to the middle first."""

    def body(self, x):
        height, width = x.shape[2:]
        rows, columns = torch.arange(height), torch.arange(width)
        mass = x.sum((1, 2, 3)).clamp_min(1e-6)
        dy = ((x.sum((1, 3)) * rows).sum(1) / mass).round().long() - height // 2
        dx = ((x.sum((1, 2)) * columns).sum(1) / mass).round().long() - width // 2
        y, x_ = (rows + dy[:, None]) % height, (columns + dx[:, None]) % width
        return x[torch.arange(len(x))[:, None, None], :, y[:, :, None], x_[:, None]].flatten(1)


@foreign(dense="cumsum")
class RunningSums(Net):
    def body(self, x):
        return x.cumsum(2).cumsum(3)[:, :, ::3, ::4].flatten(1).sqrt()


@foreign()
class WeightNorm(Net):
    """Weights are computed from parameters at each call."""

    def parts(self, channels, canvas):
        self.conv = nn.utils.parametrizations.weight_norm(nn.Conv2d(channels, 6, 3, stride=2))
        self.other = nn.utils.parametrizations.spectral_norm(nn.Conv2d(6, 6, 2))

    def body(self, x):
        return self.other(self.conv(x).relu()).flatten(1)


@foreign(dense="mixes the images of a batch")
class DynamicFilters(Net):
    """Each image has its own filters; the batch becomes the groups of one convolution."""

    def parts(self, channels, canvas):
        self.make = nn.Linear(channels * canvas[0] * canvas[1], 4 * channels * 9)

    def body(self, x):
        filters = self.make(x.flatten(1)).view(-1, x.shape[1], 3, 3)
        maps = F.conv2d(x.reshape(1, -1, *x.shape[2:]), filters, groups=len(x), stride=2)
        return maps.view(len(x), -1)


@foreign(dense="conv3d")
class Conv3d(Net):
    """Five-dimensional weights."""

    def parts(self, channels, canvas):
        self.conv = nn.Conv3d(1, 6, (channels, 3, 3), stride=(1, 2, 2))

    def body(self, x):
        return self.conv(x[:, None]).relu().flatten(1)


@foreign(dense="conv1d")
class Conv1d(Net):
    """Convolves rows as signals of many channels."""

    def parts(self, channels, canvas):
        self.conv = nn.Conv1d(channels * canvas[0], 8, 3)

    def body(self, x):
        return self.conv(x.flatten(1, 2)).relu().flatten(1)


@foreign()
class Histogram(Net):
    """Soft counts of gray levels: unchanged wherever the image is, on a canvas."""

    def body(self, x):
        levels = torch.linspace(0, 1, 6)
        return (1 - 6 * (x.flatten(1)[:, None] - levels[:, None]).abs()).relu().mean(-1)


@foreign()
class Normalized(Base):
    """Converts pixels to another range itself."""

    def forward(self, x):
        return self.logits(((x * 255 - 127) / 128 + 127 / 128) / 255 * 128)
