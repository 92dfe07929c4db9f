"""Averaging over all placements at which an image lies whole on its canvas."""

import torch
from torch import nn

from shiftscope.layers.averaging import MeanOfViews, Of, one_tensor
from shiftscope.layers.placement_average import Everywhere
from shiftscope.layers.recenter import Recenter
from shiftscope.outputs import OutputType, check_output_type
from shiftscope.placement import Placement


class WholeAverage(nn.Module):
    """Average a net's answers over all placements of an image of one size on an empty canvas, wherever it lies.

    The average over all circular shifts (`PlacementAverage`) takes in pictures in which the image is cut in two and
    lies at opposite borders, such as the net never saw: three of four for 28 on 56. To leave them out, the object has
    to be found: it is recentered, so the background must be known. What follows is given equal tensors everywhere.

    Args:
        model: (B, C, H, W) -> (B, K), logits, probabilities or log-probabilities.
        image: (h, w) of the images.
        canvas: (H, W).
        background: of an empty canvas, as a pixel in [0, 1].
        everywhere: the net's outputs for all circular shifts in one pass, (B, H*W, K), used in eval mode without
            gradients; None: the net is run at each placement.
        of: average "logits" or "probabilities", see `MeanOfViews`.
        at_once: pictures a forward pass without `everywhere`, at most.
        output_type: what the net returns; determined in the first call unless given, and kept.

    Example:
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(30, 3))
        >>> average, canvas = WholeAverage(net, (2, 3), (5, 6), background=0.0), torch.zeros(1, 1, 5, 6)
        >>> canvas[..., :2, :3] = torch.rand(2, 3)
        >>> average(canvas).equal(average(canvas.roll((3, 2), (2, 3))))
        True
    """

    def __init__(self, model: nn.Module, image: tuple[int, int], canvas: tuple[int, int], *, background: float,
                 everywhere: Everywhere | None = None, of: Of = "probabilities", at_once: int = 256,
                 output_type: OutputType | None = None):
        super().__init__()
        self.center, self.model = Recenter(background=background), model
        self.image, self.canvas, self.everywhere, self.at_once = image, canvas, everywhere, at_once
        self.of: Of = of
        self.output_type: OutputType | None = None if output_type is None else check_output_type(output_type)
        place = Placement(image=image, canvas=canvas)
        self.rolls = place.offsets() - torch.tensor(place.middle)  # (P, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        centered, mean = self.center(pixels), MeanOfViews(self.of, self.output_type)
        follows = torch.is_grad_enabled() and centered.requires_grad
        if self.everywhere is not None and not self.training and not follows:
            (height, width), rolls = self.canvas, self.rolls.to(pixels.device)
            index = rolls[:, 0] % height * width + rolls[:, 1] % width
            mean.add(self.everywhere(centered)[:, index].transpose(0, 1))
        else:
            for part in self.rolls.split(max(1, self.at_once // max(len(pixels), 1))):
                views = torch.cat([centered.roll((dy, dx), (2, 3)) for dy, dx in part.tolist()])
                mean.add(one_tensor(self.model(views), self.model).view(len(part), len(pixels), -1))
        self.output_type = mean.output_type
        return mean.result()

    def extra_repr(self) -> str:
        return f"image={self.image}, of={self.of!r}, fast={self.everywhere is not None}"
