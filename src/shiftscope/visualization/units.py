"""Which units of a model do anything: dead ones, ones that double another, how often they fire."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from shiftscope.data import Dataset
from shiftscope.data.base import Split
from shiftscope.errors import UsageError, require
from shiftscope.hooks import capture, frozen, match_layer
from shiftscope.models.adapt import Normalization, adapt, title_of
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import Classifier, says_model_errors
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import UnitRow, UnitTable
from shiftscope.visualization.anatomy import Anatomy, examine
from shiftscope.visualization.rectified import after_relu

SAME = 0.99
"""Units whose activations correlate at least so much, or so much below zero, double each other."""

STILL = 1e-6
"""A unit that varies by less than this share of its layer's largest activation does not change."""

BATCH_PIXELS = 2**18
"""Pixels of a batch: 83 pictures of 56 x 56."""


@says_model_errors
def unit_table(model: Classifier, data: Dataset, *, placement: Placement | None = None, split: Split = "test",
          validation: int = 5000, images: int = 1000, seed: int = 0, layers: Sequence[str] | None = None,
          normalize: Normalization | None = None, preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
          name: str | None = None, progress: Progress | None = None) -> UnitTable:
    """Show a model real images, each at one seeded random place, and note what the units of its layers do.

    A unit is a neuron of a fully connected layer or a channel of a convolution. Its activation is what the ReLU after
    the layer gives; pooling by maxima, dropout and batch normalization may stand between. Where no ReLU follows, as
    after the classes, it is what the layer gives, and a unit is dead if that never changes.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1]; on any device.
        data: the dataset.
        placement: default: a canvas of 56 x 56, or twice the image where that is larger.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split that was cut off in training.
        images: how many, the first ones of the split.
        seed: fixes the random placements.
        layers: names of submodules; all convolutions and fully connected layers unless given.
        normalize: (mean, std) for a model that wants its pixels normalized.
        preprocess: instead of `normalize`, whatever the model wants done to pixels first.
        name: of the model, in tables.

    Raises:
        UsageError: an unknown layer, or one that gives no tensor; the model raises.

    Example:
        >>> from shiftscope.data.base import TensorImages
        >>> from shiftscope.models import TwoFullNet
        >>> pictures = torch.arange(4 * 9, dtype=torch.uint8).view(4, 1, 3, 3)
        >>> parts = TensorImages(pictures, torch.tensor([0, 1] * 2))
        >>> data = Dataset(name="dots", class_names=("a", "b"), train=parts, test=parts, source="-", license="-")
        >>> place = Placement(image=(3, 3), canvas=(6, 6))
        >>> table = unit_table(TwoFullNet(20, canvas=(6, 6), classes=2), data, placement=place)
        >>> [(row.layer, row.after_relu, row.units) for row in table.layers]
        [('fc1', True, 20), ('fc2', False, 2)]
    """
    require(images >= 1, "images", images, "at least 1")
    placement = placement or default_placement(data.shape)
    part = data.split_images(split, validation)
    title, shape = name or title_of(model), (data.shape[0], *placement.canvas)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=shape)
    anatomy = examine(prepared, shape)
    tallies = {layer: _Tally(anatomy.layers[layer].linear) for layer in _layers(anatomy, layers)}
    if not tallies:
        raise UsageError(f"{anatomy.model} visits no convolution and no fully connected layer: name others with "
                         "layers=")
    batch = max(1, BATCH_PIXELS // math.prod(anatomy.shape))
    chosen = torch.arange(min(images, len(part)))
    task = (progress or SilentProgress()).task(f"units of {title}", len(chosen))
    try:
        with frozen(prepared), torch.no_grad():
            for rows in chosen.split(batch):
                canvases = placement.place(part.gather(rows), placement.sample(rows, seed=seed))
                _observe(prepared, canvases, tallies)
                task.advance(len(rows))
    finally:
        task.close()
    return UnitTable(model=title, dataset=data.name, split=split, images=len(chosen), seed=seed,
                     placement=placement.to_dict(), notes=_notes(tallies),
                     rows=[asdict(tally.row(layer)) for layer, tally in tallies.items()],
                     maximum=_joined(tallies, "largest"), means=_joined(tallies, "means"),
                     active=_joined(tallies, "active"))


def _layers(anatomy: Anatomy, layers: Sequence[str] | None) -> list[str]:
    if layers is None:
        return [name for name, found in anatomy.layers.items() if found.weighs and found.shape]
    names = [match_layer(name, anatomy.layers, anatomy.model) for name in layers]
    for name in names:
        anatomy.units(name)  # raises where the layer gives no tensor
    return names


def _observe(model: nn.Module, canvases: torch.Tensor, tallies: dict[str, "_Tally"]) -> None:
    """Show the model one batch and count."""
    device, dtype = device_and_dtype(model)
    rectified: dict[str, torch.Tensor] = {}

    def tap(layer: str, values: torch.Tensor) -> torch.Tensor:
        rectified[layer] = values.clone()  # a later step may change it in place
        return values

    with capture(model, tallies) as outputs, after_relu(model, tallies, tap):
        model(to_pixels(canvases.to(device), dtype))
    for layer, tally in tallies.items():
        tally.add(rectified[layer] if layer in rectified else outputs[layer], layer in rectified)


class _Tally:
    """Sums over the activations of one layer, batch by batch."""

    def __init__(self, linear: bool):
        self.linear, self.samples, self.rectified = linear, 0, False

    def add(self, values: torch.Tensor, rectified: bool) -> None:
        """Count a batch of activations (B, units, ...), for a fully connected layer (B, ..., units)."""
        x = values.movedim(-1 if self.linear else 1, 0).flatten(1).float()  # (units, samples)
        if self.samples == 0:
            self.rectified, self.origin = rectified, x.mean(1, keepdim=True)
            self.largest, self.smallest = x.amax(1), x.amin(1)
            self.above = x.new_zeros(len(x), dtype=torch.float64)
            self.total = torch.zeros_like(self.above)
            self.products = x.new_zeros(len(x), len(x), dtype=torch.float64)
        self.samples += x.shape[1]
        self.largest, self.smallest = self.largest.maximum(x.amax(1)), self.smallest.minimum(x.amin(1))
        self.above += (x > 0).sum(1)
        x = x - self.origin  # near zero, so that the sums of squares keep their digits
        self.total += x.sum(1)
        self.products += x @ x.T

    @property
    def means(self) -> torch.Tensor:
        """(units,)."""
        return self.origin[:, 0] + self.total / self.samples

    @property
    def active(self) -> torch.Tensor:
        """(units,), share of activations above zero."""
        return self.above / self.samples

    def dead(self) -> torch.Tensor:
        """Return which units are dead, bool (units,)."""
        if self.rectified:
            return self.largest <= 0
        scale = torch.maximum(self.largest.abs().max(), self.smallest.abs().max())
        return self.largest - self.smallest <= STILL * scale

    def duplicates(self) -> list[tuple[int, int]]:
        """Return pairs of units with a correlation of at least `SAME` either way."""
        shift = self.total / self.samples
        covariance = self.products / self.samples - shift[:, None] * shift
        std = covariance.diagonal().clamp_min(0).sqrt()
        moves = std > STILL * std.max()
        correlation = covariance / (std[:, None] * std)
        pairs = (correlation.abs() >= SAME) & moves[:, None] & moves
        return [(first, second) for first, second in pairs.triu(1).nonzero().tolist()]

    def row(self, layer: str) -> UnitRow:
        return UnitRow(layer=layer, after_relu=self.rectified, units=len(self.largest),
                       dead=tuple(self.dead().nonzero()[:, 0].tolist()), duplicates=tuple(self.duplicates()),
                       mean=float(self.means.mean()),
                       sparsity=1 - float(self.active.mean()) if self.rectified else None)


def _joined(tallies: dict[str, _Tally], what: str) -> np.ndarray:
    return np.concatenate([getattr(tally, what).float().cpu().numpy() for tally in tallies.values()])


def _notes(tallies: dict[str, _Tally]) -> list[str]:
    return [f"{layer} gives NaN or infinity for some image: its figures mean nothing"
            for layer, tally in tallies.items() if not bool(tally.total.isfinite().all())]
