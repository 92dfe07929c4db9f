"""Polyphase downsampling that learns which component to keep, instead of the one with the largest norm."""

import torch
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.maps import check_maps
from shiftscope.layers.padding import CircularPad2d
from shiftscope.layers.polyphase import CLOSE, CLOSE32, check_divides, components, phase_of, powers_of, take_phase

SIDE = 3
"""Of the scoring net's kernel."""


@torch.library.custom_op("shiftscope::take_best_phase", mutates_args=())
def _as_one_node(x: torch.Tensor, scores: torch.Tensor, scale: torch.Tensor, stride: int) -> torch.Tensor:
    return _best(x, scores, scale, stride).contiguous()


@_as_one_node.register_fake
def _shape_alone(x: torch.Tensor, scores: torch.Tensor, scale: torch.Tensor, stride: int) -> torch.Tensor:
    return x.new_empty(x.shape[0], x.shape[1], x.shape[2] // stride, x.shape[3] // stride)


def _best(x: torch.Tensor, scores: torch.Tensor, scale: torch.Tensor, stride: int) -> torch.Tensor:
    phase = phase_of(scores, scale, powers_of(x), stride, CLOSE.get(x.dtype, CLOSE32))
    return take_phase(x, phase, stride)


class LearnedPolyphase2d(nn.Module):
    """Score every polyphase component with a small net and keep the best one.

    The scoring net is a circular convolution, ReLU, a weighted sum and the mean over the torus, the same for each
    component, so a shift of the input only reorders the scores. In eval mode the component with the highest score is
    kept (ties as in `PolyphaseDownsample2d`): it commutes with all circular shifts, with any weights. In training
    the components are mixed by the softmax of their scores, so that the scoring net learns; a mixture does not commute.

    Args:
        channels: of the maps.
        stride: at least 1.
        hidden: channels of the scoring net; None: as many as the maps have, 32 at most.
        temperature: of the softmax; the lower, the nearer training comes to the choice made in eval mode. It may be set
            anew while training.

    Raises:
        UsageError: arguments out of range; (in forward) maps of other channels, or rows or columns that the stride does
            not divide.

    Example:
        >>> down = LearnedPolyphase2d(4).eval()
        >>> down(torch.rand(2, 4, 8, 6)).shape
        torch.Size([2, 4, 4, 3])

    References:
        Rojas-Gomez et al., "Learnable polyphase sampling for shift invariant and equivariant convolutional networks",
        NeurIPS 2022, arXiv:2210.08001. There the training draws Gumbel noise; here nothing is drawn.
    """

    def __init__(self, channels: int, stride: int = 2, *, hidden: int | None = None, temperature: float = 1.0):
        super().__init__()
        hidden = min(channels, 32) if hidden is None else hidden
        for name, value in (("channels", channels), ("stride", stride), ("hidden", hidden)):
            require(isinstance(value, int) and value >= 1, name, value, "a whole number of at least 1")
        require(temperature > 0, "temperature", temperature, "above 0")
        self.channels, self.stride, self.temperature = channels, stride, temperature
        self.around = CircularPad2d(SIDE // 2)
        self.conv = nn.Conv2d(channels, hidden, SIDE)
        self.weigh = nn.Linear(hidden, 1, bias=False)

    def scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each component's score (B, s*s), and the size (B, 1) of the numbers that were summed up in them."""
        batch, s = len(x), self.stride
        parts = components(x, s).permute(0, 2, 3, 1, 4, 5)  # (B, s, s, C, H/s, W/s)
        found = self.conv(self.around(parts.flatten(0, 2))).relu()  # (B*s*s, hidden, H/s, W/s)
        # in float64, for a shifted map is summed in another order
        means = found.to(_exactest(x)).mean((2, 3)).unflatten(0, (batch, s * s))
        weights = self.weigh.weight.to(means.dtype)[0]
        return means @ weights, (means @ weights.abs()).amax(1, keepdim=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_maps(x, "LearnedPolyphase2d", channels=self.channels)
        check_divides(x, self.stride)
        scores, scale = self.scores(x)
        if self.training:
            mix = (scores / self.temperature).softmax(1).to(x.dtype)
            parts = components(x, self.stride).flatten(2, 3)  # (B, C, s*s, H/s, W/s)
            return torch.einsum("bckyx,bk->bcyx", parts, mix)
        if torch.compiler.is_exporting():
            return torch.ops.shiftscope.take_best_phase(x, scores, scale, self.stride)
        return _best(x, scores, scale, self.stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, temperature={self.temperature}"


def _exactest(x: torch.Tensor) -> torch.dtype:
    return torch.float32 if x.device.type == "mps" else torch.float64
