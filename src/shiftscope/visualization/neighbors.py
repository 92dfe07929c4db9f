"""Maximally activating real images of units, with their placements and the distribution of all activations."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from shiftscope.data import Dataset
from shiftscope.dense import DenseEngine, build_dense
from shiftscope.errors import UsageError, require
from shiftscope.hooks import frozen
from shiftscope.metrics import rounding_tolerance
from shiftscope.models.adapt import adapt, differentiable, title_of
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Classifier, reports_model_errors
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Neighbors
from shiftscope.settings import require_time
from shiftscope.visualization.activation_statistics import RunningHistogram
from shiftscope.visualization.objective_terms import unit_maps
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.receptive_field import target_fields
from shiftscope.visualization.targets import UnitActivations

IMAGES = 500  # default number
BINS = 64  # of the histograms, of which 32 or more are in use
TRIAL = 0.1  # a trial that takes this fraction of the time limit is not repeated
WORTH = 5.0  # seconds of the model from which the dense engine is tried: building it takes about as long
_BATCH = {"cpu": 128, "gpu": 4096}  # canvases; on CPUs the activations of a small convnet fit into the caches


@reports_model_errors
def find_neighbors(model: Classifier, goals: Sequence[str | Objective], data: Dataset, *, placement: Placement,
                   k: int = 9, images: int = IMAGES, max_time: float | None = None, name: str | None = None,
                   progress: Progress | None = None) -> list[Neighbors]:
    """Find the k real images with the highest activation of each unit, each at its best placement.

    All offsets of `placement` are evaluated; `coarser` returns a smaller set. There is one record per objective; all
    objectives share the forward passes. If that takes more than seconds, all placements of an image are computed
    together by the dense engine, provided that it supports the layers, agrees with the model on the first images, and
    is faster.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device. Its state is restored.
        goals: objectives, as for `visualize`.
        data: its first test images are used.
        placement: of the images on the canvas.
        k: number of images per unit, at most `images`.
        images: number of images to evaluate.
        max_time: seconds; if a trial on the first images shows that `images` take longer, only as many are evaluated
            as fit, but at least k. The record states the number.
        name: of the model, in tables and figures.

    Raises:
        UsageError: if a layer, class or unit is unknown, k or images is below 1, the images do not have the size of
            the placement, the number of classes differs, or the model raises an error.

    Example:
        >>> from shiftscope.data import load_dataset
        >>> from shiftscope.models import TwoFullNet
        >>> placement = Placement(image=(28, 28), canvas=(30, 29))
        >>> data = load_dataset("garments:20,10")
        >>> (record,) = find_neighbors(TwoFullNet(canvas=(30, 29)), ["fc1:0-3"], data, placement=placement, k=2)
        >>> record.top_index.shape, record.placements, record.top_canvases.shape
        ((4, 2), 6, (4, 2, 1, 30, 29))

    Reference: Borowski et al., "Exemplary natural images explain CNN activations better than state-of-the-art feature
    visualization", ICLR 2021.
    """
    require(k >= 1, "k", k, "an integer of at least 1")
    require(images >= 1, "images", images, "an integer of at least 1")
    require_time(max_time)
    data.require_labels("the search for real images")
    if data.shape[1:] != placement.image:
        raise UsageError(f"the images of {data.name} are {data.shape[1]} x {data.shape[2]}, those of the placement "
                         f"{placement.image[0]} x {placement.image[1]}; pass placement= for these images")
    start_time = time.perf_counter()
    pixels = data.test.gather(torch.arange(min(images, len(data.test))))
    shape = (data.shape[0], *placement.canvas)
    prepared = differentiable(adapt(model, shape=shape))
    units = UnitActivations(prepared, goals, shape, data.class_names)
    device = device_and_dtype(prepared)[0]
    with frozen(prepared), torch.no_grad():
        begun = time.perf_counter()
        passes = _passes(units, pixels.to(device), placement, max_time)
        if max_time is not None:
            left = max_time - (time.perf_counter() - begun)
            pixels = pixels[:_affordable(passes, pixels.to(device), left, k)]
        statistics = _evaluate(passes, pixels.to(device), progress or SilentProgress())
    seconds = time.perf_counter() - start_time
    records, first = [], 0
    for goal, target in zip(goals, units.targets, strict=True):
        columns = slice(first, first := first + len(target.names))
        records.append(Neighbors(
            model=name or title_of(model), objective=str(goal), units=target.names, dataset=data.name,
            synthetic=data.synthetic, split="test", class_names=list(data.class_names), images=len(pixels),
            placements=placement.count, possible=placement.geometry.unrestricted().count,
            placement=placement.to_dict(), seconds=seconds, device=str(device),
            fields=target_fields(prepared, target, shape).numpy(), peaks=statistics.peaks(target.layers),
            **statistics.distribution(columns),
            **statistics.top(columns, min(k, len(pixels)), data, pixels.cpu(), placement)))
    return records


def coarser(placement: Placement, most: int) -> Placement:
    """Return the placement with a larger step, so that it has at most `most` offsets.

    Example:
        >>> thin = coarser(Placement(image=(28, 28), canvas=(56, 56)), most=64)
        >>> thin.step, thin.count
        (4, 49)
    """
    require(most >= 1, "most", most, "an integer of at least 1")
    while placement.count > most:
        placement = replace(placement, step=placement.step + 1)
    return placement


@dataclass
class _Statistics:
    """Each image's best offset, the histograms, and the maxima of whole layers."""

    best: np.ndarray  # float32 (N, U), maximum over the offsets of each image
    where: np.ndarray  # int64 (N, U), index of the first offset with this maximum
    histogram: RunningHistogram = field(default_factory=lambda: RunningHistogram(BINS))
    maxima: dict[str, torch.Tensor] = field(default_factory=dict)  # by layer, (units,), over all images and positions

    def add(self, images: slice, first_offset: int, activations: torch.Tensor, maxima: dict[str, torch.Tensor]) -> None:
        """Add activations (images, offsets, U)."""
        values = activations.cpu().numpy()
        self.histogram.add(values.reshape(-1, values.shape[2]))
        best, where = values.max(1), values.argmax(1) + first_offset
        better = best > self.best[images]
        self.best[images] = np.where(better, best, self.best[images])
        self.where[images] = np.where(better, where, self.where[images])
        for layer, maximum in maxima.items():
            self.maxima[layer] = torch.maximum(self.maxima.get(layer, maximum), maximum)

    def peaks(self, layers: list[str]) -> np.ndarray:
        """Return the maxima of the objective's layer; empty if it does not use exactly one."""
        return self.maxima[layers[0]].float().cpu().numpy() if len(layers) == 1 else np.zeros(0, np.float32)

    def distribution(self, columns: slice) -> dict[str, np.ndarray]:
        return {"counts": self.histogram.counts[columns], "edges": self.histogram.edges[columns],
                "mean": self.histogram.mean.astype(np.float32)[columns],
                "maximum": self.histogram.maximum.astype(np.float32)[columns]}

    def top(self, columns: slice, k: int, data: Dataset, images: torch.Tensor,
            placement: Placement) -> dict[str, np.ndarray]:
        """Return the k best images of each unit, ties in their order in the dataset."""
        best, where = self.best[:, columns], self.where[:, columns]
        top = np.argsort(-best, axis=0, kind="stable")[:k].T  # (U, k)
        offsets = placement.offsets()[torch.from_numpy(np.take_along_axis(where.T, top, 1))]  # (U, k, 2)
        chosen = torch.from_numpy(top.copy())
        canvases = placement.place(images[chosen.flatten()], offsets.flatten(0, 1))
        return {"top_index": chosen.numpy(), "top_offset": offsets.numpy(),
                "top_activation": np.take_along_axis(best.T, top, 1),
                "top_labels": data.test.labels[chosen].numpy(),
                "top_canvases": canvases.unflatten(0, tuple(chosen.shape)).numpy()}


class _Passes(Protocol):
    """Computes the activations of `units` (U of them) at all `offsets` (P) of a placement."""

    units: UnitActivations
    offsets: int
    images: int
    """Number of images of a call."""

    def __call__(self, images: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, dict[str, torch.Tensor]]]:
        """Yield, for some of the offsets at a time, the index of the first one, the activations (images, offsets, U) of
        uint8 images, and the maximum of each unit over images and positions, by layer."""
        ...


class _ByModel:
    """Runs the model at each offset."""

    def __init__(self, units: UnitActivations, placement: Placement, device: torch.device):
        self.units, self.placement, self._offsets = units, placement, placement.offsets().to(device)
        self._batch = _BATCH["cpu" if device.type == "cpu" else "gpu"]
        self.offsets, self.images = len(self._offsets), max(1, self._batch // len(self._offsets))

    def __call__(self, images: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, dict[str, torch.Tensor]]]:
        for start in range(0, self.offsets, self._batch):
            part = self._offsets[start:start + self._batch]
            outputs = self.units.outputs_at(images.repeat_interleave(len(part), 0), part.repeat(len(images), 1),
                                            self.placement)
            values = self.units.values(outputs).unflatten(0, (len(images), len(part)))
            yield start, values, self.units.layer_maxima(outputs)


class _AllValues(nn.Module):
    """The activations of all units, then the maximum of each unit of each layer over its positions, (B, U + M)."""

    def __init__(self, units: UnitActivations):
        super().__init__()
        self.model, self._units = units.model, units

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        outputs, units = self._units.outputs(pixels), self._units
        maxima = [unit_maps(outputs[name], units.info.layers[name].linear).flatten(2).amax(2) for name in units.layers]
        return torch.cat([*(target.all_activations(outputs) for target in units.targets), *maxima], 1)


class _Together:
    """Computes all offsets together by the dense engine."""

    def __init__(self, units: UnitActivations, engine: DenseEngine):
        self.units, self._engine = units, engine
        self.offsets, self.images = engine.placement.count, engine.images_per_call

    def __call__(self, images: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, dict[str, torch.Tensor]]]:
        count = sum(len(target.names) for target in self.units.targets)
        found = self.units.finite(self._engine.logits(images))
        sizes = [self.units.info.unit_count(name) for name in self.units.layers]
        maxima = found[:, :, count:].amax((0, 1)).split(sizes)
        yield 0, found[:, :, :count], dict(zip(self.units.layers, maxima, strict=True))


def _passes(units: UnitActivations, images: torch.Tensor, placement: Placement, most: float | None) -> _Passes:
    """Return the dense engine if the model takes long and the engine is faster and agrees with it, else the model.

    `most` is the limit of the time in seconds.
    """
    plain = _ByModel(units, placement, images.device)
    if most is not None and most < WORTH:
        return plain
    some = images[:plain.images]
    _, seconds = _timed(plain, some)
    if seconds / len(some) * len(images) < WORTH:
        return plain
    first, seconds = _timed(plain, some)  # the first call allocates memory
    try:
        together = _Together(units, build_dense(_AllValues(units), placement, (images.shape[1], *placement.image)))
        _timed(together, some)
        found, fast = _timed(together, some)
    except Exception:  # the engine does not support the layers, or reading the user's code raises something else
        return plain
    near = bool(((found - first).abs() <= rounding_tolerance(first, first.dtype)).all())
    return together if near and fast < seconds else plain


def _timed(passes: _Passes, images: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the activations (images, P, U), and the seconds that they took."""
    begun = time.perf_counter()
    values = torch.cat([values for _, values, _ in passes(images)], 1)
    return values, time.perf_counter() - begun


def _affordable(passes: _Passes, images: torch.Tensor, seconds: float, least: int) -> int:
    """Return the number of images that can be evaluated in about that time, from a trial on the first batch."""
    trial, taken, begun = images[:passes.images], [], time.perf_counter()
    while not taken or (len(taken) < 2 and taken[0] < TRIAL * seconds):  # the first call allocates
        start = time.perf_counter()
        _evaluate(passes, trial, SilentProgress())
        taken.append(time.perf_counter() - start)
    left = seconds - (time.perf_counter() - begun)
    return min(len(images), max(least, int(len(trial) * left / taken[-1])))


def _evaluate(passes: _Passes, images: torch.Tensor, progress: Progress) -> _Statistics:
    """Compute the activations of all units for uint8 images (N, C, h, w) at all offsets."""
    count = sum(len(target.names) for target in passes.units.targets)
    statistics = _Statistics(best=np.full((len(images), count), -np.inf, np.float32),
                             where=np.zeros((len(images), count), np.int64))
    task = progress.task("real images for the units", len(images) * passes.offsets, "images")
    try:
        for first in range(0, len(images), passes.images):
            some = images[first:first + passes.images]
            for start, values, maxima in passes(some):
                statistics.add(slice(first, first + len(some)), start, values, maxima)
                task.advance(len(some) * values.shape[1])
    finally:
        task.close()
    return statistics
