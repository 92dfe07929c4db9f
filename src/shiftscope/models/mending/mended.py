"""A model that was mended, which knows how, so that a checkpoint can build it again."""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import nn

from shiftscope.errors import require, unknown
from shiftscope.graph.editable import editable
from shiftscope.graph.strided import total_stride
from shiftscope.layers.phase_average import WITHIN, PhaseAverage
from shiftscope.layers.placement_average import PlacementAverage
from shiftscope.layers.recentre import Recentre
from shiftscope.models.mending.blur import mend_blur
from shiftscope.models.mending.polyphase import mend_polyphase
from shiftscope.models.mending.torus import check_canvas
from shiftscope.models.mending.whole import WholeAverage
from shiftscope.models.sizes import check_pixels

How = Literal["blur", "polyphase", "phase-average", "placement-average", "recentre"]
Head = Literal["mean", "keep"]

METHODS: dict[str, str] = {
    "blur": "strided layers blur before they step: changes less, exact nowhere",
    "polyphase": "circular padding, and strides that begin at the strongest phase: exact on a torus",
    "phase-average": "mean of the answers for all shifts by less than the total stride: changes less, and exact for a "
                     "net that is indifferent to shifts by the stride",
    "placement-average": "mean of the answers at all placements, for any net: exact on an empty canvas; over all "
                         "circular shifts: exact on a torus",
    "recentre": "the object is moved to the middle first: exact on an empty canvas",
}
"""The ways to mend, and what each promises."""

LARGEST = 2**26
"""Numbers in one picture, at most: the recipe may come from a file."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model was mended; plain JSON."""

    how: str
    shape: tuple[int, int, int]
    """(C, H, W) of its pictures."""
    head: str = "mean"
    """What becomes of a layer that reads positions ("polyphase"): see `mend`."""
    background: float = 0.0
    """Pixel of an empty canvas ("recentre", and "placement-average" with an image)."""
    image: tuple[int, int] | None = None
    """(h, w) of the images, where "placement-average" leaves out the shifts that cut them."""

    def __post_init__(self) -> None:
        if self.how not in METHODS:
            raise unknown("way to mend", str(self.how), METHODS)
        shape = tuple(self.shape)
        whole = len(shape) == 3 and all(isinstance(size, int) and size >= 1 for size in shape)
        require(whole and shape[0] * shape[1] * shape[2] <= LARGEST, "shape", shape,
                "three whole numbers: channels, height, width")
        require(self.head in ("mean", "keep"), "head", self.head, "mean or keep")
        require(isinstance(self.background, float | int) and 0 <= self.background <= 1, "background", self.background,
                "a pixel in [0, 1]")
        fits = self.image is None or (len(self.image) == 2 and all(
            isinstance(size, int) and 1 <= size <= room for size, room in zip(self.image, shape[1:], strict=True)))
        require(fits, "image", self.image, f"two whole numbers that fit on {shape[1]} x {shape[2]}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return asdict(self)


class Mended(nn.Module):
    """A model and how it was mended, made by `mend`.

    Args:
        net: what computes the answer.
        base: the model that was mended; not a part of this one.
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
        return f"how={self.recipe.how!r}"


def mend(model: nn.Module, shape: tuple[int, int, int], *, how: How | str, head: Head | str = "mean",
         background: float = 0.0, image: tuple[int, int] | None = None) -> Mended:
    """Return a model with the same weights that cares less where the object is, or not at all.

    "blur" and "polyphase" rewrite the model's graph, functions as well as layers, with copies of its weights: see
    `mend_blur` and `mend_polyphase`. The result computes in training what it does in eval mode: without dropout, batch
    norm with its statistics as they are, which suits a short fine-tuning. The other ways put layers around a copy of
    the model, which stays whole. All take pictures of one size.

    Args:
        model: (B, C, H, W) -> (B, K); it stays as it is.
        shape: (C, H, W).
        how: one of `METHODS`.
        head: what becomes of a layer that reads positions, such as a linear one on a flattened map ("polyphase").
            "mean": it is shown the mean over all places, as if it were applied to every shift of its map and the
            results averaged: exact, and mostly less accurate before fine-tuning. "keep": it stays, which is not exact.
        background: of an empty canvas, as a pixel in [0, 1] ("recentre", and with `image`).
        image: (h, w) of images on an empty canvas: "placement-average" then averages over the placements at which they
            lie whole, for which it has to find them; None: over all circular shifts, whatever lies on the canvas.

    Raises:
        UsageError: an unknown way; a model without strided layers, or a canvas that its total stride does not divide;
            an operation that cannot be mended, by name.
        TraceError: the model's graph cannot be read.

    Example:
        >>> from shiftscope.models import TwoConvTwoFullNet
        >>> mended = mend(TwoConvTwoFullNet(canvas=(24, 32)), (1, 24, 32), how="polyphase").double().eval()
        >>> canvas = torch.rand(1, 1, 24, 32, dtype=torch.float64)
        >>> torch.allclose(mended(canvas), mended(canvas.roll((5, 11), (2, 3))), atol=1e-12)
        True
    """
    recipe = Recipe(how=how, shape=(shape[0], shape[1], shape[2]), head=head, background=background, image=image)
    net, notes = _MENDS[how](model, recipe)
    mended = Mended(net, model, recipe, notes).train(model.training)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point() and not tensor.is_meta:
            return mended.to(device=tensor.device, dtype=tensor.dtype)
    return mended


def _polyphase(model: nn.Module, recipe: Recipe) -> tuple[nn.Module, list[str]]:
    net = editable(model, recipe.shape)
    notes = mend_polyphase(net, keep_head=recipe.head == "keep")
    return net.module(), notes


def _blur(model: nn.Module, recipe: Recipe) -> tuple[nn.Module, list[str]]:
    net = editable(model, recipe.shape)
    notes = mend_blur(net)
    return net.module(), notes


def _phase_average(model: nn.Module, recipe: Recipe) -> tuple[nn.Module, list[str]]:
    stride = total_stride(editable(model, recipe.shape))
    check_canvas(type(model).__name__, recipe.shape, stride)
    average = PhaseAverage(copy.deepcopy(model), stride, of="probabilities")
    note = f"averages the probabilities at {stride} x {stride} shifts, at {stride * stride} times the cost"
    if any(value.is_meta for value in (*model.parameters(), *model.buffers())):
        return average, [note]  # nothing can be computed before the weights are there
    drift = average.drift(recipe.shape)
    return average, [note, "exact under circular shifts, for the model is indifferent to shifts by its total stride"
                     if drift <= WITHIN else "not exact, for shifts by the total stride change the model's own answers "
                     f"(by up to {drift:.2g} on noise)"]


def _placement_average(model: nn.Module, recipe: Recipe) -> tuple[nn.Module, list[str]]:
    if recipe.image is not None:
        whole = WholeAverage(copy.deepcopy(model), recipe.image, recipe.shape[1:], background=recipe.background)
        return whole, [f"finds the object and averages the probabilities at the {len(whole.rolls)} placements of an "
                       f"image of {recipe.image[0]} x {recipe.image[1]}",
                       f"needs a constant background of {recipe.background:g}: noise on it moves the object"]
    count = recipe.shape[1] * recipe.shape[2]
    return PlacementAverage(copy.deepcopy(model), of="probabilities"), [
        f"averages the probabilities at all {count} circular shifts: in one pass where the dense engine can follow the "
        f"model, else in {count}"]


def _recentre(model: nn.Module, recipe: Recipe) -> tuple[nn.Module, list[str]]:
    return nn.Sequential(Recentre(background=recipe.background), copy.deepcopy(model)), [
        f"needs a constant background of {recipe.background:g}: noise on it moves the object"]


_MENDS: dict[str, Callable[[nn.Module, Recipe], tuple[nn.Module, list[str]]]] = {
    "blur": _blur, "polyphase": _polyphase, "phase-average": _phase_average, "placement-average": _placement_average,
    "recentre": _recentre}
