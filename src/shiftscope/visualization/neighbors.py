"""Which real images excite a unit most, where on the canvas they do so, and how much others do."""

import time
from collections.abc import Iterator, Sequence
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
from shiftscope.visualization.activations import Readout
from shiftscope.visualization.histogram import RunningHistogram
from shiftscope.visualization.objectives import Objective
from shiftscope.visualization.receptive import fields_of

IMAGES = 500
"""Images looked at unless another number is given."""

BINS = 64
"""Of the histogram: 32 or more hold the activations, as many as a small picture of it can show."""

_CHUNK = {"cpu": 128, "gpu": 4096}  # pictures at once: on CPUs what the activations of a small convnet leave in a cache


@dataclass(frozen=True)
class Block:
    """What all units give for some images at some placements."""

    images: slice
    places: slice
    values: torch.Tensor
    """(images, placements, U)."""
    peaks: dict[str, torch.Tensor]
    """By layer, the most that each of its units gave at any of its places, (units,)."""


def brute_force(readout: Readout, images: torch.Tensor, placement: Placement) -> Iterator[Block]:
    """Yield what the units of `readout` give for every image at every placement, picture by picture.

    The one thing that a faster engine would replace.

    Args:
        readout: a frozen model and its units.
        images: uint8 (N, C, h, w), on the model's device.
        placement: its set of offsets.
    """
    offsets = placement.offsets().to(images.device)
    chunk = _CHUNK["cpu" if images.device.type == "cpu" else "gpu"]
    together = max(1, chunk // len(offsets))  # images
    for first in range(0, len(images), together):
        some = images[first:first + together]
        for place in range(0, len(offsets), chunk):
            there = offsets[place:place + chunk]
            outputs = readout.ask_placed(some.repeat_interleave(len(there), 0), there.repeat(len(some), 1), placement)
            yield Block(slice(first, first + len(some)), slice(place, place + len(there)),
                        readout.values(outputs).unflatten(0, (len(some), len(there))), readout.peaks(outputs))


@dataclass
class _Tally:
    """Gathers blocks: each image's best placement, the histogram, the peaks of the layers."""

    best: np.ndarray
    """float32 (N, U), the most that an image gives at any placement."""
    where: np.ndarray
    """int64 (N, U), number of that placement; the first of several."""
    histogram: RunningHistogram = field(default_factory=lambda: RunningHistogram(BINS))
    peaks: dict[str, torch.Tensor] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        values = block.values.cpu().numpy()
        self.histogram.add(values.reshape(-1, values.shape[2]))
        best, where = values.max(1), values.argmax(1) + block.places.start
        better = best > self.best[block.images]
        self.best[block.images] = np.where(better, best, self.best[block.images])
        self.where[block.images] = np.where(better, where, self.where[block.images])
        for layer, peaks in block.peaks.items():
            known = self.peaks.get(layer)
            self.peaks[layer] = peaks if known is None else torch.maximum(known, peaks)


@reports_model_errors
def find_neighbors(model: Classifier, goals: Sequence[str | Objective], data: Dataset, *, placement: Placement,
                    k: int = 9, images: int = IMAGES, name: str | None = None,
                    progress: Progress | None = None) -> list[Neighbors]:
    """Find the k real images that excite each unit of some objectives most, each at its best placement.

    Every placement of `placement` is tried, so the result is exact for that set; see `coarser` for a smaller one. All
    objectives share one pass over the pictures.

    Args:
        model: takes pixels (batch, C, H, W) in [0, 1]; on any device, left as it was.
        goals: objectives, as `visualize` takes them.
        data: its first test images are looked at.
        placement: where on the canvas they lie.
        k: images for each unit; with fewer images than that, all of them.
        images: how many to look at.
        name: of the model, in tables and figures.

    Returns:
        One record an objective.

    Raises:
        UsageError: an unknown layer, class or unit; k or images below 1; images of another size than the placement's;
            another number of classes; the model raises.

    Example:
        >>> from shiftscope.data import load_dataset
        >>> from shiftscope.models import TwoFullNet
        >>> place = Placement(image=(28, 28), canvas=(30, 29))
        >>> data = load_dataset("garments:20,10")
        >>> (found,) = find_neighbors(TwoFullNet(canvas=(30, 29)), ["fc1:0-3"], data, placement=place, k=2)
        >>> found.top_index.shape, found.placements, found.top_canvases.shape
        ((4, 2), 6, (4, 2, 1, 30, 29))

    References:
        Borowski et al., "Exemplary natural images explain CNN activations better than state-of-the-art feature
        visualization", ICLR 2021: why real images belong beside a synthesis.
    """
    require(k >= 1, "k", k, "a whole number of at least 1")
    require(images >= 1, "images", images, "a whole number of at least 1")
    if data.shape[1:] != placement.image:
        raise UsageError(f"the images of {data.name} are {data.shape[1]} x {data.shape[2]}, the placement lays images "
                         f"of {placement.image[0]} x {placement.image[1]}: give a placement for these images")
    begun = time.perf_counter()
    pictures = data.test.gather(torch.arange(min(images, len(data.test))))
    shape = (data.shape[0], *placement.canvas)
    prepared = differentiable(adapt(model, shape=shape))
    readout = Readout(prepared, goals, shape, data.class_names)
    tally = _look(readout, pictures.to(device_and_dtype(prepared)[0]), placement, progress or SilentProgress())
    shown = _Shown(readout, data, placement, pictures.cpu(), name or title_of(model))
    seconds = time.perf_counter() - begun
    return shown.records([str(goal) for goal in goals], tally, min(k, len(pictures)), seconds)


def coarser(placement: Placement, most: int) -> Placement:
    """Return the placement with its offsets thinned out evenly around the middle until at most `most` are left.

    Example:
        >>> thin = coarser(Placement(image=(28, 28), canvas=(56, 56)), most=64)
        >>> thin.step, thin.count
        (4, 49)
    """
    require(most >= 1, "most", most, "a whole number of at least 1")
    while placement.count > most:
        placement = replace(placement, step=placement.step + 1)
    return placement


def _look(readout: Readout, pictures: torch.Tensor, placement: Placement, progress: Progress) -> _Tally:
    units = sum(len(chosen.names) for chosen in readout.targets)
    tally = _Tally(best=np.full((len(pictures), units), -np.inf, np.float32),
                   where=np.zeros((len(pictures), units), np.int64))
    task = progress.task("real images for the units", len(pictures) * placement.count, "pictures")
    try:
        with frozen(readout.model), torch.no_grad():
            for block in brute_force(readout, pictures, placement):
                tally.add(block)
                task.advance(block.values.shape[0] * block.values.shape[1])
    finally:
        task.close()
    return tally


@dataclass(frozen=True)
class _Shown:
    """What the records of all objectives share."""

    readout: Readout
    data: Dataset
    placement: Placement
    pictures: torch.Tensor
    name: str

    def records(self, goals: list[str], tally: _Tally, k: int, seconds: float) -> list[Neighbors]:
        """Return one record an objective; their units lie side by side in the columns of `tally`."""
        first, found = 0, []
        for goal, target in zip(goals, self.readout.targets, strict=True):
            columns = slice(first, first := first + len(target.names))
            histogram = {"counts": tally.histogram.counts, "edges": tally.histogram.edges,
                         "mean": tally.histogram.mean.astype(np.float32),
                         "maximum": tally.histogram.maximum.astype(np.float32)}
            found.append(Neighbors(
                model=self.name, objective=goal, units=target.names, dataset=self.data.name, synthetic=self.data.synthetic,
                split="test", class_names=list(self.data.class_names), images=len(self.pictures),
                placements=self.placement.count, possible=replace(self.placement, step=1, max_shift=None).count,
                placement=self.placement.to_dict(), seconds=seconds, device=str(device_and_dtype(self.readout.model)[0]),
                fields=fields_of(self.readout.model, target, self.readout.shape).numpy(),
                peaks=_peaks(target.layers, tally),
                **self._top(tally.best[:, columns], tally.where[:, columns], k),
                **{key: values[columns] for key, values in histogram.items()}))
        return found

    def _top(self, best: np.ndarray, where: np.ndarray, k: int) -> dict[str, np.ndarray]:
        """The k best images of each unit; of equal ones the first."""
        top = np.argsort(-best, axis=0, kind="stable")[:k].T  # (U, k)
        offsets = self.placement.offsets()[torch.from_numpy(np.take_along_axis(where.T, top, 1))]  # (U, k, 2)
        chosen = torch.from_numpy(top.copy())
        canvases = self.placement.place(self.pictures[chosen.flatten()], offsets.flatten(0, 1))
        return {"top_index": chosen.numpy(), "top_offset": offsets.numpy(),
                "top_activation": np.take_along_axis(best.T, top, 1),
                "top_labels": self.data.test.labels[chosen].numpy(),
                "top_canvases": canvases.unflatten(0, tuple(chosen.shape)).numpy()}


def _peaks(layers: list[str], tally: _Tally) -> np.ndarray:
    """The peaks of the only layer; none where there are several or none."""
    return tally.peaks[layers[0]].float().cpu().numpy() if len(layers) == 1 else np.zeros(0, np.float32)
