"""Common architectures, small and untrained."""

import torch
import torch.nn.functional as F
from torch import nn

from .registry import foreign, settle


class Net(nn.Module):
    """`body` computes features, `head` is linear; subclasses define `parts` and `body`."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.parts(channels, canvas)
        with torch.no_grad():
            size = self.eval().body(torch.zeros(2, channels, *canvas)).shape[1]
        self.head = nn.Linear(size, classes)
        settle(self, channels, canvas)

    def parts(self, channels, canvas):
        pass

    def forward(self, x):
        return self.head(self.body(x))


@foreign()
class Perceptron(Net):
    def parts(self, channels, canvas):
        self.hidden = nn.Linear(channels * canvas[0] * canvas[1], 20)

    def body(self, x):
        return self.hidden(x.flatten(1)).relu()


@foreign()
class CourseNet(Net):
    """Like the net of many tutorials."""

    def parts(self, channels, canvas):
        self.conv1, self.conv2 = nn.Conv2d(channels, 6, 3), nn.Conv2d(6, 8, 2, groups=2)
        self.drop = nn.Dropout2d(0.3)

    def body(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return F.dropout(F.relu(self.drop(self.conv2(x))).flatten(1), training=self.training)


@foreign()
class ResidualValid(Net):
    """Shortcuts that crop, no padding."""

    def parts(self, channels, canvas):
        self.stem, self.a, self.b = nn.Conv2d(channels, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3, stride=2)
        self.short = nn.Conv2d(6, 6, 1, stride=2)

    def body(self, x):
        x = self.stem(x).relu()
        x = (self.a(x) + x[:, :, 1:-1, 1:-1]).relu()
        return (self.b(x) + self.short(x[:, :, 1:-1, 1:-1])).relu().flatten(1)


@foreign(dense={"canvas": "zero padding", "circular": "border of each window", "crop": "border of each window"})
class ResidualPadded(Net):
    def parts(self, channels, canvas):
        self.stem = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
        self.a, self.b = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)

    def body(self, x):
        x = self.stem(x)
        return F.adaptive_avg_pool2d(x + self.b(self.a(x).relu()), (3, 3)).relu().flatten(1)


@foreign()
class Dense(Net):
    """Each layer reads all earlier ones."""

    def parts(self, channels, canvas):
        self.layers = nn.ModuleList(nn.Conv2d(channels + 4 * k, 4, 3) for k in range(3))

    def body(self, x):
        for layer in self.layers:
            x = torch.cat((x[:, :, 1:-1, 1:-1], layer(x).relu()), 1)
        return F.max_pool2d(x, 3).flatten(1)


@foreign(dense="a value for a whole window")
class SqueezeExcite(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 8, 3, stride=2)
        self.squeeze, self.excite = nn.Linear(8, 3), nn.Linear(3, 8)

    def body(self, x):
        x = self.conv(x).relu()
        gates = torch.sigmoid(self.excite(self.squeeze(x.mean((2, 3))).relu()))
        return (x * gates[:, :, None, None]).flatten(1)


@foreign()
class Depthwise(Net):
    def parts(self, channels, canvas):
        self.body_ = nn.Sequential(nn.Conv2d(channels, 6, 1), nn.ReLU6(), nn.Conv2d(6, 12, 3, stride=2, groups=6),
                                   nn.Hardswish(), nn.Conv2d(12, 4, 1), nn.Flatten())

    def body(self, x):
        return self.body_(x)


@foreign(dense="there is no rule")
class GroupNorms(Net):
    def parts(self, channels, canvas):
        self.conv, self.norm = nn.Conv2d(channels, 8, 3, stride=2), nn.GroupNorm(4, 8)

    def body(self, x):
        return self.norm(self.conv(x)).relu().flatten(1)


@foreign(dense="there is no rule")
class InstanceNorms(Net):
    def parts(self, channels, canvas):
        self.conv, self.norm = nn.Conv2d(channels, 8, 3, stride=2), nn.InstanceNorm2d(8, affine=True)

    def body(self, x):
        return self.norm(self.conv(x)).relu().flatten(1)


@foreign()
class LayerNorms(Net):
    """Over the channels of each pixel."""

    def parts(self, channels, canvas):
        self.conv, self.norm = nn.Conv2d(channels, 8, 3, stride=2), nn.LayerNorm(8)

    def body(self, x):
        return F.gelu(self.norm(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).flatten(1)


@foreign(dense="normalizes over positions")
class LayerNormOfMaps(Net):
    """Over all values of an image."""

    def body(self, x):
        return F.layer_norm(x, x.shape[1:]).flatten(1).tanh()


@foreign()
class BatchNorms(Net):
    def parts(self, channels, canvas):
        self.conv, self.norm = nn.Conv2d(channels, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.norm(torch.randn(8, 8, 4, 4) * 2 + 1)

    def body(self, x):
        return self.norm(self.conv(x)).relu().flatten(1)


@foreign(dense="cat")
class VisionTransformer(Net):
    def parts(self, channels, canvas):
        self.patches = nn.Conv2d(channels, 16, (4, 5), stride=(3, 5))
        self.cls, self.position = (nn.Parameter(torch.randn(1, n, 16)) for n in (1, 13))
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True, norm_first=True)

    def body(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.cls.expand(len(x), -1, -1), tokens), 1) + self.position
        return self.block(tokens)[:, 0]


@foreign(dense="batch axis")
class Attention(Net):
    """Attention over pixels, without positions."""

    def parts(self, channels, canvas):
        self.conv, self.attention = nn.Conv2d(channels, 8, 3, stride=2), nn.MultiheadAttention(8, 2, batch_first=True)

    def body(self, x):
        tokens = self.conv(x).flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens, need_weights=False)[0].amax(1)


@foreign(dense="mixes positions")
class AttentionPool(Net):
    """A softmax over positions inside."""

    def parts(self, channels, canvas):
        self.conv, self.score = nn.Conv2d(channels, 8, 3), nn.Conv2d(channels, 1, 3)

    def body(self, x):
        weights = self.score(x).flatten(2).mul(5).softmax(-1)
        return (self.conv(x).flatten(2) * weights).sum(-1)


@foreign(dense="lstm")
class Lstm(Net):
    """Reads the rows one after the other."""

    def parts(self, channels, canvas):
        self.rnn = nn.LSTM(channels * canvas[1], 12, batch_first=True)

    def body(self, x):
        return self.rnn(x.transpose(1, 2).flatten(2))[0][:, -1]


@foreign(dense="gru")
class GruOverColumns(Net):
    def parts(self, channels, canvas):
        self.rnn = nn.GRU(channels * canvas[0], 10, batch_first=True, bidirectional=True)

    def body(self, x):
        return self.rnn(x.permute(0, 3, 1, 2).flatten(2))[0].mean(1)


@foreign(dense="batch axis")
class Elman(Net):
    def parts(self, channels, canvas):
        self.rnn = nn.RNN(channels * canvas[1], 12, num_layers=2)

    def body(self, x):
        return self.rnn(x.permute(2, 0, 1, 3).flatten(2))[1].transpose(0, 1).flatten(1)


@foreign(dense="reshape")
class Capsules(nn.Module):
    """Routing by agreement, three rounds; lengths of the capsules are the scores."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.conv = nn.Conv2d(channels, 12, 5, stride=3)
        self.weight = nn.Parameter(torch.randn(classes, 36, 4, 6))
        self.classes = classes

    def forward(self, x):
        u = self.conv(x).view(len(x), 3, 4, -1).permute(0, 1, 3, 2).reshape(len(x), -1, 4)
        votes = torch.einsum("bic,kico->bkio", u, self.weight[:, :u.shape[1]])
        routes = votes.new_zeros(votes.shape[:3])
        for _ in range(3):
            s = (routes.softmax(1)[..., None] * votes).sum(2)
            length = s.norm(dim=-1, keepdim=True)
            v = s * length / (1 + length.square())
            routes = routes + (votes * v[:, :, None]).sum(-1)
        return v.norm(dim=-1)


@foreign(dense="glu")
class Gated(Net):
    """A gated linear unit."""

    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 12, 3, stride=2)

    def body(self, x):
        return F.glu(self.conv(x), 1).flatten(1)


@foreign(dense="depend on the pixels")
class Experts(Net):
    """Each image is routed to one of three experts."""

    def parts(self, channels, canvas):
        self.gate = nn.Linear(channels * canvas[0] * canvas[1], 3)
        self.experts = nn.ModuleList(nn.Linear(channels * canvas[0] * canvas[1], 8) for _ in range(3))

    def body(self, x):
        x = x.flatten(1)
        chosen, found = self.gate(x).argmax(1), x.new_zeros(len(x), 8)
        for k, expert in enumerate(self.experts):
            found[chosen == k] = expert(x[chosen == k]).relu()
        return found


@foreign(dense="reshape")
class SpatialTransformer(Net):
    """Predicts an affine map of the image and applies it."""

    def parts(self, channels, canvas):
        self.locate = nn.Linear(channels * canvas[0] * canvas[1], 6)
        self.locate.weight.data.mul_(0.3)
        self.locate.bias.data.copy_(torch.tensor([1.0, 0, 0, 0, 1, 0]))

    def body(self, x):
        grid = F.affine_grid(self.locate(x.flatten(1)).view(-1, 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False).flatten(1).tanh()


@foreign(dense={"canvas": "between positions", "circular": "border of each window", "crop": "border of each window"})
class Deformable(Net):
    """Samples the image at positions predicted by a convolution."""

    def parts(self, channels, canvas):
        self.shift = nn.Conv2d(channels, 2, 3, padding=1)

    def body(self, x):
        grid = F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=True)
        grid = grid + self.shift(x).permute(0, 2, 3, 1)
        return F.grid_sample(x, grid, padding_mode="border", align_corners=True).flatten(1)


@foreign(dense="fft")
class FourierMagnitudes(Net):
    """Invariant to circular shifts up to rounding."""

    def body(self, x):
        return torch.fft.rfft2(x).abs()[..., :5, :5].flatten(1)


@foreign(dense="fft")
class GlobalFilter(Net):
    def parts(self, channels, canvas):
        self.filter = nn.Parameter(torch.randn(canvas[0], canvas[1] // 2 + 1, 2))

    def body(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * torch.view_as_complex(self.filter), s=x.shape[2:]).flatten(1)


@foreign(dense="topk")
class TopKPool(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 8, 3)

    def body(self, x):
        return self.conv(x).flatten(2).topk(4, -1).values.mean(-1)


@foreign(dense="sort")
class SortPool(Net):
    def parts(self, channels, canvas):
        self.conv = nn.Conv2d(channels, 4, 3)

    def body(self, x):
        return self.conv(x).flatten(2).sort(-1, descending=True).values[..., ::20].flatten(1)
