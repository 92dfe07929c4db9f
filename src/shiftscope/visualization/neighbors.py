"""Maximally activating real images of units, with their placements and the distribution of all activations."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from shiftscope.data import Dataset
from shiftscope.errors import UsageError, require
from shiftscope.hooks import frozen
from shiftscope.models.adapt import adapt, differentiable, title_of
from shiftscope.models.forward import device_and_dtype
from shiftscope.modules import Classifier, reports_model_errors
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress
from shiftscope.results import Neighbors
from shiftscope.settings import require_time
from shiftscope.visualization.activation_statistics import RunningHistogram
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.receptive_field import target_fields
from shiftscope.visualization.targets import UnitActivations

IMAGES = 500  # default number
BINS = 64  # of the histograms, of which 32 or more are in use
TRIAL = 0.1  # a trial that takes this fraction of the time limit is not repeated
_BATCH = {"cpu": 128, "gpu": 4096}  # canvases; on CPUs the activations of a small convnet fit into the caches


@reports_model_errors
def find_neighbors(model: Classifier, goals: Sequence[str | Objective], data: Dataset, *, placement: Placement,
                   k: int = 9, images: int = IMAGES, max_time: float | None = None, name: str | None = None,
                   progress: Progress | None = None) -> list[Neighbors]:
    """Find the k real images with the highest activation of each unit, each at its best placement.

    All offsets of `placement` are evaluated; `coarser` returns a smaller set. There is one
    record per objective; all objectives share the forward passes.

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
    if max_time is not None:
        pixels = pixels[:_affordable(units, pixels.to(device), placement, max_time, k)]
    statistics = _evaluate(units, pixels.to(device), placement, progress or SilentProgress())
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


def _affordable(units: UnitActivations, images: torch.Tensor, placement: Placement, seconds: float, least: int) -> int:
    """Return the number of images that can be evaluated in about that time, from a trial on the first batch."""
    rows = _rows(images.device, placement)
    trial, taken, begun = images[:rows], [], time.perf_counter()
    while not taken or (len(taken) < 2 and taken[0] < TRIAL * seconds):  # the first call allocates
        start = time.perf_counter()
        _evaluate(units, trial, placement, SilentProgress())
        taken.append(time.perf_counter() - start)
    left = seconds - (time.perf_counter() - begun)
    return min(len(images), max(least, int(len(trial) * left / taken[-1])))


def _rows(device: torch.device, placement: Placement) -> int:
    """Return the number of images that are evaluated together."""
    return max(1, _BATCH["cpu" if device.type == "cpu" else "gpu"] // placement.count)


def _evaluate(units: UnitActivations, images: torch.Tensor, placement: Placement, progress: Progress) -> _Statistics:
    """Compute the activations of all units for uint8 images (N, C, h, w) at all offsets, by brute force."""
    count = sum(len(target.names) for target in units.targets)
    statistics = _Statistics(best=np.full((len(images), count), -np.inf, np.float32),
                             where=np.zeros((len(images), count), np.int64))
    offsets = placement.offsets().to(images.device)
    batch = _BATCH["cpu" if images.device.type == "cpu" else "gpu"]
    rows = _rows(images.device, placement)
    task = progress.task("real images for the units", len(images) * len(offsets), "images")
    try:
        with frozen(units.model), torch.no_grad():
            for first in range(0, len(images), rows):
                some = images[first:first + rows]
                for start in range(0, len(offsets), batch):
                    part = offsets[start:start + batch]
                    outputs = units.outputs_at(some.repeat_interleave(len(part), 0), part.repeat(len(some), 1),
                                               placement)
                    values = units.values(outputs).unflatten(0, (len(some), len(part)))
                    statistics.add(slice(first, first + len(some)), start, values, units.layer_maxima(outputs))
                    task.advance(len(some) * len(part))
    finally:
        task.close()
    return statistics
