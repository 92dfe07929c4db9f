"""Repaired models, and the recipe by which a checkpoint can repair the model again."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch
from torch import nn

from shiftscope.errors import ShiftscopeError, UsageError, require, unknown
from shiftscope.geometry import MOST_PIXELS
from shiftscope.graph.editable import editable
from shiftscope.graph.sampling import Pair, pair
from shiftscope.layers import PhaseAverage, PlacementAverage, Recenter
from shiftscope.layers.averaging import WholeAverage
from shiftscope.models.adapt import adapt, check_initialized, copy_model, without_convention, without_inference_tensors
from shiftscope.models.forward import check_pixels, evaluating, within_limits
from shiftscope.models.repair.blur import repair_blur
from shiftscope.models.repair.polyphase import repair_polyphase
from shiftscope.models.repair.strides import (
    CannotRepair,
    check_outputs,
    find_stride,
    relative_change,
    synthetic_images,
)
from shiftscope.modules import (
    Classifier,
    device_and_dtype,
    in_train_mode,
    is_on_meta,
    reports_model_errors,
    set_mode,
    tensors_of,
)
from shiftscope.outputs import OutputType, check_output_type, determine_output_type

How = Literal["blur", "polyphase", "phase-average", "placement-average", "recenter"]
Head = Literal["mean", "keep"]
Samples = torch.Tensor | None

METHODS: dict[str, str] = {
    "blur": "strided layers blur before subsampling: predictions depend less on position",
    "polyphase": "circular padding, and strides that begin at the strongest phase: invariant to circular shifts",
    "phase-average": "mean of the predicted probabilities over all shifts below the total stride: they depend less on "
                     "position; invariant to circular shifts if the network is invariant to shifts by its stride",
    "placement-average": "mean of the predicted probabilities over all placements, for any network: invariant on an "
                         "empty canvas; over all circular shifts: invariant to those",
    "recenter": "the object is moved to the middle first: invariant on an empty canvas",
}
"""The repair methods, and what each guarantees."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model was repaired; plain JSON."""

    method: str
    shape: tuple[int, int, int]
    """(C, H, W) of its input."""
    head: str = "mean"
    """How layers that read positions are repaired ("polyphase"), see `repair`."""
    background: float = 0.0
    """Pixel value of an empty canvas ("recenter", and "placement-average" with an image)."""
    image: tuple[int, int] | None = None
    """(h, w) of the images, if "placement-average" leaves out the shifts that split them."""
    output_type: OutputType | None = field(default=None, compare=False)
    """Output type of the model (averages); None in recipes of release 0.1: determined in the first call."""
    stride: Pair | None = None
    """Total stride down and right ("phase-average"), if known."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("repair method", str(self.method), METHODS)
        shape = tuple(self.shape)
        valid = len(shape) == 3 and all(isinstance(size, int) for size in shape) and within_limits(shape)
        require(valid, "shape", shape,
                f"three positive integers: channels, height, width; at most {MOST_PIXELS:,} pixels")
        require(self.head in ("mean", "keep"), "head", self.head, "mean or keep")
        require(isinstance(self.background, float | int) and 0 <= self.background <= 1, "background", self.background,
                "a pixel value in [0, 1]")
        if self.output_type is not None:
            check_output_type(self.output_type)
        require(self.image is None or _fit(self.image, shape[1:]), "image", self.image,
                f"two positive integers that fit on {shape[1]} x {shape[2]}")
        if self.stride is not None:
            require(self.method == "phase-average", "stride", self.stride,
                    f"left out with {self.method}, which does not use it")
            require(_fit(self.stride, shape[1:]), "stride", self.stride,
                    "an integer from 1 to the size of the canvas, or two: down, right")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


def _fit(sizes: Any, canvas: tuple[int, ...]) -> bool:
    return isinstance(sizes, tuple | list) and len(sizes) == 2 and all(
        type(size) is int and 1 <= size <= most for size, most in zip(sizes, canvas, strict=True))


class Repaired(nn.Module):
    """A model and how it was repaired, made by `repair`.

    Args:
        net: computes the output.
        base: the original model; not a submodule.
        recipe: how it was repaired.
        notes: sentences on what was changed and what is guaranteed.
    """

    base: nn.Module

    def __init__(self, net: nn.Module, base: nn.Module, recipe: Recipe, notes: list[str]):
        super().__init__()
        self.net, self.recipe, self.notes = net, recipe, notes
        self.recipes: tuple[Recipe, ...] = (*getattr(base, "recipes", ()), recipe)
        self.input_shape = recipe.shape
        self.__dict__["base"] = getattr(base, "base", base)  # not registered: its weights are not this model's

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.input_shape)
        return self.net(pixels)

    def extra_repr(self) -> str:
        return f"method={self.recipe.method!r}"


@reports_model_errors
def repair(model: Classifier, shape: tuple[int, int, int], *, method: How | str, head: Head | str = "mean",
           background: float | None = 0.0, image: tuple[int, int] | None = None,
           stride: int | tuple[int, int] | None = None, output_type: OutputType | None = None,
           samples: torch.Tensor | None = None) -> Repaired:
    """Return a model with the same weights that is less sensitive to position, or translation-invariant.

    "blur" and "polyphase" rewrite the model's graph, functions as well as layers, with copies of its weights. In
    training the result computes the same as in eval mode, without dropout and with fixed batch norm statistics, which
    suits a short fine-tuning. The other methods add layers around a copy of the whole model. The input size is fixed.

    Args:
        model: (B, C, H, W) -> (B, K); not changed.
        shape: (C, H, W).
        method: one of `METHODS`.
        head: how layers that read positions, such as a linear layer on a flattened map, are repaired ("polyphase").
            "mean": their input is replaced by its mean over all positions, as if they were applied to every shift of
            the map and the results averaged; mostly less accurate before fine-tuning. "keep": no change, so that
            predictions still depend on position.
        background: pixel value in [0, 1] of an empty canvas ("recenter", and with `image`); None: a texture.
        image: (h, w) of images on an empty canvas: "placement-average" then averages over the placements at which they
            are fully visible, and locates the object for it; None: over all circular shifts.
        output_type: of the model, for the averages: "logits", "probabilities" or "log-probabilities". Determined on
            noise unless given. Averages of probabilities are returned as probabilities.
        stride: total stride of the model, one number or (down, right) ("phase-average"); None: read from the graph and
            measured.
        samples: images (N, C, H, W) in [0, 1], float, to measure "phase-average" on; None: synthetic ones.

    Raises:
        UsageError: if the method is unknown; the model has no strided layers, or its total stride does not divide the
            canvas; an operation, which is named, cannot be repaired; or, with an average, the model does not return one
            tensor (batch, classes). The message names possible alternatives.
        TraceError: if the model's graph cannot be read.

    Example:
        >>> from shiftscope.models import TwoConvTwoFullNet
        >>> repaired = repair(TwoConvTwoFullNet(canvas=(24, 32)), (1, 24, 32), method="polyphase").double().eval()
        >>> canvas = torch.rand(1, 1, 24, 32, dtype=torch.float64)
        >>> torch.allclose(repaired(canvas), repaired(canvas.roll((5, 11), (2, 3))), atol=1e-12)
        True
    """
    module = without_inference_tensors(without_convention(model))
    check_initialized(module)
    if method in ("phase-average", "placement-average"):
        output_type = output_type or _output_type(module, shape)
    recipe = Recipe(method=method, shape=(shape[0], shape[1], shape[2]), head=head, image=image,
                    background=0.0 if background is None else background,
                    stride=None if stride is None else _as_pair(stride), output_type=output_type)
    if background is None:
        require(method != "recenter", "background", "a texture", "one number for recenter, which locates the object")
    try:
        repaired = apply_recipe(module, recipe, samples)
    except CannotRepair as error:
        raise UsageError(f"{error}{_alternatives(module, recipe, plain=background is not None)}") from error
    if isinstance(repaired.net, PhaseAverage) and not is_on_meta(module):
        repaired.notes.append(_remaining_change(repaired.net, recipe, samples))
    return repaired


def _as_pair(stride: int | tuple[int, int]) -> Pair:
    steps = stride if isinstance(stride, tuple | list) else (stride, stride)
    valid = len(steps) == 2 and all(type(step) is int for step in steps)
    require(valid, "stride", stride, "a positive integer, or one for down and one for right")
    return pair(stride)


def _output_type(model: nn.Module, shape: tuple[int, int, int]) -> OutputType | None:
    """Return the output type of a model for noise; None if it has no weights yet, or raises."""
    if is_on_meta(model):
        return None
    device, dtype = device_and_dtype(model)
    noise = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)).to(device, dtype)
    try:
        with evaluating(model):
            return determine_output_type(model(noise))
    except Exception:  # reported where the model is used
        return None


def _alternatives(model: nn.Module, recipe: Recipe, *, plain: bool) -> str:
    """Return the end of a message that names possible methods that do not rewrite the network; "" if there are none.

    Args:
        recipe: of the method that is not possible.
        plain: the background is one color, which "recenter" needs.
    """
    names = ["recenter"] * plain
    with suppress(ShiftscopeError):
        check_outputs(model, recipe.shape)
        names.append("placement-average")
        if recipe.method != "phase-average":
            find_stride(model, recipe.shape)
            names = ["phase-average", "placement-average", *names[:plain]]
    if not names:
        return ""
    return f"; choose --method {' or '.join(part for part in (', '.join(names[:-1]), names[-1]) if part)}"


def _remaining_change(average: PhaseAverage, recipe: Recipe, samples: Samples) -> str:
    """Return a note on how much shifts by the stride change the network that is averaged; no average removes that."""
    down, right = average.stride
    images = synthetic_images(recipe.shape) if samples is None else samples
    change = relative_change(average.model, images, [(down, 0), (0, right)])
    on = f"{len(images)} {'synthetic ' if samples is None else ''}images"
    if change is None:
        return f"measured on {on}: nothing, because the network has the same outputs for all of them"
    return (f"measured on {on}: shifts by the stride change the network's own outputs by up to {100 * change:.2g} % of "
            "their spread between images; this dependence on position remains")


# ---------------------------------------------------------------------- the methods

def apply_recipe(model: nn.Module, recipe: Recipe, samples: torch.Tensor | None = None) -> Repaired:
    """Return a model repaired by a recipe, without measurements: its weights may be loaded later.

    Raises:
        UsageError, TraceError: see `repair`.
    """
    net, notes = _REPAIRS[recipe.method](model, recipe, samples)
    if isinstance(net, PhaseAverage):
        recipe = replace(recipe, stride=net.stride)
    repaired = Repaired(net, model, recipe, notes)
    set_mode(repaired, train=in_train_mode(model))
    device, dtype = device_and_dtype(model)
    if device.type == "meta" or is_on_meta(repaired):
        return repaired
    one_type = len({tensor.dtype for tensor in tensors_of(model) if tensor.is_floating_point()}) == 1
    return repaired.to(device=device, dtype=dtype if one_type else None)


def _copy(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Return a copy of a model that takes any number of images.

    Raises:
        UsageError: if the model cannot be copied, or does not take such images.
    """
    if is_on_meta(model):  # cannot be tried without weights
        return copy_model(model, recipe.shape)
    return copy_model(adapt(model, shape=recipe.shape), recipe.shape)


def _polyphase(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    net = editable(model, recipe.shape)
    notes = repair_polyphase(net, keep_head=recipe.head == "keep")
    return net.module(), notes


def _blur(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    net = editable(model, recipe.shape)
    notes = repair_blur(net)
    return net.module(), notes


def _phase_average(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    (down, right), notes = find_stride(model, recipe.shape, stride=recipe.stride, samples=samples)
    _check_outputs(model, recipe)
    average = PhaseAverage(_copy(model, recipe), (down, right), output_type=recipe.output_type)
    return average, [*notes, f"averages the probabilities at {down} x {right} shifts, at {down * right} times the cost"]


def _placement_average(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    _check_outputs(model, recipe)
    (height, width), image = recipe.shape[1:], recipe.image
    if image is None:
        average = PlacementAverage(_copy(model, recipe), output_type=recipe.output_type)
        return average, [f"averages the probabilities at all {height * width} circular shifts: in one pass if the "
                         f"dense engine supports the model, else in {height * width}"]
    average = WholeAverage(_copy(model, recipe), image, (height, width), background=recipe.background,
                           output_type=recipe.output_type)
    return average, [f"locates the object and averages the probabilities at the {len(average.shifts)} placements of "
                     f"an image of {image[0]} x {image[1]}", _BACKGROUND.format(recipe.background)]


def _check_outputs(model: nn.Module, recipe: Recipe) -> None:
    if not is_on_meta(model):
        check_outputs(model, recipe.shape)


def _recenter(model: nn.Module, recipe: Recipe, samples: Samples) -> tuple[nn.Module, list[str]]:
    return nn.Sequential(Recenter(background=recipe.background), _copy(model, recipe)), [
        _BACKGROUND.format(recipe.background)]


_BACKGROUND = "made for a constant background of {:g}; on a noisy one the object may be located elsewhere"

_REPAIRS: dict[str, Callable[[nn.Module, Recipe, Samples], tuple[nn.Module, list[str]]]] = {
    "blur": _blur, "polyphase": _polyphase, "phase-average": _phase_average, "placement-average": _placement_average,
    "recenter": _recenter}
