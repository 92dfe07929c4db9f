"""Downsampling that commutes with shifts: adaptive polyphase sampling.

A stride of s keeps one of s * s interleaved subsamples (polyphase components) of a map, always the one at the same
offset. If the map shifts by one pixel, that offset holds another component. Adaptive polyphase sampling keeps the
component with the largest norm, or with the best learned score: a circular shift of the map then only rolls the output.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers.common import check_maps, exported_as_one_node, require_positive
from shiftscope.layers.padding import CircularPad2d
from shiftscope.layers.ties import break_ties, near_best, tied


def components(values: torch.Tensor, stride: int) -> torch.Tensor:
    """Return the polyphase components of maps (..., H, W) as (..., s, s, H/s, W/s).

    >>> components(torch.arange(16).view(4, 4), 2)[0, 1]
    tensor([[ 1,  3],
            [ 9, 11]])
    """
    *front, height, width = values.shape
    split = values.reshape(*front, height // stride, stride, width // stride, stride)
    return split.movedim((-3, -1), (-4, -3))


def check_divides(x: torch.Tensor, stride: int) -> None:
    """Raise a `UsageError` if `stride` does not divide height and width of maps (..., H, W)."""
    height, width = x.shape[-2:]
    if height % stride or width % stride:
        raise UsageError(f"a map of {height} x {width} cannot be downsampled by {stride}, which does not divide its "
                         "height and width: choose a canvas whose height and width are multiples of the model's total "
                         "stride")


# ---------------------------------------------------------------------- selection of a component

def strongest_phase(x: torch.Tensor, stride: int, order: int = 2) -> torch.Tensor:
    """Return row and column of the first value of each image's strongest polyphase component, int64 (B, 2).

    The strength is the sum of |x|^order over channels and positions. Components that tie within rounding are compared
    by `tie_keys`; if they tie in all keys they are taken to be equal, and the first is selected.

    Args:
        x: (B, C, H, W).
        stride: s, divides H and W.
        order: of the norm.
    """
    with torch.no_grad():
        powers = _powers(x, order)
        energy = components(powers.sum(1).double(), stride).sum((-2, -1)).flatten(1)  # (B, s*s)
        return _best_phase(energy, energy.amax(1, keepdim=True), powers, stride, _tolerance(x.dtype))


def _tolerance(dtype: torch.dtype) -> float:
    """Relative difference below which two components tie."""
    return 1e-12 if dtype == torch.float64 else 1e-6


def _powers(x: torch.Tensor, order: int = 2) -> torch.Tensor:
    """Return |x|^order; in half precision squares would overflow, or round so much that the order changes."""
    wide = x if x.dtype.itemsize >= 4 else x.float()
    return wide.square() if order == 2 else wide.abs().pow(order)


def _best_phase(scores: torch.Tensor, scale: torch.Tensor, powers: torch.Tensor, stride: int,
                tolerance: float) -> torch.Tensor:
    """Return the phase with the highest score, int64 (B, 2).

    Args:
        scores: (B, s*s), one per component.
        scale: (B, 1), magnitude of the numbers that were summed to scores; these tie within `tolerance` of it.
        powers: (B, C, H, W), at least 0, for `tie_keys`.
    """
    candidates = near_best(scores, torch.ones_like(scores, dtype=torch.bool), tolerance * scale)
    rows = tied(candidates).nonzero()[:, 0]
    first = candidates.to(torch.uint8).argmax(1)
    if len(rows):
        first[rows] = break_ties(candidates[rows], tie_keys(powers[rows], stride), tolerance)
    return torch.stack((first // stride, first % stride), 1)


def tie_keys(powers: torch.Tensor, stride: int) -> Iterator[torch.Tensor]:
    """Yield features of the polyphase components, (B, s*s), that are invariant to shifts but not to reflections.

    They are the energy, the energy weighted by channel, and parts of the triple correlation of the energy map m, which
    distinguishes any two maps that are not shifts of each other: sums over the torus of m(x) m(x + d)^2 for lags d
    along rows, columns and the diagonal, and, because squaring has no effect on binary maps, of m(x) m(x + d) m(x + e)
    for lags that no reflection preserves. The iteration ends early if all components are the same map.

    Args:
        powers: (B, C, H, W), at least 0.
        stride: s.
    """
    weights = 1 + torch.arange(powers.shape[1], device=powers.device) / powers.shape[1]
    plain, weighted = (components(maps.double(), stride).flatten(1, 2) for maps in  # (B, s*s, H/s, W/s)
                       (powers.sum(1), (powers * weights.to(powers)[:, None, None]).sum(1)))
    yield plain.sum((2, 3))
    yield weighted.sum((2, 3))
    maps = weighted / weighted.amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    if bool((maps == maps[:, :1]).all()):
        return
    height, width = maps.shape[2:]
    for d in range(1, max(height, width)):
        for lag in ((0, -d), (-d, 0), (-d, -d)):
            yield (maps * maps.roll(lag, (2, 3)).square()).sum((2, 3))
        for one, other in (((0, -d), (-d, 0)), ((0, -1), (0, -1 - d)), ((-1, 0), (-1 - d, 0))):
            yield (maps * maps.roll(one, (2, 3)) * maps.roll(other, (2, 3))).sum((2, 3))


def _flat_index(x: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return the index in (B*H*W) of each position at rows (B, h) x columns (B, w), int64 (B*h*w,)."""
    batch, _, height, width = x.shape
    image = torch.arange(batch, device=x.device)[:, None, None] * (height * width)
    return (image + rows[:, :, None] * width + columns[:, None]).flatten()


def take_phase(x: torch.Tensor, phase: torch.Tensor, stride: int) -> torch.Tensor:
    """Return the polyphase component of each image that begins at its phase.

    Args:
        x: (B, C, H, W).
        phase: int64 (B, 2), from 0 to s - 1.
        stride: s.

    Returns:
        (B, C, H/s, W/s) in channels-last memory format.
    """
    batch, channels, height, width = x.shape
    rows = torch.arange(0, height, stride, device=x.device) + phase[:, :1]
    columns = torch.arange(0, width, stride, device=x.device) + phase[:, 1:]
    kept = x.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, _flat_index(x, rows, columns))
    return kept.view(batch, height // stride, width // stride, channels).permute(0, 3, 1, 2)


class _Permute(torch.autograd.Function):
    """Rows in another order; indexing by the inverse permutation in the backward pass is faster than adding."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, order: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        inverse, = ctx.saved_tensors
        return grads[0].index_select(0, inverse), None, None


def roll_each(x: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Return each map rolled up by shifts[:, 0] rows and left by shifts[:, 1] columns.

    Args:
        x: (B, C, H, W).
        shifts: int64 (B, 2).

    Returns:
        (B, C, H, W) in channels-last memory format.

    Example:
        >>> roll_each(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[0, 1]])).flatten().tolist()
        [2, 3, 1]
    """
    batch, channels, height, width = x.shape

    def order(shifts: torch.Tensor) -> torch.Tensor:
        return _flat_index(x, (torch.arange(height, device=x.device) + shifts[:, :1]) % height,
                           (torch.arange(width, device=x.device) + shifts[:, 1:]) % width)

    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    rolled = _Permute.apply(rows, order(shifts), order(-shifts))
    return rolled.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _subsampled(x: torch.Tensor, stride: int) -> torch.Tensor:
    return x.new_empty(x.shape[0], x.shape[1], x.shape[2] // stride, x.shape[3] // stride)


@exported_as_one_node("polyphase_downsample", lambda x, stride, order: _subsampled(x, stride))
def _take_strongest(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    return take_phase(x, strongest_phase(x, stride, order), stride)


@exported_as_one_node("take_best_phase", lambda x, scores, scale, stride: _subsampled(x, stride))
def _take_best(x: torch.Tensor, scores: torch.Tensor, scale: torch.Tensor, stride: int) -> torch.Tensor:
    return take_phase(x, _best_phase(scores, scale, _powers(x), stride, _tolerance(x.dtype)), stride)


@exported_as_one_node("phase_to_origin",
                      lambda x, stride, order: torch.empty_like(x, memory_format=torch.contiguous_format))
def _roll_strongest(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    return roll_each(x, strongest_phase(x, stride, order))


# ---------------------------------------------------------------------- layers

class _StrongestPhase(nn.Module):
    """Layers that find the component with the largest norm."""

    def __init__(self, stride: int = 2, *, order: int = 2):
        super().__init__()
        require_positive(stride=stride, order=order)
        self.stride, self.order = stride, order

    def extra_repr(self) -> str:
        return f"stride={self.stride}, order={self.order}"


class PolyphaseDownsample2d(_StrongestPhase):
    """Keep the strongest polyphase component of each image: downsampling by `stride` that commutes with shifts.

    A circularly shifted input gives a circularly shifted output, exactly, for every shift. Gradients flow to the values
    that are kept; the selection has no gradient.

    Args:
        stride: at least 1.
        order: order of the norm that is compared.

    Raises:
        UsageError: if stride or order is below 1; (in forward) if the stride does not divide H and W.

    Example:
        >>> x = torch.arange(16.0).view(1, 1, 4, 4)
        >>> down = PolyphaseDownsample2d(2)
        >>> down(x)
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])
        >>> down(x.roll((1, 1), (2, 3))).flatten().sort().values.equal(down(x).flatten().sort().values)
        True

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_divides(x, self.stride)
        return _take_strongest(x, self.stride, self.order)


class PhaseToOrigin(_StrongestPhase):
    """Roll each image's maps so that their strongest polyphase component begins at row 0, column 0.

    Maps that differ by a circular shift then differ by a shift by multiples of the stride, so a strided operation with
    circular padding after this layer gives outputs that differ by a circular shift. Unlike `PolyphaseDownsample2d`,
    which needs the dense result of the operation, this keeps the cost of the strided one, and one roll serves all
    branches that begin here.

    Args:
        stride: at least 1.
        order: order of the norm that is compared.

    Raises:
        UsageError: if stride or order is below 1; (in forward) if the stride does not divide H and W.

    Example:
        >>> x = torch.tensor([[[[0.0, 1.0, 0.0, 5.0]] * 2]])
        >>> PhaseToOrigin(2)(x)[0, 0, 0]
        tensor([1., 0., 5., 0.])

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214. They
        select the component after the operation, this layer before it.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_divides(x, self.stride)
        rolled = _roll_strongest(x, self.stride, self.order)
        # With channels last, the backward pass of a strided 1 x 1 convolution writes outside its memory: oneDNN of
        # torch 2.13, CPUs without AVX-512, a number of channels that is not a multiple of 8.
        return rolled.contiguous() if torch.is_grad_enabled() and x.is_contiguous() else rolled


class LearnedPolyphase2d(nn.Module):
    """Score every polyphase component with a small network and keep the best one.

    The scoring network (circular convolution, ReLU, weighted sum, mean over the torus) is the same for all components,
    so a shift of the input only reorders the scores. In eval mode the component with the highest score is kept (ties
    as in `PolyphaseDownsample2d`), which commutes with all circular shifts for any weights. In training mode the
    components are averaged with the softmax of their scores, so that the scoring network learns; this does not commute.

    Args:
        channels: number of channels.
        stride: at least 1.
        hidden: channels of the scoring network; None: `channels`, 32 at most.
        temperature: of the softmax; with a low one training is close to the selection in eval mode. It may be changed
            during training.

    Raises:
        UsageError: if an argument is out of range; (in forward) if the number of channels differs, or the stride does
            not divide H and W.

    Example:
        >>> down = LearnedPolyphase2d(4).eval()
        >>> down(torch.rand(2, 4, 8, 6)).shape
        torch.Size([2, 4, 4, 3])

    References:
        Rojas-Gomez et al., "Learnable polyphase sampling for shift invariant and equivariant convolutional networks",
        NeurIPS 2022, arXiv:2210.08001. They train with Gumbel noise; this layer uses no random numbers.
    """

    def __init__(self, channels: int, stride: int = 2, *, hidden: int | None = None, temperature: float = 1.0):
        super().__init__()
        hidden = min(channels, 32) if hidden is None else hidden
        require_positive(channels=channels, stride=stride, hidden=hidden)
        require(temperature > 0, "temperature", temperature, "above 0")
        self.channels, self.stride, self.temperature = channels, stride, temperature
        self.pad = CircularPad2d(1)
        self.conv = nn.Conv2d(channels, hidden, 3)
        self.weigh = nn.Linear(hidden, 1, bias=False)

    def scores(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each component's score (B, s*s), and the magnitude (B, 1) of the numbers that were summed to it."""
        batch, s = len(x), self.stride
        parts = components(x, s).permute(0, 2, 3, 1, 4, 5)  # (B, s, s, C, H/s, W/s)
        maps = self.conv(self.pad(parts.flatten(0, 2))).relu()  # (B*s*s, hidden, H/s, W/s)
        widest = torch.float32 if x.device.type == "mps" else torch.float64  # a shifted map is summed in another order
        means = maps.to(widest).mean((2, 3)).unflatten(0, (batch, s * s))
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
        return _take_best(x, scores, scale, self.stride)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, temperature={self.temperature}"
