"""Cycle spinning for networks: averaging over all shifts makes any net invariant to them."""

from collections.abc import Callable

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.averaging import MeanOfViews, Of, check_of, one_tensor
from shiftscope.layers.maps import check_maps
from shiftscope.outputs import OutputType, check_output_type

Everywhere = Callable[[torch.Tensor], torch.Tensor]
"""Float pixels (B, C, H, W) -> the net's outputs for all circular shifts (B, H*W, K), in any order of the shifts."""


class PlacementAverage(nn.Module):
    """Average a net's outputs over all H*W circular shifts of the canvas.

    A shift of the canvas only reorders the shifts, so the average is the same up to rounding, in the modes circular and
    canvas (constant background), before and without any training. There is no condition on the net's layers, but that
    its output for an image depends on nothing else: not on the other images of the batch, nor on random numbers. In
    mode crop the average changes.

    Without `everywhere` the net is run H*W times. `shiftscope.dense.placement_average` gives the way through the dense
    engine, a hundredth of the cost for a small convnet. It serves eval mode and does not give gradients: pictures that
    require them, and training, take the loop. To train, train the net itself on placed images.

    Args:
        model: (B, C, H, W) -> (B, K), logits, probabilities or log-probabilities.
        everywhere: all shifts in one pass, for the same net.
        of: average "probabilities" or "logits" (the outputs as they are), see `MeanOfViews`. Shifts that cut the object
            at the border make wild logits: the course's convnet is right on 86.0 % of validation images by
            probabilities and on 74.7 % by logits.
        at_once: pictures a forward pass of the loop, at most.
        output_type: what the net returns; determined in the first call unless given, and kept.

    Raises:
        UsageError: an unknown `of`, at_once below 1; (in forward) a model that does not return one tensor; when
            exported: a graph would hold the net H*W times.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 3)).double()
        >>> average, x = PlacementAverage(net).eval(), torch.rand(1, 1, 3, 4, dtype=torch.float64)
        >>> torch.allclose(average(x), average(x.roll((2, 1), (2, 3))), atol=1e-12)
        True

    References:
        Coifman & Donoho, "Translation-invariant de-noising", in: Wavelets and Statistics, 1995.
    """

    def __init__(self, model: nn.Module, *, everywhere: Everywhere | None = None, of: Of = "probabilities",
                 at_once: int = 256, output_type: OutputType | None = None):
        super().__init__()
        check_of(of)
        require(at_once >= 1, "at_once", at_once, "a whole number of at least 1")
        self.model, self.everywhere, self.at_once = model, everywhere, at_once
        self.of: Of = of
        self.output_type: OutputType | None = None if output_type is None else check_output_type(output_type)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_maps(pixels, "PlacementAverage")
        if torch.compiler.is_exporting():
            count = pixels.shape[2] * pixels.shape[3]
            raise UsageError(f"PlacementAverage cannot be exported: its graph would hold the net {count} times; export "
                             "the net inside it (`.model`)")
        mean = MeanOfViews(self.of, self.output_type)
        follows = torch.is_grad_enabled() and pixels.requires_grad
        if self.everywhere is not None and not self.training and not follows:
            mean.add(self.everywhere(pixels).transpose(0, 1))
        else:
            self._loop(pixels, mean)
        self.output_type = mean.output_type
        return mean.result()

    def _loop(self, pixels: torch.Tensor, mean: MeanOfViews) -> None:
        """Show the net one shift after the other, several a forward pass."""
        batch, _, height, width = pixels.shape
        shifts = torch.cartesian_prod(torch.arange(height), torch.arange(width)).view(-1, 2)
        for part in shifts.split(max(1, self.at_once // max(batch, 1))):
            views = torch.cat([pixels.roll((int(dy), int(dx)), (2, 3)) for dy, dx in part])
            mean.add(one_tensor(self.model(views), self.model).view(len(part), batch, -1))

    def extra_repr(self) -> str:
        return f"of={self.of!r}, fast={self.everywhere is not None}"
