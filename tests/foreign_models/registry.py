"""The table of foreign models."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CANVAS, IMAGE, CLASSES = (13, 15), (9, 8), 5
"""Default sizes. Nothing is square, and odd and even sizes occur."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Foreign:
    """One model, and the expected properties of its audit.

    Args:
        name: unique.
        make: returns the model for (channels, canvas, classes).
        dense: pattern of the reason if the dense engine refuses it, "" if it must not refuse it; a dictionary if
            that depends on the mode. With a leading "?" rounding decides.
        kind: "plain": the output is a function of the image; "batch": of the batch it is in; "changing": of more
            than that, so each call may differ.
        exact: sums are exact or ties come from a clamp, so that exact ties are compared too.
        tolerance: margins up to this fraction of the largest output may depend on rounding.
        near: largest fraction of predictions with so small a margin.
        varies: more than one class is predicted.
        audit: further arguments of `audit` and `evaluate`.
    """

    name: str
    make: Callable[[int, tuple[int, int], int], Any]
    dense: str | dict[str, str] = ""
    kind: str = "plain"
    channels: int = 1
    image: tuple[int, int] = IMAGE
    canvas: tuple[int, int] = CANVAS
    classes: int = CLASSES
    dtype: torch.dtype = torch.float32
    exact: bool = False
    tolerance: float = 2e-5
    near: float = 0.01
    varies: bool = True

    def build(self) -> Any:
        """Return the model, with the same weights each time; the global generator is not changed."""
        with torch.random.fork_rng():
            torch.manual_seed(zlib.crc32(self.name.encode()))
            return self.make(self.channels, self.canvas, self.classes)

    def refusal(self, mode: str) -> str:
        """Return the pattern of the reason for which the dense engine refuses the model in a mode."""
        return self.dense if isinstance(self.dense, str) else self.dense.get(mode, "")


REGISTRY: dict[str, Foreign] = {}


def foreign(**expected: Any) -> Callable[[Any], Any]:
    """Register a class or function that builds a model, under its name."""

    def enter(make: Any) -> Any:
        name = make.__name__
        words = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).strip("_")
        assert words not in REGISTRY, words
        REGISTRY[words] = Foreign(name=words, make=make, **expected)
        return make

    return enter


class Base(nn.Module):
    """A small convnet whose logits vary with image and placement; subclasses change what comes before or after."""

    def __init__(self, channels: int = 1, canvas: tuple[int, int] = CANVAS, classes: int = CLASSES):
        super().__init__()
        shape = self.before(torch.zeros(2, channels, *canvas)).shape
        self.conv = nn.Conv2d(shape[1], 6, 3)
        self.head = nn.Linear(6 * ((shape[2] - 2) // 2) * ((shape[3] - 2) // 2), classes)
        settle(self, channels, canvas, run=lambda x: Base.logits(self, x))

    def before(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(self.conv(self.before(x)).relu(), 2).flatten(1)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits(x)


def samples(channels: int, canvas: tuple[int, int], count: int = 48) -> torch.Tensor:
    """Return images like those that are audited, pixels in [0, 1]."""
    pictures = torch.zeros(count, channels, *canvas)
    for picture in pictures:
        top, left = (int(torch.randint(0, max(1, size // 3), ())) for size in canvas)
        inside = picture[:, top:top + 2 * canvas[0] // 3, left:left + 2 * canvas[1] // 3]
        inside.copy_(torch.rand(()) * torch.rand_like(inside))
    return pictures


@torch.no_grad()
def settle(model: nn.Module, channels: int, canvas: tuple[int, int], *, head: nn.Linear | None = None,
           run: Callable[[torch.Tensor], Any] | None = None) -> nn.Module:
    """Shift and scale the head's outputs, so that an untrained network predicts every class."""
    head, kept = head or model.head, []
    training = model.training
    hook = head.register_forward_hook(lambda module, inputs, output: kept.append(output.flatten(0, -2)))
    model.eval()
    (run or model)(samples(channels, canvas))
    model.train(training)
    hook.remove()
    mean, spread = kept[-1].mean(0), kept[-1].std(0).clamp_min(1e-6)
    head.weight.mul_(2 / spread[:, None])
    head.bias.copy_((head.bias - mean) * 2 / spread)
    return model
