"""Checks of arguments and inputs, and custom operators, for all layers."""

import functools
from collections.abc import Callable

import torch

from shiftscope.errors import UsageError, require


def require_positive(**values: int) -> None:
    """Raise a `UsageError` for the first argument that is not a positive integer.

    >>> require_positive(channels=3, stride=0)
    Traceback (most recent call last):
    shiftscope.errors.UsageError: stride must be a positive integer, got 0
    """
    for name, value in values.items():
        require(isinstance(value, int) and value >= 1, name, value, "a positive integer")


def check_maps(x: torch.Tensor, layer: str, *, channels: int | None = None, least: tuple[int, int] = (1, 1)) -> None:
    """Raise a `UsageError` unless x is a batch of feature maps (B, C, H, W).

    Args:
        x: input of the layer.
        layer: its name, for the message.
        channels: required number of channels; None: any.
        least: minimum height and width.

    Example:
        >>> check_maps(torch.zeros(1, 2, 5, 5), "BlurPool2d", channels=3)
        Traceback (most recent call last):
        shiftscope.errors.UsageError: BlurPool2d takes maps (batch, 3, height, width), got (1, 2, 5, 5)
    """
    if x.ndim != 4 or channels not in (None, x.shape[1]):
        raise UsageError(f"{layer} takes maps (batch, {channels or 'channel'}, height, width), got {tuple(x.shape)}")
    if x.shape[2] < least[0] or x.shape[3] < least[1]:
        raise UsageError(f"{layer} needs maps of at least {least[0]} x {least[1]}, got {x.shape[2]} x {x.shape[3]}: "
                         "choose a larger canvas, or a smaller kernel or padding")


def exported_as_one_node(name: str, fake: Callable[..., torch.Tensor]) -> Callable[
        [Callable[..., torch.Tensor]], Callable[..., torch.Tensor]]:
    """Decorate a function of tensors to be the operator shiftscope::NAME, a single node, in exported graphs.

    Args:
        name: of the operator.
        fake: the same arguments -> an empty tensor with the shape of the result.
    """
    def decorate(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        schema = torch.library.infer_schema(function, mutates_args=())
        torch.library.custom_op(f"shiftscope::{name}", lambda *args: function(*args).contiguous(), mutates_args=(),
                                schema=schema).register_fake(fake)
        operator = getattr(torch.ops.shiftscope, name)

        @functools.wraps(function)
        def call(*args: object) -> torch.Tensor:
            return operator(*args) if torch.compiler.is_exporting() else function(*args)

        return call

    return decorate
