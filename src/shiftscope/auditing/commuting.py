"""Where on its way a model stops commuting with shifts: each layer's answer to a moved image, in decibels."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from shiftscope.auditing.moving import known, move
from shiftscope.auditing.steps import OUTPUT, Steps, run_steps
from shiftscope.data import Dataset
from shiftscope.errors import UsageError, require
from shiftscope.hooks import frozen, match_layer
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import Classifier, described, model_name, says_model_errors
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress, Task
from shiftscope.results.equivariance import PIXELS_DB, Equivariance

MEMORY = 256 * 2**20
"""Bytes that the answers of all layers to one batch may take; those to the moved batch take as much again."""

NOISES = 2
"""Pictures of noise that strides are found with: an object may by accident look the same after another step."""

_AXES = (-2, -1)
_CLEAR = 100.0  # dB: better is rounding, so strides are not told apart by it


@dataclass(frozen=True)
class _Layer:
    """A step of the model: maps have strides (down, right), the others None."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, int] | None


@says_model_errors
def equivariance(model: Classifier, data: Dataset | torch.Tensor, *, placement: Placement,
                 layers: Sequence[str] | None = None, period: int = 8, images: int = 32, split: str = "test",
                 validation: int = 5000, name: str | None = None, normalize: Normalization | None = None,
                 preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
                 progress: Progress | None = None) -> Equivariance:
    """Measure how far each layer of a model is from commuting with shifts, at every shift below `period`.

    The object is moved by d = 0 .. period - 1 pixels, down and right. A layer that commutes with shifts then gives its
    answer to the unmoved image, moved by d / s pixels, where s is the layer's stride. What remains is the error::

        10 log10( sum |r(0) moved by d/s|^2 / sum |r(d) - r(0) moved by d/s|^2 )  dB,

    where r is the answer less the answer to the empty canvas. Between pixels maps are moved by the shift theorem of the
    Fourier transform, so that a layer without aliasing does not lose at any phase (Karras et al. 2021, EQ-T; we
    divide by the signal's power instead of its peak's). Layers without rows and columns should not change at all:
    their change is compared with their spread between images. Maps that do not wrap around are compared where the moved
    one is known. The stride of a map is the number of pixels that the object moves by when the map moves by one: that
    with the smallest error for a patch of noise, half the canvas long.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W). Eval mode meanwhile; everything is restored.
        data: a dataset, or images uint8 (N, C, h, w).
        placement: image, canvas, mode ("canvas" or "circular") and a plain background; its offsets do not count.
        layers: names of steps; default: every submodule without children and every function of
            `torch.nn.functional` outside of these, but dropout, padding and softmax.
        period: number of shifts in each direction: a multiple of the model's largest stride shows all its phases.
        images: the first so many are used.
        split, validation: which images of a dataset, see `evaluate`.
        name: the model's name in tables (its class unless given).
        normalize, preprocess: for a foreign model, see `evaluate`.

    Raises:
        UsageError: mode crop or a textured background, where no layer could commute; not enough room on the canvas
            for `period` shifts; fewer than two images; an unknown layer; pictures that the model does not take.

    References:
        Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019; Karras et al., "Alias-Free Generative
        Adversarial Networks", NeurIPS 2021; Chaman & Dokmanic, "Truly Shift-Invariant Convolutional Neural Networks",
        CVPR 2021.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.MaxPool2d(2)).double()
        >>> garments = torch.arange(2 * 64, dtype=torch.uint8).view(2, 1, 8, 8)
        >>> place = Placement(image=(8, 8), canvas=(16, 16), mode="circular")
        >>> found = equivariance(net, garments, placement=place, period=2)
        >>> found.layers, found.strides, found.loses_most
        (['0', '1'], [[1, 1], [2, 2]], '1')
    """
    began = time.perf_counter()
    name = name or model_name(model)
    batch = _images(data, split, validation, images)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(batch.shape[1], *placement.canvas))
    probe = _Probe(prepared, batch.to(device_and_dtype(prepared)[0]), placement, period)
    task = (progress or SilentProgress()).task(f"equivariance of {name}", len(batch))
    try:
        with frozen(prepared), torch.no_grad():
            found = probe.find_layers(layers)
            decibels, overall = probe.measure(found, task)
    finally:
        task.close()
    drops = _drops(found, overall)
    known_data = data if isinstance(data, Dataset) else None
    return Equivariance(
        model=name, dataset=known_data.name if known_data else "images", synthetic=bool(known_data and known_data.synthetic),
        split=split if known_data else "given", mode=placement.mode, placement=placement.to_dict(), images=len(batch),
        start=list(probe.start), shifts=list(range(period)), layers=[layer.name for layer in found],
        kinds=["map" if layer.strides else "units" for layer in found], shapes=[list(layer.shape) for layer in found],
        strides=[list(layer.strides) if layer.strides else None for layer in found],
        overall=[value if math.isfinite(value) else None for value in overall], drops=drops,
        loses_most=_largest(found, drops), seconds=time.perf_counter() - began, device=str(device_and_dtype(prepared)[0]),
        notes=_notes(found, overall), decibels=decibels.numpy())


def _images(data: Dataset | torch.Tensor, split: str, validation: int, count: int) -> torch.Tensor:
    """The images to use, uint8 (N, C, h, w)."""
    require(count >= 2, "images", count, "at least 2: the spread between images is the measure of some layers")
    if isinstance(data, Dataset):
        chosen = data.split_images(split, validation)
        data = chosen.gather(torch.arange(min(count, len(chosen))))
    if data.dtype != torch.uint8 or data.ndim != 4 or len(data) < 2:
        raise UsageError(f"data must be a dataset or at least 2 images, uint8 (N, C, h, w), got {data.dtype} "
                         f"{tuple(data.shape)}")
    return data[:count]


class _Probe:
    """The images, where they lie, and what the model says of them."""

    def __init__(self, model: nn.Module, images: torch.Tensor, placement: Placement, period: int):
        require(placement.mode != "crop", "mode", placement.mode, "canvas or circular: in a crop the content itself "
                "changes, so that no layer could commute with the shift")
        require(isinstance(placement.background, int), "background", "a texture",
                "a plain number: over a texture the content itself changes when the object moves")
        require(period >= 2, "period", period, "at least 2")
        self.model, self.images, self.placement, self.period = model, images, placement, period
        self.room = tuple(canvas - (1 if placement.mode == "circular" else image)
                          for canvas, image in zip(placement.canvas, placement.image, strict=True))
        if min(self.room) < period - 1:
            raise UsageError(f"period must be at most {min(self.room) + 1} for images of {placement.image} on "
                             f"{placement.canvas} in mode {placement.mode}, got {period}; choose a smaller period or "
                             "a larger canvas")
        self.start = self.begin(period - 1)

    def begin(self, span: int) -> tuple[int, int]:
        """The offset from which `span` pixels down or right stay as close to the middle as they can."""
        if self.placement.mode == "circular":
            return (-(span // 2), -(span // 2))
        return ((self.room[0] - span) // 2, (self.room[1] - span) // 2)

    def _run(self, canvases: torch.Tensor, wanted: set[str] | None) -> Steps:
        try:
            return run_steps(self.model, to_pixels(canvases, device_and_dtype(self.model)[1]), wanted)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{model_name(self.model)} cannot take pictures of {tuple(canvases.shape[1:])} "
                             f"(channels, height, width): {described(error)}; choose the canvas and the channels that "
                             "it was built for") from error

    def responses(self, images: torch.Tensor, offset: tuple[int, int], placement: Placement) -> dict[str, torch.Tensor]:
        """What images that all lie at one offset change in each layer, float64, beside the empty canvas."""
        offsets = torch.tensor([offset], device=images.device).expand(len(images), 2)
        found = self._run(placement.place(images, offsets), set(self.empty)).found
        return {name: _double(answer) - self.empty[name] for name, answer in found.items()}

    def find_layers(self, names: Sequence[str] | None) -> list[_Layer]:
        """Choose the layers, remember what they say of the empty canvas, and find their strides."""
        steps = self._run(self.placement.empty(self.images[:1]), None)
        chosen = _chosen(steps, names, model_name(self.model))
        self.empty = {name: _double(steps.found[name]) for name in chosen}
        self.bytes = sum(answer.numel() * answer.element_size() for answer in self.empty.values())
        strides = self.find_strides({name: steps.found[name].shape for name in chosen})
        return [_Layer(name, tuple(steps.found[name].shape[1:]), strides.get(name)) for name in chosen]

    def find_strides(self, shapes: dict[str, torch.Size]) -> dict[str, tuple[int, int]]:
        """The strides of the layers that have rows and columns."""
        maps = {name: shape for name, shape in shapes.items() if len(shape) == 4 and min(shape[2:]) > 1}
        found = [self._strides(maps, axis) for axis in _AXES]
        return {name: (found[0][name], found[1][name]) for name in maps}

    def _strides(self, maps: dict[str, torch.Size], axis: int) -> dict[str, int]:
        """The stride of each map along an axis: the number of pixels that noise moves by when the map moves by one."""
        noise, patch, room = self._noise(axis)
        most = {name: max(min((patch.canvas[axis] - 1) // (shape[axis] - 1), room), 1) for name, shape in maps.items()}
        span = min(max(most.values(), default=0), room)
        start = ((room - span) // 2 if patch.mode == "canvas" else -(span // 2))
        still = self.responses(noise, _along(axis, start), patch)
        clear: dict[str, list[float]] = {name: [] for name in maps}
        for stride in range(1, span + 1):
            predictions = self.responses(noise, _along(axis, start + stride), patch)
            for name in (name for name in maps if stride <= most[name]):
                around = self._wraps(maps[name][axis], stride, axis)
                clear[name].append(decibel(*_powers(still[name], predictions[name], Fraction(1), axis, around)))
        return {name: _clearest(values) for name, values in clear.items()}

    def _noise(self, axis: int) -> tuple[torch.Tensor, Placement, int]:
        """Noise, half the canvas along `axis` and the whole of it across; where it lies, and how far it can move."""
        size = list(self.placement.canvas)
        size[axis] = max(size[axis] // 2, 1)
        shape = (NOISES, self.images.shape[1], *size)
        noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        patch = Placement(image=(size[0], size[1]), canvas=self.placement.canvas, mode=self.placement.mode,
                          background=self.placement.background)
        room = patch.canvas[axis] - (1 if patch.mode == "circular" else size[axis])
        return noise.to(self.images.device), patch, room

    def _wraps(self, size: int, stride: int, axis: int) -> bool:
        """Whether a map goes around as the canvas does."""
        return self.placement.mode == "circular" and size * stride == self.placement.canvas[axis]

    def measure(self, layers: list[_Layer], task: Task) -> tuple[torch.Tensor, list[float]]:
        """Return dB (L, 2, D), and over all shifts but 0 (L,)."""
        sums = torch.zeros(2, len(layers), len(_AXES), self.period, dtype=torch.float64)  # signal, error
        spread = _Spread(layers)
        count = max(1, min(len(self.images), MEMORY // max(self.bytes, 1)))
        for images in self.images.split(count):
            still = self.responses(images, self.start, self.placement)
            spread.add(still)
            for place, axis in enumerate(_AXES):
                for shift in range(self.period):
                    down, right = _along(axis, shift)
                    offset = (self.start[0] + down, self.start[1] + right)
                    predictions = self.responses(images, offset, self.placement)
                    for row, layer in enumerate(layers):
                        sums[:, row, place, shift] += self._compare(layer, still, predictions, place, shift)
            task.advance(len(images))
        for row, power in spread.powers().items():
            sums[0, row] = power
        decibels = torch.tensor([decibel(*pair) for pair in sums.flatten(1).T.tolist()], dtype=torch.float64)
        return decibels.view(sums.shape[1:]), [decibel(*pair) for pair in sums[..., 1:].sum(dim=(2, 3)).T.tolist()]

    def _compare(self, layer: _Layer, still: dict[str, torch.Tensor], predictions: dict[str, torch.Tensor], place: int,
                 shift: int) -> torch.Tensor:
        """The powers of signal and error, summed over images, channels and pixels."""
        before, after, axis = still[layer.name], predictions[layer.name], _AXES[place]
        if layer.strides is None:
            return torch.tensor([0.0, (after - before).square().sum().item()], dtype=torch.float64)
        stride = layer.strides[place]
        powers = _powers(before, after, Fraction(shift, stride), axis, self._wraps(before.shape[axis], stride, axis))
        return torch.tensor(powers, dtype=torch.float64)


class _Spread:
    """The spread of layers without rows and columns between images: the sum of squares about their mean."""

    def __init__(self, layers: list[_Layer]):
        self.rows = {layer.name: row for row, layer in enumerate(layers) if layer.strides is None}
        self.count = 0
        self.sums: dict[str, torch.Tensor] = {}
        self.squares: dict[str, float] = {}

    def add(self, predictions: dict[str, torch.Tensor]) -> None:
        self.count += len(next(iter(predictions.values())))
        for name in self.rows:
            self.sums[name] = self.sums.get(name, 0) + predictions[name].sum(dim=0)
            self.squares[name] = self.squares.get(name, 0.0) + predictions[name].square().sum().item()

    def powers(self) -> dict[int, float]:
        """By row of the layer; what is left of rounding counts as none."""
        found = {}
        for name, row in self.rows.items():
            power = self.squares[name] - self.sums[name].square().sum().item() / self.count
            found[row] = power if power > 1e-12 * self.squares[name] else 0.0
        return found


def decibel(signal: float, error: float) -> float:
    """Return 10 log10(signal / error); infinity without an error, NaN where there is neither.

    >>> decibel(100.0, 1.0), decibel(1.0, 0.0), decibel(0.0, 0.0)
    (20.0, inf, nan)
    """
    if not (math.isfinite(signal) and math.isfinite(error)) or signal == error == 0:
        return math.nan
    if error == 0:
        return math.inf
    return 10 * math.log10(signal / error) if signal else -math.inf


def _clearest(decibels: list[float]) -> int:
    """The stride of the highest figure, the first of which is that of 1; the smallest where only rounding differs.

    >>> _clearest([20.0, 250.0, math.nan, math.inf]), _clearest([])
    (2, 1)
    """
    levels = [-math.inf if math.isnan(value) else min(value, _CLEAR) for value in decibels]
    return 1 + levels.index(max(levels)) if levels else 1


def _powers(before: torch.Tensor, after: torch.Tensor, by: Fraction, axis: int, around: bool) -> tuple[float, float]:
    reference = move(before, by, axis, around=around)
    error = (after if around else known(after, by, axis)) - reference
    return reference.square().sum().item(), error.square().sum().item()


def _along(axis: int, pixels: int) -> tuple[int, int]:
    return (pixels, 0) if axis == -2 else (0, pixels)


def _double(answer: torch.Tensor) -> torch.Tensor:
    """float64, on the CPU where the device has none."""
    return (answer.cpu() if answer.device.type == "mps" else answer).double()


def _chosen(steps: Steps, names: Sequence[str] | None, model: str) -> list[str]:
    """The steps to look at, in the order in which they ran."""
    if names is None:
        chosen = {name for name in steps.leaves if name in steps.found}
        before = [name for name in steps.found if name in chosen and name != OUTPUT]
        if OUTPUT in chosen and before and torch.equal(steps.found[before[-1]], steps.found[OUTPUT]):
            chosen.discard(OUTPUT)  # the last layer says it already
    else:
        chosen = {match_layer(name, steps.found, model) for name in names}
    if not chosen:
        raise UsageError(f"{model} has no layer to look at: no step gives a tensor (batch, ...), or layers is "
                         "empty; name layers that do")
    return [name for name in steps.found if name in chosen]


def _drops(layers: list[_Layer], overall: list[float]) -> list[float | None]:
    before, drops = PIXELS_DB, []
    for layer, value in zip(layers, overall, strict=True):
        if layer.strides is None or math.isnan(value):
            drops.append(None)
            continue
        drops.append(before - min(value, PIXELS_DB))
        before = min(value, PIXELS_DB)
    return drops


def _largest(layers: list[_Layer], drops: list[float | None]) -> str | None:
    losses = [(drop, layer.name) for drop, layer in zip(drops, layers, strict=True) if drop is not None and drop > 0]
    return max(losses, key=lambda loss: loss[0])[1] if losses else None


def _notes(layers: list[_Layer], overall: list[float]) -> list[str]:
    silent = [layer.name for layer, value in zip(layers, overall, strict=True) if math.isnan(value)]
    return [f"not compared, because they show nothing of the images or are not finite: {', '.join(silent)}"] if silent \
        else []
