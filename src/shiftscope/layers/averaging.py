"""Cycle spinning for networks: averages of a network's outputs over shifted copies of its input."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.common import check_maps
from shiftscope.layers.recenter import Recenter
from shiftscope.modules import model_name
from shiftscope.outputs import OutputType, as_floats, check_output_type, determine_output_type, probabilities
from shiftscope.placement import Placement

AverageOf = Literal["logits", "probabilities"]

AllShifts = Callable[[torch.Tensor], torch.Tensor]
"""Float pixels (B, C, H, W) -> the network's outputs for all circular shifts (B, H*W, K), row by row."""


def check_output(outputs: Any, model: nn.Module) -> torch.Tensor:
    """Return a model's output if it is one tensor (B, K), else raise a `UsageError`.

    >>> check_output(torch.zeros(2, 3), nn.Identity()).shape
    torch.Size([2, 3])
    """
    if isinstance(outputs, torch.Tensor) and outputs.ndim == 2:
        return outputs
    several = isinstance(outputs, list | tuple | dict)
    got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else (
        f"a {type(outputs).__name__} of {len(outputs)}" if several else f"a {type(outputs).__name__}")
    raise UsageError(f"an average needs a model that returns one tensor (batch, classes), {model_name(model)} "
                     f"returns {got}: wrap it in a module that returns only the logits")


class MeanOfViews:
    """Running mean of a network's outputs for several views of each image, in float64: independent of their order.

    Args:
        of: "logits": mean of the outputs as they are; "probabilities": mean of the corresponding probabilities,
            returned as probabilities if the network returns probabilities, else as log-probabilities.
        output_type: of the network; determined from the first views unless given.

    Raises:
        UsageError: if `of` or the output type is unknown.

    Example:
        >>> mean = MeanOfViews("logits")
        >>> mean.add(torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]]))
        >>> mean.result()
        tensor([[2., 4.]])
        >>> mean = MeanOfViews("probabilities")
        >>> mean.add(torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]]))
        >>> mean.result(), mean.output_type
        (tensor([[0.3750, 0.6250]]), 'probabilities')
    """

    def __init__(self, of: AverageOf, output_type: OutputType | None = None):
        require(of in ("logits", "probabilities"), "of", of, "logits or probabilities")
        self.of, self.count = of, 0
        self.output_type: OutputType | None = None if output_type is None else check_output_type(output_type)
        self.total: torch.Tensor | None = None
        self.dtype = torch.get_default_dtype()

    def add(self, outputs: torch.Tensor) -> None:
        """Add the outputs (views, B, K) for further views of the same images."""
        self.dtype = as_floats(outputs).dtype
        wide = outputs.float() if outputs.device.type == "mps" else outputs.double()
        part = (wide if self.of == "logits" else probabilities(wide, self._type(outputs))).sum(0)
        self.total = part if self.total is None else self.total + part
        self.count += len(outputs)

    def _type(self, outputs: torch.Tensor) -> OutputType:
        if self.output_type is None:
            if torch.compiler.is_exporting():
                raise UsageError("output_type must be given for an average that is exported, got None: run the model "
                                 "once before, or pass logits, probabilities or log-probabilities")
            self.output_type = determine_output_type(outputs)
        return self.output_type

    def result(self) -> torch.Tensor:
        """Return the mean over all views, (B, K), in the dtype of the outputs."""
        require(self.total is not None, "views", 0, "at least one")
        mean = self.total / self.count  # type: ignore[operator]
        if self.of == "probabilities" and self.output_type != "probabilities":
            mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
        return mean.to(self.dtype)


def phases(stride: int) -> range:
    """Return one shift per remainder modulo `stride`, those of smallest size, which rarely wrap an image around.

    >>> list(phases(4)), list(phases(3)), list(phases(2)), list(phases(1))
    ([-1, 0, 1, 2], [-1, 0, 1], [0, 1], [0])
    """
    return range(-((stride - 1) // 2), stride // 2 + 1)


class _ShiftAverage(nn.Module):
    """Average of a network's outputs over circular shifts of its input."""

    def __init__(self, model: nn.Module, of: AverageOf, output_type: OutputType | None, *,
                 all_shifts: AllShifts | None = None, batch_size: int = 1):
        super().__init__()
        require(batch_size >= 1, "batch_size", batch_size, "a positive integer")
        self.model, self.all_shifts, self.batch_size = model, all_shifts, batch_size
        self.of: AverageOf = of
        self.output_type: OutputType | None = MeanOfViews(of, output_type).output_type

    def _mean(self, pixels: torch.Tensor, shifts: Sequence[tuple[int, int]]) -> torch.Tensor:
        mean = MeanOfViews(self.of, self.output_type)
        needs_grad = torch.is_grad_enabled() and pixels.requires_grad
        if self.all_shifts is not None and not self.training and not needs_grad:
            height, width = pixels.shape[2:]
            index = torch.tensor([dy % height * width + dx % width for dy, dx in shifts], device=pixels.device)
            mean.add(self.all_shifts(pixels)[:, index].transpose(0, 1))
        else:
            for outputs in self._outputs(pixels, shifts):
                mean.add(outputs)
        self.output_type = mean.output_type
        return mean.result()

    def _outputs(self, pixels: torch.Tensor, shifts: Sequence[tuple[int, int]]) -> Iterable[torch.Tensor]:
        """Yield the outputs (shifts, B, K), several shifts per forward pass."""
        size = max(1, self.batch_size // max(len(pixels), 1))
        for start in range(0, len(shifts), size):
            part = shifts[start:start + size]
            views = torch.cat([pixels.roll(shift, (2, 3)) for shift in part])  # copies: the model may work in place
            yield check_output(self.model(views), self.model).view(len(part), len(pixels), -1)

    def extra_repr(self) -> str:
        return f"of={self.of!r}, fast={self.all_shifts is not None}"


class PhaseAverage(_ShiftAverage):
    """Average a network's outputs over the circular shifts below its total stride.

    A network of circular layers with strides and global pooling is invariant to shifts by its total stride; the average
    over the shifts in between makes it invariant to all circular shifts. Any other network, for instance one with zero
    padding or with a layer that reads positions, becomes less sensitive to position, but not invariant.
    `shiftscope.dense.prove_invariance` distinguishes the two if it supports the operations of the network; an audit
    always does. No training is needed. The cost is stride * stride forward passes.

    Args:
        model: (B, C, H, W) -> (B, K), logits, probabilities or log-probabilities.
        stride: its total stride, one number or (rows, columns).
        of: average "probabilities" or "logits" (the outputs as they are), see `MeanOfViews`.
        output_type: of the network; determined in the first call unless given, and kept.

    Raises:
        UsageError: if the stride is not positive, or `of` or the output type unknown; (in forward) if the model does
            not return one tensor.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 3, 2, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
        >>> repaired, x = PhaseAverage(net, 2), torch.rand(1, 1, 6, 8, dtype=torch.float64)
        >>> torch.allclose(repaired(x), repaired(x.roll((3, 5), (2, 3))), atol=1e-12)
        True

    References:
        Coifman & Donoho, "Translation-invariant de-noising", in: Wavelets and Statistics, 1995.
    """

    def __init__(self, model: nn.Module, stride: int | tuple[int, int], *, of: AverageOf = "probabilities",
                 output_type: OutputType | None = None):
        super().__init__(model, of, output_type)
        pair = tuple(stride) if isinstance(stride, Sequence) else (stride, stride)
        require(len(pair) == 2 and all(isinstance(n, int) and n >= 1 for n in pair), "stride", stride,
                "a positive integer, or one for rows and one for columns")
        self.stride = (pair[0], pair[1])

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_maps(pixels, "PhaseAverage")
        return self._mean(pixels, [(dy, dx) for dy in phases(self.stride[0]) for dx in phases(self.stride[1])])

    def extra_repr(self) -> str:
        return f"stride={self.stride}, of={self.of!r}"


class PlacementAverage(_ShiftAverage):
    """Average a network's outputs over all H*W circular shifts of the canvas.

    A shift of the canvas only reorders the views, so the average is invariant up to rounding, in the modes circular and
    canvas (constant background), for any network and without training. The only condition is that the network's output
    for an image depends on nothing else: neither on the other images of the batch nor on random numbers. It is not
    invariant in mode crop.

    Without `all_shifts` this takes H*W forward passes. `shiftscope.dense.placement_average` passes an implementation by
    the dense engine, at a hundredth of the cost for a small convnet. It is used in eval mode for inputs that do not
    require gradients. To train, train the network itself on placed images.

    Args:
        model: (B, C, H, W) -> (B, K), logits, probabilities or log-probabilities.
        all_shifts: computes the outputs of the same network for all shifts in one pass.
        of: average "probabilities" or "logits" (the outputs as they are), see `MeanOfViews`. Shifts that split the
            object at the border give extreme logits: the course's convnet has 86.0 % validation accuracy with
            probabilities and 74.7 % with logits.
        batch_size: maximum number of images per forward pass, without `all_shifts`.
        output_type: of the network; determined in the first call unless given, and kept.

    Raises:
        UsageError: if `of` or the output type is unknown, or batch_size below 1; (in forward) if the model does not
            return one tensor, or on export, because the graph would hold H*W copies of the network.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
        >>> average, x = PlacementAverage(net).eval(), torch.rand(1, 1, 3, 4, dtype=torch.float64)
        >>> torch.allclose(average(x), average(x.roll((2, 1), (2, 3))), atol=1e-12)
        True

    References:
        Coifman & Donoho, "Translation-invariant de-noising", in: Wavelets and Statistics, 1995.
    """

    def __init__(self, model: nn.Module, *, all_shifts: AllShifts | None = None, of: AverageOf = "probabilities",
                 batch_size: int = 256, output_type: OutputType | None = None):
        super().__init__(model, of, output_type, all_shifts=all_shifts, batch_size=batch_size)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_maps(pixels, "PlacementAverage")
        height, width = pixels.shape[2:]
        if torch.compiler.is_exporting():
            raise UsageError(f"PlacementAverage cannot be exported: its graph would hold the network {height * width} "
                             "times; export the network inside it (`.model`)")
        return self._mean(pixels, [(dy, dx) for dy in range(height) for dx in range(width)])


class WholeAverage(_ShiftAverage):
    """Average a network's outputs over all placements of an image of known size on an empty canvas.

    The average over all circular shifts (`PlacementAverage`) includes views in which the image is split at the border,
    which the network never saw in training: three of four for 28 on 56. This class leaves them out. It recenters the
    object first, so the background must be known; all placements of an image then give equal tensors.

    Args:
        model: (B, C, H, W) -> (B, K), logits, probabilities or log-probabilities.
        image: (h, w) of the images.
        canvas: (H, W).
        background: pixel value in [0, 1] of an empty canvas.
        all_shifts, of, batch_size, output_type: see `PlacementAverage`.

    Raises:
        UsageError: if `of` or the output type is unknown, or the image does not fit on the canvas; (in forward) if the
            model does not return one tensor.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(30, 3))
        >>> average, canvas = WholeAverage(net, (2, 3), (5, 6), background=0.0), torch.zeros(1, 1, 5, 6)
        >>> canvas[..., :2, :3] = torch.rand(2, 3)
        >>> average(canvas).equal(average(canvas.roll((3, 2), (2, 3))))
        True
    """

    def __init__(self, model: nn.Module, image: tuple[int, int], canvas: tuple[int, int], *, background: float,
                 all_shifts: AllShifts | None = None, of: AverageOf = "probabilities", batch_size: int = 256,
                 output_type: OutputType | None = None):
        super().__init__(model, of, output_type, all_shifts=all_shifts, batch_size=batch_size)
        self.recenter, self.image, self.canvas = Recenter(background=background), image, canvas
        placement = Placement(image=image, canvas=canvas)
        self.shifts: list[tuple[int, int]] = [
            (dy, dx) for dy, dx in (placement.offsets() - torch.tensor(placement.middle)).tolist()]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._mean(self.recenter(pixels), self.shifts)

    def extra_repr(self) -> str:
        return f"image={self.image}, {super().extra_repr()}"
