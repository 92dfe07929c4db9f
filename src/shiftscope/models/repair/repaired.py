"""A model that was repaired, which knows how, so that a checkpoint can build it again."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from math import prod
from typing import Any, Literal

import torch
from torch import nn

from shiftscope.errors import UsageError, require, unknown
from shiftscope.geometry import MOST_PIXELS
from shiftscope.graph.editable import editable
from shiftscope.graph.strided import Pair, pair
from shiftscope.layers.phase_average import PhaseAverage
from shiftscope.layers.placement_average import PlacementAverage
from shiftscope.layers.recenter import Recenter
from shiftscope.models.adapt import adapt, check_initialized, copy_of, differentiable, without_quirks
from shiftscope.models.forward import evaluating
from shiftscope.models.repair.blur import repair_blur
from shiftscope.models.repair.polyphase import repair_polyphase
from shiftscope.models.repair.shifts import change_under, check_outputs, synthetic_images
from shiftscope.models.repair.stride import alternatives, find_stride, on_meta
from shiftscope.models.repair.torus import CannotRepair
from shiftscope.models.repair.whole import WholeAverage
from shiftscope.models.sizes import LARGEST, check_pixels
from shiftscope.modules import (
    Classifier,
    device_and_dtype,
    in_train_mode,
    says_model_errors,
    set_mode,
    tensors_of,
)
from shiftscope.outputs import OutputType, check_output_type, determine_output_type

How = Literal["blur", "polyphase", "phase-average", "placement-average", "recenter"]
Head = Literal["mean", "keep"]
Samples = torch.Tensor | None
"""Images to measure on."""

METHODS: dict[str, str] = {
    "blur": "strided layers blur before they step: predictions depend less on position",
    "polyphase": "circular padding, and strides that begin at the strongest phase: invariant to circular shifts",
    "phase-average": "mean of the predicted probabilities over all shifts below the total stride: they depend less on "
                     "position; invariant to circular shifts if the network is invariant to shifts by its stride",
    "placement-average": "mean of the predicted probabilities over all placements, for any network: invariant on an "
                         "empty canvas; over all circular shifts: invariant to those",
    "recenter": "the object is moved to the middle first: invariant on an empty canvas",
}
"""The ways to repair, and what each promises."""

AVERAGES = ("phase-average", "placement-average")
"""The ways that average what the model returns."""

NOISES = 4
"""Pictures of noise that show what a model returns."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model was repaired; plain JSON."""

    method: str
    shape: tuple[int, int, int]
    """(C, H, W) of its pictures."""
    head: str = "mean"
    """What becomes of a layer that reads positions ("polyphase"): see `repair`."""
    background: float = 0.0
    """Pixel of an empty canvas ("recenter", and "placement-average" with an image)."""
    image: tuple[int, int] | None = None
    """(h, w) of the images, where "placement-average" leaves out the shifts that cut them."""
    output_type: OutputType | None = field(default=None, compare=False)
    """What the model returns (the averages); None in recipes of release 0.1: determined in the first call."""
    stride: Pair | None = None
    """Total stride down and right ("phase-average"), where it is known."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("way to repair", str(self.method), METHODS)
        shape = tuple(self.shape)
        whole = len(shape) == 3 and all(isinstance(size, int) and size >= 1 for size in shape)
        require(whole and prod(shape) <= LARGEST and prod(shape[1:]) <= MOST_PIXELS, "shape", shape,
                f"three whole numbers: channels, height, width; at most {MOST_PIXELS:,} pixels")
        require(self.head in ("mean", "keep"), "head", self.head, "mean or keep")
        require(isinstance(self.background, float | int) and 0 <= self.background <= 1, "background", self.background,
                "a pixel in [0, 1]")
        if self.output_type is not None:
            check_output_type(self.output_type)
        fits = self.image is None or (len(self.image) == 2 and all(
            isinstance(size, int) and 1 <= size <= room for size, room in zip(self.image, shape[1:], strict=True)))
        require(fits, "image", self.image, f"two whole numbers that fit on {shape[1]} x {shape[2]}")
        self._check_stride()

    def _check_stride(self) -> None:
        """Raise a `UsageError` unless the stride, if there is one, is possible and wanted."""
        if self.stride is None:
            return
        require(self.method == "phase-average", "stride", self.stride, f"left out with {self.method}, which takes none")
        whole = isinstance(self.stride, tuple) and len(self.stride) == 2 and all(
            type(step) is int and 1 <= step <= size for step, size in zip(self.stride, self.shape[1:], strict=True))
        require(whole, "stride", self.stride, "a whole number from 1 to the size of the canvas, or two: down, right")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


class Repaired(nn.Module):
    """A model and how it was repaired, made by `repair`.

    Args:
        net: what computes the answer.
        base: the model that was repaired; not a part of this one.
        recipe: how.
        notes: sentences on what was changed and what is promised.
    """

    base: nn.Module

    def __init__(self, net: nn.Module, base: nn.Module, recipe: Recipe, notes: list[str]):
        super().__init__()
        self.net, self.recipe, self.notes = net, recipe, notes
        self.recipes: tuple[Recipe, ...] = (*getattr(base, "recipes", ()), recipe)
        self.picture = recipe.shape
        self.__dict__["base"] = getattr(base, "base", base)  # not registered: its weights are not this model's

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.picture)
        return self.net(pixels)

    def extra_repr(self) -> str:
        return f"method={self.recipe.method!r}"


@says_model_errors
def repair(model: Classifier, shape: tuple[int, int, int], *, method: How | str, head: Head | str = "mean",
         background: float | None = 0.0, image: tuple[int, int] | None = None,
         stride: int | tuple[int, int] | None = None, output_type: OutputType | None = None,
         samples: torch.Tensor | None = None) -> Repaired:
    """Return a model with the same weights that cares less where the object is, or not at all.

    "blur" and "polyphase" rewrite the model's graph, functions as well as layers, with copies of its weights: see
    `repair_blur` and `repair_polyphase`. The result computes in training what it does in eval mode: without dropout, batch
    norm with its statistics as they are, which suits a short fine-tuning. The other ways put layers around a copy of
    the model, which stays whole. All take pictures of one size.

    Args:
        model: (B, C, H, W) -> (B, K); it stays as it is.
        shape: (C, H, W).
        how: one of `METHODS`.
        head: what becomes of a layer that reads positions, such as a linear one on a flattened map ("polyphase").
            "mean": it is shown the mean over all places, as if it were applied to every shift of its map and the
            results averaged: mostly less accurate before fine-tuning. "keep": it stays, and so does its dependence on
            position.
        background: of an empty canvas, as a pixel in [0, 1] ("recenter", and with `image`); None: it is a texture.
        image: (h, w) of images on an empty canvas: "placement-average" then averages over the placements at which they
            lie whole, for which it has to find them; None: over all circular shifts, whatever lies on the canvas.
        output_type: what the model returns, for the averages: "logits", "probabilities" or "log-probabilities".
            Determined on noise unless given. The average of probabilities is one of probabilities.
        stride: total stride of the model, one number or (down, right) ("phase-average"); None: it is read from the
            graph and measured.
        samples: images (N, C, H, W) in [0, 1], float, on which "phase-average" is measured; None: synthetic ones.

    Raises:
        UsageError: an unknown way; a model without strided layers, or a canvas that its total stride does not divide;
            an operation that cannot be repaired, by name; with an average, a model that does not return one tensor
            (batch, classes). The message names ways that are possible instead.
        TraceError: the model's graph cannot be read.

    Example:
        >>> from shiftscope.models import TwoConvTwoFullNet
        >>> repaired = repair(TwoConvTwoFullNet(canvas=(24, 32)), (1, 24, 32), method="polyphase").double().eval()
        >>> canvas = torch.rand(1, 1, 24, 32, dtype=torch.float64)
        >>> torch.allclose(repaired(canvas), repaired(canvas.roll((5, 11), (2, 3))), atol=1e-12)
        True
    """
    module = differentiable(without_quirks(model))
    check_initialized(module)
    recipe = Recipe(method=method, shape=(shape[0], shape[1], shape[2]), head=head, image=image,
                    background=0.0 if background is None else background,
                    stride=None if stride is None else _as_pair(stride),
                    output_type=output_type or (_output_type(module, shape) if method in AVERAGES else None))
    if background is None:
        require(method != "recenter", "background", "a texture", "one number for recenter, which has to find the object")
    try:
        repaired = repair_again(module, recipe, samples)
    except CannotRepair as error:
        raise UsageError(f"{error}{alternatives(module, recipe, plain=background is not None)}") from error
    if isinstance(repaired.net, PhaseAverage) and not on_meta(module):
        repaired.notes.append(_measured(repaired.net, recipe, samples))
    return repaired


def _as_pair(stride: int | tuple[int, int]) -> Pair:
    steps = stride if isinstance(stride, tuple | list) else (stride, stride)
    whole = len(steps) == 2 and all(type(step) is int for step in steps)
    require(whole, "stride", stride, "a whole number of at least 1, or one for down and one for right")
    return pair(stride)


def repair_again(model: nn.Module, recipe: Recipe, samples: torch.Tensor | None = None) -> Repaired:
    """Return a model repaired as a recipe says, and nothing measured: its weights may yet have to be loaded.

    Raises:
        UsageError, TraceError: see `repair`.
    """
    net, notes = _REPAIRS[recipe.method](model, recipe, samples)
    if isinstance(net, PhaseAverage):
        recipe = replace(recipe, stride=net.stride)
    repaired = Repaired(net, model, recipe, notes)
    set_mode(repaired, train=in_train_mode(model))
    device, dtype = device_and_dtype(model)
    if device.type == "meta" or any(tensor.is_meta for tensor in tensors_of(repaired)):
        return repaired
    one_type = len({tensor.dtype for tensor in tensors_of(model) if tensor.is_floating_point()}) == 1
    return repaired.to(device=device, dtype=dtype if one_type else None)


def _copied(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Return a copy of a model such that it takes any number of pictures, also single ones.

    Raises:
        UsageError: it cannot be copied, or does not take such pictures.
    """
    if on_meta(model):  # nothing can be tried before the weights are there
        return copy_of(model, recipe.shape)
    return copy_of(adapt(model, shape=recipe.shape), recipe.shape)


def _output_type(model: nn.Module, shape: tuple[int, int, int]) -> OutputType | None:
    """Return what a model returns for noise; None where it holds no weights as yet, or cannot be run."""
    if on_meta(model):
        return None
    device, dtype = device_and_dtype(model)
    noise = torch.rand(NOISES, *shape, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    try:
        with evaluating(model):
            return determine_output_type(model(noise))
    except Exception:  # what the model raises is said where it is used
        return None


def _polyphase(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    net = editable(model, recipe.shape)
    notes = repair_polyphase(net, keep_head=recipe.head == "keep")
    return net.module(), notes


def _blur(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    net = editable(model, recipe.shape)
    notes = repair_blur(net)
    return net.module(), notes


def _phase_average(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    (down, right), notes = find_stride(model, recipe, samples)
    _check_outputs(model, recipe)
    average = PhaseAverage(_copied(model, recipe), (down, right), of="probabilities", output_type=recipe.output_type)
    return average, [*notes, f"averages the probabilities at {down} x {right} shifts, at {down * right} times the cost"]


def _measured(average: PhaseAverage, recipe: Recipe, samples: Samples) -> str:
    """Say how much shifts by the stride change the outputs of the network that is averaged: no average removes that."""
    down, right = average.stride
    images = synthetic_images(recipe.shape) if samples is None else samples
    change = change_under(average.model, images, [(down, 0), (0, right)])
    what = f"{len(images)} {'synthetic ' if samples is None else ''}images"
    if not change.spread:
        return f"measured: nothing, for the network has the same outputs for all of {what}"
    return (f"measured on {what}: shifts by the stride change the network's own outputs by up to "
            f"{100 * change.relative:.2g} % of their spread between images; this dependence on position remains")


_BACKGROUND = "made for a constant background of {:g}; on a noisy one the object may be found elsewhere"


def _placement_average(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    _check_outputs(model, recipe)
    if recipe.image is not None:
        whole = WholeAverage(_copied(model, recipe), recipe.image, recipe.shape[1:], background=recipe.background,
                             output_type=recipe.output_type)
        return whole, [f"finds the object and averages the probabilities at the {len(whole.rolls)} placements of an "
                       f"image of {recipe.image[0]} x {recipe.image[1]}",
                       _BACKGROUND.format(recipe.background)]
    count = recipe.shape[1] * recipe.shape[2]
    return PlacementAverage(_copied(model, recipe), of="probabilities", output_type=recipe.output_type), [
        f"averages the probabilities at all {count} circular shifts: in one pass where the dense engine can follow the "
        f"model, else in {count}"]


def _check_outputs(model: nn.Module, recipe: Recipe) -> None:
    if not on_meta(model):
        check_outputs(model, recipe.shape)


def _recenter(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    return nn.Sequential(Recenter(background=recipe.background), _copied(model, recipe)), [
        _BACKGROUND.format(recipe.background)]


_REPAIRS: dict[str, Callable[[nn.Module, Recipe, Samples], tuple[nn.Module, list[str]]]] = {
    "blur": _blur, "polyphase": _polyphase, "phase-average": _phase_average, "placement-average": _placement_average,
    "recenter": _recenter}
