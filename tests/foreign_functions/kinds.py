"""Models of the kinds that people bring, each small: how one is built, a plain function that computes the same, and
what is refused for it and why."""

import copy
import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrizations, prune

CANVAS, CLASSES = (8, 10), 4
SHAPE = (1, *CANVAS)


class Net(nn.Module):
    """A small convnet with a stride, whose output depends on position."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3, stride=2)
        self.fc = nn.Linear(36, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.conv(x)).flatten(1))


class InPlace(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.sub_(0.3).mul_(2)
        return super().forward(x)


class TupleInTraining(Net):
    def forward(self, x: torch.Tensor) -> Any:
        found = super().forward(x)
        return (found, 2 * found) if self.training else found


class Squeezes(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x)[:, :, None, None].squeeze()


class NoBatchOfOne(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.squeeze()[:, None])


class OneAtATime(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.conv(x)).view(1, 36))


class Optional(Net):
    def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(x) if y is None else y


class KeywordOnly(Net):
    def forward(self, x: torch.Tensor, *, scale: float = 2.0) -> torch.Tensor:
        return super().forward(x) * scale


class WholeNumbers(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (1000 * super().forward(x)).round().long()


class Bank(nn.Module):
    """Filters in float64, cast to the dtype of the pixels, before weights in float32."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bank", torch.rand(3, 1, 3, 3, dtype=torch.float64) - 0.5)
        self.fc = nn.Linear(36, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.conv2d(x, self.bank.to(x.dtype), stride=2).relu().flatten(1))


class Volume(nn.Module):
    """5D weights and 4D weights."""

    def __init__(self):
        super().__init__()
        self.conv, self.conv2 = nn.Conv3d(1, 3, (1, 3, 3), stride=(1, 2, 2)), nn.Conv2d(3, 3, 1)
        self.fc = nn.Linear(36, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv2(self.conv(x[:, None])[:, :, 0].relu()).flatten(1))


class Complex(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, 80, dtype=torch.complex64) / 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.flatten(1).to(self.weight.dtype) @ self.weight.T).abs()


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.LazyConv2d(3, 3, stride=2), nn.LazyLinear(CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.conv(x)).flatten(1))


class Bands(nn.Module):
    """No parameters: the means of four bands of rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.mean((1, 2, 3)) for part in x.tensor_split(CLASSES, 2)], 1)


class OwnCall(Net):
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return super().__call__(x).flip(1)


class Broken(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no such table")


class Tool:
    """A callable object that is not a module."""

    def __init__(self, net: nn.Module):
        self.net = net

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def net(kind: Callable[[], nn.Module] = Net) -> nn.Module:
    """Return a model in eval mode, always with the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = kind().eval()
        for name, weight in model.named_parameters():
            if name == "fc.weight" and not isinstance(weight, UninitializedParameter):
                weight.data *= 8  # outputs differ by more than the rounding of 8 bits
        return model


def bands(x: torch.Tensor) -> torch.Tensor:
    """A plain function."""
    return Bands()(x)


def scaled(factor: float, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return factor * model(x)


# ---------------------------------------------------------------------- builders

def exported(batch: int | None) -> nn.Module:
    sizes = None if batch else ({0: torch.export.Dim("batch")},)
    return torch.export.export(net(), (torch.zeros(batch or 2, *SHAPE),), dynamic_shapes=sizes).module()


def int8() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(net(), {nn.Linear}, torch.qint8)


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return net()


def half_on_meta() -> nn.Module:
    model = net()
    model.fc = model.fc.to("meta")
    return model


def pruned() -> nn.Module:
    model = net()
    prune.l1_unstructured(model.fc, "weight", 0.5)
    return model


def parametrized() -> nn.Module:
    model = net()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        parametrizations.weight_norm(model.conv)
        parametrizations.spectral_norm(model.fc)
    return model.eval()


def functional() -> Callable[[torch.Tensor], torch.Tensor]:
    model = net()
    weights = dict(model.named_parameters())
    return lambda x: torch.func.functional_call(model, weights, (x,))


def mapped() -> Callable[[torch.Tensor], torch.Tensor]:
    model = net()
    return torch.vmap(lambda x: model(x[None])[0])


def double_table() -> Callable[[torch.Tensor], torch.Tensor]:
    table = torch.rand(80, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    return lambda x: x.flatten(1) @ table


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(net())


def traced() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(net(), torch.zeros(2, *SHAPE))


def frozen() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(scripted())


def partly_compiled() -> nn.Module:
    model = nn.Sequential(net(), nn.Identity()).eval()
    model[0].compile(backend="eager")
    return model


@dataclass(frozen=True)
class Kind:
    """A kind of model.

    Args:
        build: makes one anew, with the same weights each time.
        plain: makes a function of pixels that computes the same; None: no such model can be called.
        name: what results call it.
        refused: by function (or "all"), a part of the sentence that says why it is not possible.
        dtype: of the pixels that `plain` takes.
        near: difference of outputs that is put down to rounding, where the dtype does not say it.
    """

    build: Callable[[], Any]
    plain: Callable[[], Callable[[torch.Tensor], torch.Tensor]] | None = net
    name: str = "Net"
    refused: Mapping[str, str] = field(default_factory=dict)
    dtype: torch.dtype = torch.float32
    near: float | None = None

    def reason(self, function: str) -> str | None:
        """Return a part of the message with which a function refuses such a model, None if it does not."""
        return self.refused.get(function, None if function in self.refused.get("but", "") else self.refused.get("all"))


META = {"all": "meta device", "save": "holds no numbers"}
REWRITES = ("repair-blur", "repair-polyphase")
GRAPH = (*REWRITES, "repair-phase-average")
REPAIRS = "repair-placement-average repair-recenter repair-blur repair-polyphase repair-phase-average"
NO_WEIGHTS = {"train": "has no trainable parameters"}
SCRIPT = dict.fromkeys(GRAPH, "it is TorchScript") | {"onnx": "is TorchScript"}
NO_GRADIENT = {"visualize": "does not depend on the image", "attribute": "does not depend on the pixels",
               "train": "have no gradient with respect to its weights"}


def _lambda_of(model: nn.Module) -> Any:
    return lambda x: model(x)


def _own(kind: type[nn.Module], **options: Any) -> Kind:
    return Kind(lambda: net(kind), lambda: net(kind), kind.__name__, **options)


KINDS: dict[str, Kind] = {
    "plain": Kind(net),
    "compiled": Kind(lambda: torch.compile(net(), backend="eager")),
    "partly compiled": Kind(partly_compiled, name="Sequential"),
    "scripted": Kind(scripted, refused=SCRIPT),
    "traced": Kind(traced, refused=SCRIPT),
    "frozen": Kind(frozen, refused=SCRIPT | NO_WEIGHTS),
    "exported": Kind(lambda: exported(None), name="ExportedProgram"),
    "exported for 2": Kind(lambda: exported(2), name="ExportedProgram", refused=dict.fromkeys(REWRITES, "batch")),
    "data parallel": Kind(lambda: nn.DataParallel(net())),
    "function": Kind(lambda: bands, lambda: bands, "bands", refused=NO_WEIGHTS | dict.fromkeys(GRAPH, "bands")),
    "lambda": Kind(lambda: _lambda_of(net()), name="lambda"),
    "partial": Kind(lambda: functools.partial(scaled, 2.0, net()), lambda: functools.partial(scaled, 2.0, net()),
                    "scaled"),
    "method": Kind(lambda: net().forward, name="Net.forward"),
    "object": Kind(lambda: Tool(net()), name="Tool"),
    "functional": Kind(functional, name="lambda"),
    "mapped": Kind(mapped, refused=dict.fromkeys(REWRITES, "batch"), name="lambda"),
    "double table": Kind(double_table, double_table, "lambda", NO_WEIGHTS | dict.fromkeys(GRAPH, "no strided"),
                         torch.float64),
    "on meta": Kind(lambda: net().to("meta"), None, refused=META | {"but": REPAIRS}),
    "half on meta": Kind(half_on_meta, None, refused=META | dict.fromkeys(GRAPH, "meta") | {"but": REPAIRS}),
    "int8": Kind(int8, int8, near=0.1, refused=NO_GRADIENT | {"save": "as in quantized models",
                                                              "onnx": "cannot be written"}
                 | dict.fromkeys(GRAPH, "cannot be read")),
    "half": Kind(lambda: net().half(), lambda: net().half(), dtype=torch.float16),
    "bfloat16": Kind(lambda: net().bfloat16(), lambda: net().bfloat16(), refused={"onnx": "float32, model.float()"},
                     dtype=torch.bfloat16),
    "double": Kind(lambda: net().double(), lambda: net().double(), refused={"onnx": "float32, model.float()"},
                   dtype=torch.float64),
    "bank": _own(Bank),
    "volume": _own(Volume, refused=dict.fromkeys(REWRITES, "Volume")),
    "complex": _own(Complex, refused=dict.fromkeys(GRAPH, "no strided")),
    "lazy": Kind(lambda: net(Lazy), None, "Lazy", refused={"all": "lazy layers",
                                                           "save": "holds no numbers yet", "but": "train"}),
    "tuple in training": _own(TupleInTraining),
    "in place": _own(InPlace),
    "squeezes": _own(Squeezes),
    "no batch of one": _own(NoBatchOfOne),
    "one at a time": _own(OneAtATime, refused=dict.fromkeys(GRAPH, "OneAtATime") | {"onnx": "OneAtATime"}),
    "optional argument": _own(Optional),
    "keyword": _own(KeywordOnly),
    "whole numbers": _own(WholeNumbers, refused=NO_GRADIENT, near=2.0),
    "no parameters": _own(Bands, refused=NO_WEIGHTS | dict.fromkeys(GRAPH, "Bands")),
    "own call": _own(OwnCall),
    "inference mode": Kind(in_inference_mode, refused={"train": "torch.inference_mode"}),
    "parametrized": Kind(parametrized, parametrized),
    "pruned": Kind(pruned, pruned),
    "traced by fx": Kind(lambda: torch.fx.symbolic_trace(net())),
    "broken": Kind(lambda: net(Broken), None, "Broken", refused={"all": "KeyError in forward (tests", "but": "save"}),
    "a class": Kind(lambda: Net, None, refused={"all": "give an instance of it, Net(...)"}),
    "a name": Kind(lambda: "two-full", None, refused={"all": "build or load the model first"}),
}


def copied(kind: Kind) -> Any:
    """Return a copied model: nothing may depend on object identity."""
    return copy.deepcopy(kind.build())
