"""Models that change their output after the last layer, and outputs at the limits of their dtype."""

import torch
import torch.nn.functional as F
from torch import nn

from .registry import Base, foreign


@foreign()
class Logits(Base):
    pass


@foreign()
class LogSoftmax(Base):
    def forward(self, x):
        return F.log_softmax(self.logits(x), dim=1)


@foreign()
class Softmax(Base):
    def forward(self, x):
        return self.logits(x).softmax(-1)


@foreign()
class PriorInPlace(Base):
    """Multiplies the softmax output by a prior, in place."""

    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("prior", torch.tensor([0.02, 0.08, 0.2, 0.3, 0.4]))

    def forward(self, x):
        p = F.softmax(self.logits(x), dim=1)
        p *= self.prior
        return p


@foreign()
class PriorOutOfPlace(PriorInPlace):
    def forward(self, x):
        p = F.softmax(self.logits(x), dim=1) * self.prior
        return p / p.sum(1, keepdim=True)


@foreign(dense="select_scatter")
class PriorBySlices(Base):
    """Two assignments to columns of the log-softmax."""

    def forward(self, x):
        p = F.log_softmax(self.logits(x), dim=1)
        p[:, 0] -= 3
        p[:, 1:3].add_(1.5)
        return p


@foreign()
class Permuted(Base):
    """Classes in another order than those of the head."""

    def forward(self, x):
        return self.logits(x).softmax(1)[:, [3, 0, 4, 1, 2]]


@foreign(dense="flip")
class SwappedInPlace(Base):
    def forward(self, x):
        p = torch.softmax(self.logits(x), 1)
        p[:, :2] = p[:, :2].flip(1)
        return p


@foreign()
class Temperature(Base):
    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("temperature", torch.tensor(3.0))

    def forward(self, x):
        return F.softmax(self.logits(x) / self.temperature, 1)


@foreign()
class TwoHeads(Base):
    """Probabilities of two heads averaged: the last softmax is not the output."""

    def __init__(self, *args):
        super().__init__(*args)
        self.other = nn.Linear(self.head.in_features, self.head.out_features)

    def forward(self, x):
        features = self.features(x)
        return (self.head(features).softmax(1) + self.other(features).softmax(1)) / 2


@foreign()
class ReusedSoftmax(Base):
    """A softmax inside the model; the output is a function of it."""

    def forward(self, x):
        p = self.logits(x).softmax(1)
        return (p - p.mean(1, keepdim=True)).tanh()


@foreign(dense="masked_fill")
class MaskedLogits(Base):
    """Class 1 is impossible: minus infinity is a valid output."""

    def forward(self, x):
        z = self.logits(x)
        return z.masked_fill(torch.arange(z.shape[1]) == 1, -torch.inf)


@foreign(dense="full_like")
class MaskedByPicture(Base):
    """The impossible class depends on the image."""

    def forward(self, x):
        z = self.logits(x)
        return torch.where(z < z.mean(1, keepdim=True), torch.full_like(z, -torch.inf), z)


@foreign(dense="?rounding")
class LogOfUnderflow(Base):
    """log of a softmax that underflows to 0: minus infinity for the other classes."""

    def forward(self, x):
        return F.softmax(200 * self.logits(x), dim=1).log()


@foreign(dense="?rounding", near=0.4, tolerance=1e-6)
class SaturatedSoftmax(Base):
    def forward(self, x):
        return F.softmax(200 * self.logits(x), dim=1)


@foreign(dense="?rounding", near=0.9, tolerance=1e-6)
class SaturatedSigmoid(Base):
    """Several classes reach 1.0."""

    def forward(self, x):
        return torch.sigmoid(15 * self.logits(x))


@foreign(dense="?rounding", near=0.9, tolerance=1e-6)
class SaturatedTanh(Base):
    def forward(self, x):
        return torch.tanh(8 * self.logits(x))


@foreign(exact=True, near=0.9)
class HardTanh(Base):
    """Exact ties at 1: the first maximum counts."""

    def forward(self, x):
        return F.hardtanh(self.logits(x))


@foreign(exact=True, near=1.0)
class EndsInRelu(Base):
    """All scores are zero for many images."""

    def forward(self, x):
        return (self.logits(x) - 2).relu()


@foreign(exact=True, near=0.9)
class Quantized(Base):
    """Scores in steps of 1; double precision, so that no value is close to the middle between two steps."""

    def __init__(self, *args):
        super().__init__(*args)
        self.double()

    def forward(self, x):
        return self.logits(x.double()).round()


@foreign(dense="new_zeros", exact=True, near=1.0, varies=False)
class AllTies(nn.Module):
    """Ten equal outputs: class 0."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.classes = classes

    def forward(self, x):
        return x.new_zeros(len(x), self.classes) + 0 * x.mean((1, 2, 3))[:, None]


@foreign(exact=True, near=1.0, varies=False, dense="must return a tensor that depends on its input")
class Constant(nn.Module):
    """Ignores the image; the last two classes tie."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.register_buffer("scores", torch.tensor([0.0, 1, 2, 3, 3]))

    def forward(self, x):
        return self.scores.expand(len(x), -1)


@foreign(dense="argmax", exact=True, near=1.0)
class OneHot(Base):
    """The winner gets 1, all others 0."""

    def forward(self, x):
        return F.one_hot(self.logits(x).argmax(1), self.head.out_features).float()


@foreign(dense="between positions", exact=True, near=1.0)
class IntegerVotes(Base):
    """int64 counts of votes."""

    def forward(self, x):
        return (self.logits(x)[:, None] > torch.linspace(-2, 2, 4)[:, None]).sum(1)


@foreign(dense="copy")
class NanForSome(Base):
    """The logarithm of a negative number for some images."""

    def forward(self, x):
        z = self.logits(x)
        z[:, 2] = (z[:, 2] + 1).log()
        return z


@foreign(dense="masked_fill")
class InfinityForSome(Base):
    """An infinite maximum is not a prediction."""

    def forward(self, x):
        z = self.logits(x)
        return z.masked_fill(z > 2, torch.inf)


@foreign(near=0.1)
class LargeLogits(Base):
    def forward(self, x):
        return 1e6 * self.logits(x) + 1e7


@foreign()
class TinyOutputs(Base):
    """Differences far below any absolute tolerance."""

    def forward(self, x):
        return 1e-8 * self.logits(x)


@foreign(near=0.05)
class Centered(Base):
    """Scores relative to the mean of the classes, negative distances at the end."""

    def forward(self, x):
        z = self.logits(x)
        return -(z - 1).square()


@foreign()
class HookOnTheModel(nn.Module):
    """A forward hook weighs errors by their cost, in place on the final softmax."""

    def __init__(self, *args):
        super().__init__()
        self.net = LogSoftmax(*args)
        self.register_buffer("cost", torch.tensor([4.0, 1.0, 0.5, 1.0, 2.0]))
        self.register_forward_hook(self.weigh)

    @staticmethod
    def weigh(module, inputs, output):
        output += module.cost.log()

    def forward(self, x):
        return self.net(x)


@foreign(dense="rounding")
class OtherMemory(Base):
    """The softmax output is overwritten by another tensor with regrouped classes."""

    def forward(self, x):
        p = self.logits(x).softmax(1)
        p.data = torch.cat((p[:, 3:], p[:, :3] * 1.25), 1)
        return p


@foreign(dense="numpy")
class ThroughNumpy(Base):
    """NumPy overwrites the softmax output; no function of torch is called."""

    def forward(self, x):
        p = F.softmax(self.logits(x), 1)
        numbers = p.detach().numpy()
        unsure = numbers.max(1) < 0.6
        numbers[unsure, -1] = 1  # uncertain predictions are rejected
        return p
