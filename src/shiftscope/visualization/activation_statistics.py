"""Statistics of unit activations: dead and duplicate units, sparsity, and running histograms."""

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
from shiftscope.modules import Classifier, reports_model_errors
from shiftscope.placement import Placement, default_placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import UnitRow, UnitTable
from shiftscope.settings import VALIDATION_IMAGES
from shiftscope.visualization.layer_outputs import after_relu
from shiftscope.visualization.model_info import ModelInfo, inspect_model

MIN_CORRELATION = 0.99  # units with at least this absolute correlation of their activations are duplicates
MIN_RANGE = 1e-6  # a unit that varies by at most this fraction of its layer's largest activation is constant
BATCH_PIXELS = 2**18


@reports_model_errors
def unit_table(model: Classifier, data: Dataset, *, placement: Placement | None = None, split: Split = "test",
               validation: int = VALIDATION_IMAGES, images: int = 1000, seed: int = 0,
                layers: Sequence[str] | None = None,
               normalize: Normalization | None = None,
               preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None, name: str | None = None,
               progress: Progress | None = None) -> UnitTable:
    """Compute statistics of a model's units on real images, each at one random placement.

    A unit is a neuron of a fully connected layer or a channel of a convolution. Its activation is the output of the
    ReLU after the layer; max pooling, dropout and batch normalization may be in between. Without a ReLU it is the
    layer's output, and a unit is dead if it is constant.

    Args:
        model: takes pixels (B, C, H, W) in [0, 1]; on any device.
        data: the dataset.
        placement: by default a canvas of 56 x 56, or twice the image if that is larger.
        split: "test"; "train": the training images without the validation split; "validation".
        validation: size of the validation split.
        images: number of images, the first ones of the split.
        seed: of the random placements.
        layers: names of submodules; by default all convolutions and fully connected layers.
        normalize: (mean, std) for a model that expects normalized pixels.
        preprocess: replaces `normalize`: any function of pixels.
        name: of the model, in tables.

    Raises:
        UsageError: if a layer is unknown or does not return a tensor, or the model raises an error.

    Example:
        >>> from shiftscope.data import load_dataset
        >>> from shiftscope.models import TwoFullNet
        >>> table = unit_table(TwoFullNet(20), load_dataset("garments:20,10"))
        >>> [(row.layer, row.after_relu, row.units) for row in table.layers]
        [('fc1', True, 20), ('fc2', False, 10)]
    """
    require(images >= 1, "images", images, "at least 1")
    placement = placement or default_placement(data.shape)
    part = data.split_images(split, validation)
    title, shape = name or title_of(model), (data.shape[0], *placement.canvas)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=shape)
    info = inspect_model(prepared, shape)
    statistics = {layer: _LayerStatistics(info.layers[layer].linear) for layer in _layers(info, layers)}
    if not statistics:
        raise UsageError(f"{info.model} has no convolution and no fully connected layer: name other layers with "
                         "layers=")
    chosen = torch.arange(min(images, len(part)))
    task = (progress or SilentProgress()).task(f"units of {title}", len(chosen))
    try:
        with frozen(prepared), torch.no_grad():
            for rows in chosen.split(max(1, BATCH_PIXELS // math.prod(shape))):
                canvases = placement.place(part.gather(rows), placement.sample(rows, seed=seed))
                _add_batch(prepared, canvases, statistics)
                task.advance(len(rows))
    finally:
        task.close()
    return UnitTable(model=title, dataset=data.name, split=split, images=len(chosen), seed=seed,
                     placement=placement.to_dict(), notes=_notes(statistics),
                     rows=[asdict(layer.row(name)) for name, layer in statistics.items()],
                     maximum=_joined(statistics, "largest"), means=_joined(statistics, "means"),
                     active=_joined(statistics, "active"))


def _layers(info: ModelInfo, layers: Sequence[str] | None) -> list[str]:
    if layers is None:
        return [name for name, layer in info.layers.items() if layer.weighted and layer.shape]
    names = [match_layer(name, info.layers, info.model) for name in layers]
    for name in names:
        info.unit_count(name)  # raises if the layer's output is not a tensor
    return names


def _add_batch(model: nn.Module, canvases: torch.Tensor, statistics: dict[str, "_LayerStatistics"]) -> None:
    device, dtype = device_and_dtype(model)
    rectified: dict[str, torch.Tensor] = {}

    def tap(layer: str, values: torch.Tensor) -> torch.Tensor:
        rectified[layer] = values.clone()  # later operations may change it in place
        return values

    with capture(model, statistics) as outputs, after_relu(model, statistics, tap):
        model(to_pixels(canvases.to(device), dtype))
    for layer, values in statistics.items():
        values.add(rectified[layer] if layer in rectified else outputs[layer], layer in rectified)


class _LayerStatistics:
    """Running statistics of the activations of one layer."""

    def __init__(self, linear: bool):
        self.linear, self.samples, self.rectified = linear, 0, False

    def add(self, values: torch.Tensor, rectified: bool) -> None:
        """Add a batch of activations (B, units, ...), for a fully connected layer (B, ..., units)."""
        x = values.movedim(-1 if self.linear else 1, 0).flatten(1).float()  # (units, samples)
        if self.samples == 0:
            self.rectified, self.origin = rectified, x.mean(1, keepdim=True)
            self.largest, self.smallest = x.amax(1), x.amin(1)
            self.positive = x.new_zeros(len(x), dtype=torch.float64)
            self.total = torch.zeros_like(self.positive)
            self.products = x.new_zeros(len(x), len(x), dtype=torch.float64)
        self.samples += x.shape[1]
        self.largest, self.smallest = self.largest.maximum(x.amax(1)), self.smallest.minimum(x.amin(1))
        self.positive += (x > 0).sum(1)
        x = x - self.origin  # near zero, to keep the precision of sums of squares
        self.total += x.sum(1)
        self.products += x @ x.T

    @property
    def means(self) -> torch.Tensor:
        return self.origin[:, 0] + self.total / self.samples

    @property
    def active(self) -> torch.Tensor:
        """(units,), fraction of activations above zero."""
        return self.positive / self.samples

    def dead(self) -> torch.Tensor:
        """Return which units are dead, bool (units,)."""
        if self.rectified:
            return self.largest <= 0
        scale = torch.maximum(self.largest.abs().max(), self.smallest.abs().max())
        return self.largest - self.smallest <= MIN_RANGE * scale

    def duplicates(self) -> list[tuple[int, int]]:
        """Return pairs of units with an absolute correlation of at least `MIN_CORRELATION`."""
        shift = self.total / self.samples
        covariance = self.products / self.samples - shift[:, None] * shift
        std = covariance.diagonal().clamp_min(0).sqrt()
        varies = std > MIN_RANGE * std.max()
        correlation = covariance / (std[:, None] * std)
        pairs = (correlation.abs() >= MIN_CORRELATION) & varies[:, None] & varies
        return [(first, second) for first, second in pairs.triu(1).nonzero().tolist()]

    def row(self, layer: str) -> UnitRow:
        return UnitRow(layer=layer, after_relu=self.rectified, units=len(self.largest),
                       dead=tuple(self.dead().nonzero()[:, 0].tolist()), duplicates=tuple(self.duplicates()),
                       mean=float(self.means.mean()),
                       sparsity=1 - float(self.active.mean()) if self.rectified else None)


def _joined(statistics: dict[str, _LayerStatistics], field: str) -> np.ndarray:
    return np.concatenate([getattr(layer, field).float().cpu().numpy() for layer in statistics.values()])


def _notes(statistics: dict[str, _LayerStatistics]) -> list[str]:
    return [f"{name} returns NaN or infinity for some images: its statistics are invalid"
            for name, layer in statistics.items() if not bool(layer.total.isfinite().all())]


_MIN_BIN_RANGE = 1e-6  # range of the first bins if all values are equal, relative to their size
_MARGIN = 1 + 1e-6  # bins exclude their upper edge: the largest value must be below the last edge


class RunningHistogram:
    """One exact histogram per column: if a value is out of range, the range doubles and pairs of bins are merged.

    The number of bins is even; at the end about half of them or more are in use.
    """

    def __init__(self, bins: int):
        self.bins = bins
        self.counts = np.zeros((0, bins), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count finite values (n, columns)."""
        values = values.astype(np.float64)
        low, high = values.min(0), values.max(0)
        if not len(self.counts):
            self._initialize(low, high)
        while (outside := high >= self.low + self.width * self.bins).any():
            self._double(outside, upward=True)
        while (outside := low < self.low).any():
            self._double(outside, upward=False)
        bins = np.floor((values - self.low) / self.width).astype(np.int64).clip(0, self.bins - 1)
        flat = bins + self.bins * np.arange(len(self.low))
        self.counts += np.bincount(flat.ravel(), minlength=self.counts.size).reshape(self.counts.shape)
        self.maximum = np.maximum(self.maximum, high)
        self.total += values.sum(0)

    def _initialize(self, low: np.ndarray, high: np.ndarray) -> None:
        self.counts = np.zeros((len(low), self.bins), np.int64)
        self.low, self.maximum, self.total = low, high, np.zeros_like(low)
        smallest = _MIN_BIN_RANGE * np.maximum(np.maximum(np.abs(low), np.abs(high)), _MIN_BIN_RANGE)
        self.width = np.maximum((high - low) * _MARGIN, smallest) / self.bins

    def _double(self, columns: np.ndarray, *, upward: bool) -> None:
        pairs = self.counts[columns].reshape(columns.sum(), self.bins // 2, 2).sum(2)
        empty = np.zeros_like(pairs)
        self.counts[columns] = np.concatenate((pairs, empty) if upward else (empty, pairs), axis=1)
        if not upward:
            self.low = np.where(columns, self.low - self.width * self.bins, self.low)
        self.width = np.where(columns, 2 * self.width, self.width)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, float64 (columns, bins + 1)."""
        return self.low[:, None] + self.width[:, None] * np.arange(self.bins + 1)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each column, float64 (columns,)."""
        return self.total / self.counts.sum(1)
