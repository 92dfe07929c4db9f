"""A roll that brings the strongest polyphase component to the origin, for strided operations that follow."""

from typing import Any

import torch
from torch import nn

from shiftscope.errors import require
from shiftscope.layers.polyphase import check_divides, strongest_phase


class _Reorder(torch.autograd.Function):
    """Rows in another order; the gradient goes back by the inverse order, which is faster than adding up."""

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
        (B, C, H, W), channels last in memory.

    Example:
        >>> roll_each(torch.tensor([[[[1, 2, 3]]]]), torch.tensor([[0, 1]])).flatten().tolist()
        [2, 3, 1]
    """
    batch, channels, height, width = x.shape
    rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
    rolled = _Reorder.apply(rows, _places(x, shifts), _places(x, -shifts))
    return rolled.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _places(x: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Return for each place of each map the one that comes there, as numbers of rows, int64 (B*H*W,)."""
    batch, _, height, width = x.shape
    rows = (torch.arange(height, device=x.device) + shifts[:, :1]) % height  # (B, H)
    columns = (torch.arange(width, device=x.device) + shifts[:, 1:]) % width
    which = torch.arange(batch, device=x.device)[:, None, None] * (height * width)
    return (which + rows[:, :, None] * width + columns[:, None]).flatten()


def phase_at_origin(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    """Return maps rolled as `PhaseToOrigin` says, channels last in memory."""
    return roll_each(x, strongest_phase(x, stride, order))


@torch.library.custom_op("shiftscope::phase_to_origin", mutates_args=())
def _as_one_node(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    return phase_at_origin(x, stride, order).contiguous()


@_as_one_node.register_fake
def _shape_alone(x: torch.Tensor, stride: int, order: int) -> torch.Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


class PhaseToOrigin(nn.Module):
    """Roll every picture's maps so that their strongest polyphase component begins at row 0, column 0.

    Maps that differ by a circular shift then differ by a shift by multiples of the stride: an operation with this
    stride and circular padding that follows gives outputs that differ by a circular shift. Unlike
    `PolyphaseDownsample2d`, which needs the operation's result at every place, it keeps the cost of the strided one;
    and one roll serves all branches that begin here.

    Args:
        stride: at least 1.
        order: of the norm that tells which component is strongest.

    Raises:
        UsageError: (in forward) rows or columns are no multiple of the stride.

    Example:
        >>> x = torch.tensor([[[[0.0, 1.0, 0.0, 5.0]] * 2]])
        >>> PhaseToOrigin(2)(x)[0, 0, 0]
        tensor([1., 0., 5., 0.])

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214: there the
        component is chosen after the operation, here before it.
    """

    def __init__(self, stride: int, *, order: int = 2):
        super().__init__()
        require(isinstance(stride, int) and stride >= 1, "stride", stride, "a whole number of at least 1")
        require(isinstance(order, int) and order >= 1, "order", order, "a whole number of at least 1")
        self.stride, self.order = stride, order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        check_divides(x, self.stride)
        if torch.compiler.is_exporting():
            return torch.ops.shiftscope.phase_to_origin(x, self.stride, self.order)
        return phase_at_origin(x, self.stride, self.order)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, order={self.order}"
