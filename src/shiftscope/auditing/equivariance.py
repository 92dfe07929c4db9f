"""Equivariance of layers: how much the output of each layer differs from a shifted output if the image is shifted."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn

from shiftscope.auditing.layer_outputs import OUTPUT, LayerOutputs, layer_outputs
from shiftscope.auditing.shift_error import decibel, signal_and_error
from shiftscope.data import Dataset
from shiftscope.errors import UsageError, require
from shiftscope.geometry import Geometry, Offset
from shiftscope.hooks import frozen, match_layer
from shiftscope.models.adapt import Normalization, adapt
from shiftscope.models.forward import device_and_dtype, to_pixels
from shiftscope.modules import Classifier, describe_error, model_name, reports_model_errors
from shiftscope.placement import Placement
from shiftscope.progress import Progress, SilentProgress, Task
from shiftscope.results.equivariance import PIXELS_DB, Equivariance
from shiftscope.settings import VALIDATION_IMAGES

MEMORY = 256 * 2**20
"""Bytes of all layers' outputs for one batch; the outputs for the shifted batch take as much again."""

NOISE_IMAGES = 2
"""Noise images that determine strides: a single one may by accident match at another stride."""

_AXES = (-2, -1)
_CLEAR = 100.0  # dB: differences above this level are rounding


@dataclass(frozen=True)
class _Layer:
    """A layer; `strides` (down, right) is None for layers without rows and columns."""

    name: str
    shape: tuple[int, ...]
    strides: tuple[int, int] | None


@reports_model_errors
def equivariance(model: Classifier, data: Dataset | torch.Tensor, *, placement: Placement,
                 layers: Sequence[str] | None = None, period: int = 8, images: int = 32, split: str = "test",
                 validation: int = VALIDATION_IMAGES, name: str | None = None, normalize: Normalization | None = None,
                 preprocess: Callable[[torch.Tensor], torch.Tensor] | None = None,
                 progress: Progress | None = None) -> Equivariance:
    """Measure how far each layer of a model is from shift equivariance, at every shift below `period`.

    The object is shifted by d = 0 .. period - 1 pixels, down and right. An equivariant layer then returns its output
    for the unshifted image, shifted by d / s pixels, where s is the layer's stride. The result is the error::

        10 log10( sum |r(0) shifted by d/s|^2 / sum |r(d) - r(0) shifted by d/s|^2 )  dB,

    where r is the output minus the output for the empty canvas. Fractional shifts use the shift theorem of the Fourier
    transform, so a layer without aliasing has no error at any phase (Karras et al. 2021, EQ-T; here divided by the
    power of the signal instead of its peak). Layers without rows and columns should not change: their change is
    compared with their variance between images. Maps that do not wrap around are compared where the shifted map is
    known. The stride of a map is the number of pixels by which the object moves when the map moves by one: the one with
    the smallest error for a patch of noise that is half the canvas long.

    Args:
        model: takes pixels in [0, 1], (B, C, H, W). It runs in eval mode; all its state is restored.
        data: a dataset, or images uint8 (N, C, h, w).
        placement: image, canvas, mode ("canvas" or "circular") and a constant background; its offsets are ignored.
        layers: names of layers (default: every submodule without children, and every function of
            `torch.nn.functional` outside of them, without dropout, padding and softmax).
        period: number of shifts in each direction: a multiple of the model's largest stride contains all its phases.
        images: number of images.
        split, validation: split of a dataset, see `evaluate`.
        name: the model's name in tables (default: its class).
        normalize, preprocess: preparation of the pixels, see `evaluate`.

    Raises:
        UsageError: if the mode is crop or fill or the background a texture; if the canvas is too small for `period`
            shifts; if there are fewer than two images; if a layer is unknown; if the model does not accept the canvas.

    References:
        Zhang, "Making Convolutional Networks Shift-Invariant Again", ICML 2019; Karras et al., "Alias-Free Generative
        Adversarial Networks", NeurIPS 2021; Chaman & Dokmanic, "Truly Shift-Invariant Convolutional Neural Networks",
        CVPR 2021.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), nn.MaxPool2d(2)).double()
        >>> images = torch.arange(2 * 64, dtype=torch.uint8).view(2, 1, 8, 8)
        >>> place = Placement(image=(8, 8), canvas=(16, 16), mode="circular")
        >>> result = equivariance(net, images, placement=place, period=2)
        >>> result.layers, result.strides, result.loses_most
        (['0', '1'], [[1, 1], [2, 2]], '1')
    """
    begun = time.perf_counter()
    name = name or model_name(model)
    batch = _images(data, split, validation, images)
    prepared = adapt(model, normalize=normalize, preprocess=preprocess, shape=(batch.shape[1], *placement.canvas))
    device, _ = device_and_dtype(prepared)
    probe = _Probe(prepared, batch.to(device), placement, period)
    task = (progress or SilentProgress()).task(f"equivariance of {name}", len(batch))
    try:
        with frozen(prepared), torch.no_grad():
            measured = probe.find_layers(layers)
            decibels, overall = probe.measure(measured, task)
    finally:
        task.close()
    drops = _drops(measured, overall)
    losses = [(drop, layer.name) for drop, layer in zip(drops, measured, strict=True) if drop is not None and drop > 0]
    dataset = data if isinstance(data, Dataset) else None
    return Equivariance(
        model=name, dataset=dataset.name if dataset else "images", synthetic=bool(dataset and dataset.synthetic),
        split=split if dataset else "given", mode=placement.mode, placement=placement.to_dict(), images=len(batch),
        start=list(probe.start), shifts=list(range(period)), layers=[layer.name for layer in measured],
        kinds=["map" if layer.strides else "units" for layer in measured],
        shapes=[list(layer.shape) for layer in measured],
        strides=[list(layer.strides) if layer.strides else None for layer in measured],
        overall=[value if math.isfinite(value) else None for value in overall], drops=drops,
        loses_most=max(losses, key=lambda loss: loss[0])[1] if losses else None, seconds=time.perf_counter() - begun,
        device=str(device), notes=_notes(measured, overall), decibels=decibels.numpy())


def _images(data: Dataset | torch.Tensor, split: str, validation: int, count: int) -> torch.Tensor:
    """Return the images, uint8 (N, C, h, w)."""
    require(count >= 2, "images", count, "at least 2: some layers are measured by the variance between images")
    if isinstance(data, Dataset):
        images = data.split_images(split, validation)
        data = images.gather(torch.arange(min(count, len(images))))
    if data.dtype != torch.uint8 or data.ndim != 4 or len(data) < 2:
        raise UsageError(f"data must be a dataset or at least 2 images, uint8 (N, C, h, w), got {data.dtype} "
                         f"{tuple(data.shape)}")
    return data[:count]


def start_offset(geometry: Geometry, span: int) -> Offset:
    """Return the offset for which the offsets up to `span` pixels down or right are centered.

    >>> start_offset(Geometry(image=(28, 28), canvas=(56, 56)), 7)
    (10, 10)
    """
    if geometry.mode == "circular":
        return -(span // 2), -(span // 2)
    rows, columns = geometry.limits
    return (rows - 1 - span) // 2, (columns - 1 - span) // 2


class _Probe:
    """Runs the model on shifted images."""

    def __init__(self, model: nn.Module, images: torch.Tensor, placement: Placement, period: int):
        require(placement.geometry.keeps_pixels, "mode", placement.mode, "canvas or circular: a shifted crop or filled "
                "image has other content, so no layer can be equivariant")
        require(isinstance(placement.background, int), "background", "a texture", "a number: on a texture the content "
                "changes when the object moves")
        require(period >= 2, "period", period, "at least 2")
        self.model, self.images, self.placement, self.period = model, images, placement, period
        if (most := min(placement.geometry.limits)) < period:
            raise UsageError(f"period must be at most {most} for images of {placement.image} on {placement.canvas} in "
                             f"mode {placement.mode}, got {period}; choose a smaller period or a larger canvas")
        self.start = start_offset(placement.geometry, period - 1)

    def _run(self, canvases: torch.Tensor, names: set[str] | None) -> LayerOutputs:
        try:
            return layer_outputs(self.model, to_pixels(canvases, device_and_dtype(self.model)[1]), names)
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(f"{model_name(self.model)} does not accept images of {tuple(canvases.shape[1:])} "
                             f"(channels, height, width): {describe_error(error)}; choose the canvas and the channels "
                             "for which it was built") from error

    def responses(self, images: torch.Tensor, offset: Offset, placement: Placement) -> dict[str, torch.Tensor]:
        """Return each layer's output for images at one offset, minus that for the empty canvas, float64."""
        offsets = torch.tensor([offset], device=images.device).expand(len(images), 2)
        outputs = self._run(placement.place(images, offsets), set(self.empty)).outputs
        return {name: _double(output) - self.empty[name] for name, output in outputs.items()}

    def find_layers(self, names: Sequence[str] | None) -> list[_Layer]:
        """Select the layers, store their outputs for the empty canvas, and determine their strides."""
        recorded = self._run(self.placement.empty(self.images[:1]), None)
        selected = _selected(recorded, names, model_name(self.model))
        self.empty = {name: _double(recorded.outputs[name]) for name in selected}
        self.bytes = sum(output.numel() * output.element_size() for output in self.empty.values())
        shapes = {name: recorded.outputs[name].shape for name in selected}
        maps = {name: shape for name, shape in shapes.items() if len(shape) == 4 and min(shape[2:]) > 1}
        down, right = (self._strides(maps, axis) for axis in _AXES)
        return [_Layer(name, tuple(shape[1:]), (down[name], right[name]) if name in maps else None)
                for name, shape in shapes.items()]

    def _strides(self, maps: dict[str, torch.Size], axis: int) -> dict[str, int]:
        """Return the stride of each map along an axis: the shift of noise that shifts the map by one."""
        noise, patch = self._noise(axis)
        room = patch.geometry.limits[axis] - 1
        most = {name: max(min((patch.canvas[axis] - 1) // (shape[axis] - 1), room), 1) for name, shape in maps.items()}
        span = min(max(most.values(), default=0), room)
        start = start_offset(patch.geometry, span)[axis]
        before = self.responses(noise, _along(axis, start), patch)
        levels: dict[str, list[float]] = {name: [] for name in maps}
        for stride in range(1, span + 1):
            after = self.responses(noise, _along(axis, start + stride), patch)
            for name in (name for name in maps if stride <= most[name]):
                wraps = self._wraps(maps[name][axis], stride, axis)
                levels[name].append(decibel(*signal_and_error(before[name], after[name], Fraction(1), axis, wraps)))
        return {name: _clearest(values) for name, values in levels.items()}

    def _noise(self, axis: int) -> tuple[torch.Tensor, Placement]:
        """Return noise images, half as long as the canvas along `axis` and as long across, and their placement."""
        size = list(self.placement.canvas)
        size[axis] = max(size[axis] // 2, 1)
        shape = (NOISE_IMAGES, self.images.shape[1], *size)
        noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        patch = Placement(image=(size[0], size[1]), canvas=self.placement.canvas, mode=self.placement.mode,
                          background=self.placement.background)
        return noise.to(self.images.device), patch

    def _wraps(self, size: int, stride: int, axis: int) -> bool:
        """Return True if a map is periodic like the canvas."""
        return self.placement.mode == "circular" and size * stride == self.placement.canvas[axis]

    def measure(self, layers: list[_Layer], task: Task) -> tuple[torch.Tensor, list[float]]:
        """Return dB (L, 2, D), and dB over all shifts but 0 (L,)."""
        sums = torch.zeros(2, len(layers), len(_AXES), self.period, dtype=torch.float64)  # signal, error
        variance = _Variance(layers)
        count = max(1, min(len(self.images), MEMORY // max(self.bytes, 1)))
        for images in self.images.split(count):
            before = self.responses(images, self.start, self.placement)
            variance.add(before)
            for column, axis in enumerate(_AXES):
                for shift in range(self.period):
                    down, right = _along(axis, shift)
                    after = self.responses(images, (self.start[0] + down, self.start[1] + right), self.placement)
                    for row, layer in enumerate(layers):
                        sums[:, row, column, shift] += self._powers(layer, before, after, column, shift)
            task.advance(len(images))
        for row, power in variance.powers().items():
            sums[0, row] = power
        decibels = torch.tensor([decibel(*pair) for pair in sums.flatten(1).T.tolist()], dtype=torch.float64)
        return decibels.view(sums.shape[1:]), [decibel(*pair) for pair in sums[..., 1:].sum(dim=(2, 3)).T.tolist()]

    def _powers(self, layer: _Layer, before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], column: int,
                shift: int) -> torch.Tensor:
        """Return the powers of signal and error, summed over images, channels and pixels."""
        first, second, axis = before[layer.name], after[layer.name], _AXES[column]
        if layer.strides is None:
            return torch.tensor([0.0, (second - first).square().sum().item()], dtype=torch.float64)
        stride = layer.strides[column]
        powers = signal_and_error(first, second, Fraction(shift, stride), axis,
                                  self._wraps(first.shape[axis], stride, axis))
        return torch.tensor(powers, dtype=torch.float64)


class _Variance:
    """Sum of squares about the mean over images, for layers without rows and columns."""

    def __init__(self, layers: list[_Layer]):
        self.rows = {layer.name: row for row, layer in enumerate(layers) if layer.strides is None}
        self.count = 0
        self.sums: dict[str, torch.Tensor] = {}
        self.squares: dict[str, float] = {}

    def add(self, responses: dict[str, torch.Tensor]) -> None:
        self.count += len(next(iter(responses.values())))
        for name in self.rows:
            self.sums[name] = self.sums.get(name, 0) + responses[name].sum(dim=0)
            self.squares[name] = self.squares.get(name, 0.0) + responses[name].square().sum().item()

    def powers(self) -> dict[int, float]:
        """Return the sum by row of the layer; a sum within rounding is 0."""
        powers = {}
        for name, row in self.rows.items():
            power = self.squares[name] - self.sums[name].square().sum().item() / self.count
            powers[row] = power if power > 1e-12 * self.squares[name] else 0.0
        return powers


def _clearest(decibels: list[float]) -> int:
    """Return the stride with the highest level (the first is stride 1), the smallest one within rounding.

    >>> _clearest([20.0, 250.0, math.nan, math.inf]), _clearest([])
    (2, 1)
    """
    levels = [-math.inf if math.isnan(value) else min(value, _CLEAR) for value in decibels]
    return 1 + levels.index(max(levels)) if levels else 1


def _along(axis: int, pixels: int) -> Offset:
    return (pixels, 0) if axis == -2 else (0, pixels)


def _double(output: torch.Tensor) -> torch.Tensor:
    """Return float64, on the CPU if the device does not have it."""
    return (output.cpu() if output.device.type == "mps" else output).double()


def _selected(recorded: LayerOutputs, names: Sequence[str] | None, model: str) -> list[str]:
    """Return the names of the layers to measure, in the order in which they ran."""
    if names is None:
        selected = {name for name in recorded.leaves if name in recorded.outputs}
        before = [name for name in recorded.outputs if name in selected and name != OUTPUT]
        if OUTPUT in selected and before and torch.equal(recorded.outputs[before[-1]], recorded.outputs[OUTPUT]):
            selected.discard(OUTPUT)  # equal to the last layer
    else:
        selected = {match_layer(name, recorded.outputs, model) for name in names}
    if not selected:
        raise UsageError(f"{model} has no layer to measure: no layer returns a tensor (batch, ...), or `layers` is "
                         "empty; name layers that do")
    return [name for name in recorded.outputs if name in selected]


def _drops(layers: list[_Layer], overall: list[float]) -> list[float | None]:
    """Return the loss of each map relative to the map before it."""
    before, drops = PIXELS_DB, []
    for layer, value in zip(layers, overall, strict=True):
        if layer.strides is None or math.isnan(value):
            drops.append(None)
            continue
        drops.append(before - min(value, PIXELS_DB))
        before = min(value, PIXELS_DB)
    return drops


def _notes(layers: list[_Layer], overall: list[float]) -> list[str]:
    names = [layer.name for layer, value in zip(layers, overall, strict=True) if math.isnan(value)]
    return [f"not compared, because they do not depend on the images or are not finite: {', '.join(names)}"] if names \
        else []
