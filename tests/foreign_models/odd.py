"""Models that are not plain float32 modules: wrapped, compiled, converted, in other dtypes, with side effects."""

import functools
import threading

import torch
import torch.nn.functional as F
from torch import nn

from .registry import Base, foreign, settle


@foreign()
def compiled(*args):
    return torch.compile(Base(*args), backend="eager")


@foreign()
def compiled_in_place(*args):
    model = Base(*args)
    model.compile(backend="eager")
    return model


@foreign(dense="TorchScript")
def scripted(*args):
    return torch.jit.script(Base(*args).eval())


@foreign(dense="TorchScript")
def traced(channels, canvas, classes):
    return torch.jit.trace(Base(channels, canvas, classes).eval(), torch.zeros(2, channels, *canvas))


@foreign(dense="TorchScript")
def frozen(*args):
    return torch.jit.freeze(torch.jit.script(Base(*args).eval()))


@foreign()
def exported(channels, canvas, classes):
    sizes = ({0: torch.export.Dim.DYNAMIC},)
    example = torch.zeros(3, channels, *canvas)
    return torch.export.export(Base(channels, canvas, classes).eval(), (example,), dynamic_shapes=sizes).module()


@foreign()
def symbolically_traced(*args):
    return torch.fx.symbolic_trace(Base(*args))


@foreign()
def data_parallel(*args):
    return nn.DataParallel(Base(*args))


@foreign()
def function(*args):
    model = Base(*args).eval()

    def classify(pixels):
        return model(pixels)

    return classify


@foreign(dense="cat")
def lambda_over_batches(*args):
    model = Base(*args).eval()
    return lambda pixels: torch.cat([model(part) for part in pixels.split(7)])


@foreign()
def bound_method(*args):
    return Base(*args).eval().logits


@foreign()
def partial(*args):
    model = Base(*args).eval()
    return functools.partial(lambda scale, pixels: scale * model(pixels), -1.0)


class Callable:
    def __init__(self, *args):
        self.net = Base(*args).eval()

    def __call__(self, pixels):
        return self.net(pixels)


@foreign()
def object_with_call(*args):
    return Callable(*args)


@foreign(dense="numpy")
def numpy_function(channels, canvas, classes):
    weight = torch.randn(classes, channels * canvas[0] * canvas[1]).numpy()
    return lambda pixels: torch.from_numpy(pixels.flatten(1).numpy() @ weight.T)


@foreign(kind="batch", dense="batch|cannot be read", near=0.2)
def dynamic_int8(*args):
    return torch.ao.quantization.quantize_dynamic(Base(*args).eval(), {nn.Linear}, dtype=torch.qint8)


@foreign(dense="fake_quantize", near=0.2)
class FakeQuantized(Base):
    """Activations rounded to 64 levels."""

    def features(self, x):
        return torch.fake_quantize_per_tensor_affine(super().features(x), 0.05, 0, 0, 63)


@foreign(dtype=torch.float16, tolerance=0.008, near=0.1)
def half(*args):
    return Base(*args).half()


@foreign(dtype=torch.bfloat16, tolerance=0.06, near=0.5)
def bfloat16(*args):
    return Base(*args).bfloat16()


@foreign(dtype=torch.float64, tolerance=1e-12)
def double(*args):
    return Base(*args).double()


@foreign(dense="?rounding", tolerance=0.06, near=0.5)
class Autocast(Base):
    """Computes in bfloat16 inside, float32 outside."""

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.logits(x).float()


@foreign()
class DoubleFilters(nn.Module):
    """The first parameter is float64, and is cast in `forward`; all else is float32."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.bank = nn.Parameter(torch.randn(4, channels, 3, 3, dtype=torch.float64))
        self.rest = Base(4, (canvas[0] - 2, canvas[1] - 2), classes)

    def forward(self, x):
        return self.rest(F.conv2d(x, self.bank.to(x.dtype)).relu())


@foreign()
class DoubleInside(Base):
    """float32 parameters, but a float64 buffer comes first and the output is float64."""

    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("scale", torch.tensor([1.0, 2, 1, 0.5, 1], dtype=torch.float64))

    def forward(self, x):
        return self.logits(x) * self.scale


@foreign()
class ComplexWeights(nn.Module):
    """Complex filters, magnitudes as features."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.conv = nn.Conv2d(channels, 4, 3, stride=2, dtype=torch.complex64)
        size = self.conv(torch.zeros(1, channels, *canvas, dtype=torch.complex64)).numel()
        self.head = nn.Linear(size, classes)
        settle(self, channels, canvas)

    def forward(self, x):
        return self.head(self.conv(x.to(torch.complex64)).abs().flatten(1))


@foreign()
def lazy(channels, canvas, classes):
    """Lazy modules, called once."""
    model = nn.Sequential(nn.LazyConv2d(6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))
    model(torch.zeros(2, channels, *canvas))
    return settle(model, channels, canvas, head=model[3])


@foreign()
class TupleInTraining(Base):
    """Returns an auxiliary output in train mode."""

    def forward(self, x):
        logits = self.logits(x)
        return (logits, logits * 0) if self.training else logits


@foreign()
class InPlaceFirst(Base):
    """The first operation writes into the input."""

    def forward(self, x):
        x -= 0.25
        return self.logits(x.clamp_(min=0).mul_(2))


@foreign()
class ViewBreaksChannelsLast(Base):
    def forward(self, x):
        x = F.max_pool2d(self.conv(x).relu(), 2)
        return self.head(x.view(x.size(0), -1))


@foreign()
class SqueezeEnding(nn.Module):
    """Ends in .squeeze(): a batch of one loses its axis."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 8, 3), nn.Linear(8, classes)
        settle(self, channels, canvas)

    def forward(self, x):
        x = self.conv(x).relu().mean((2, 3), keepdim=True)
        return self.head(x.flatten(1))[:, :, None, None].squeeze()


@foreign()
class NoBatchOfOne(Base):
    """Raises for a batch of one."""

    def forward(self, x):
        if len(x) == 1:
            raise ValueError("Expected more than 1 value per channel")
        return self.logits(x)


@foreign()
class NoParameters(nn.Module):
    """Fixed templates, no parameter and no buffer."""

    def __init__(self, channels, canvas, classes):
        super().__init__()
        self.templates = torch.randn(channels * canvas[0] * canvas[1], classes)

    def forward(self, x):
        return x.flatten(1) @ self.templates


@foreign()
class InferenceMode(Base):
    """Outputs are inference tensors."""

    @torch.inference_mode()
    def forward(self, x):
        return self.logits(x)


@foreign(dense="mutated")
class SharedBuffer(Base):
    """Every call writes its output into the same memory."""

    def __init__(self, *args):
        super().__init__(*args)
        self.memory = torch.empty(4096, self.head.out_features)

    def forward(self, x):
        found = self.memory[:len(x)]
        found.copy_(self.logits(x))
        return found


@foreign(dense="repeat_interleave")
class Strided(Base):
    """The output is not contiguous."""

    def forward(self, x):
        return self.logits(x).repeat_interleave(2, 1)[:, ::2]


@foreign(dense="batch axis")
class ColumnMajor(Base):
    """The output is in column-major order."""

    def forward(self, x):
        return self.logits(x).t().contiguous().t()


@foreign(dense="cannot be read")
class GradientsOn(Base):
    """Turns gradients on inside."""

    def forward(self, x):
        with torch.enable_grad():
            return self.logits(x)


@foreign(dense="cannot be read")
class GradientInside(Base):
    """Multiplies the image by the gradient of a score: needs gradients in eval mode."""

    def forward(self, x):
        with torch.enable_grad():
            pixels = x.detach().requires_grad_()
            slope, = torch.autograd.grad(self.logits(pixels).square().sum(), pixels)
        return self.logits(x * (1 + slope.sign()))


@foreign()
class KeywordArguments(Base):
    def forward(self, pixels, *, temperature=1.0, return_features=False):
        features = self.features(pixels)
        return features if return_features else self.head(features) / temperature


@foreign()
class HoldsALock(Base):
    """Cannot be copied or pickled."""

    def __init__(self, *args):
        super().__init__(*args)
        self.lock = threading.Lock()

    def forward(self, x):
        return self.logits(x)


@foreign()
class LengthZero(Base):
    """`len(model)` is 0, so that `bool(model)` is False."""

    def __len__(self):
        return 0


@foreign(dense="cannot be read")
class BranchesOnPixels(Base):
    """Python's `if` on the pixels, one image at a time."""

    def forward(self, x):
        return torch.cat([self.logits(one if one.mean() > 0.1 else 2 * one) for one in x.split(1)])
