"""The one place where the leaderboard asks for a repair."""

from torch import nn

from shiftscope.models.repair import repair
from shiftscope.workflows.load_inputs import use_one_pass


def repaired(model: nn.Module, method: str, shape: tuple[int, int, int], background: int = 0,
           image: tuple[int, int] | None = None) -> nn.Module:
    """Return a repaired model in eval mode; all placements are averaged in one pass where the dense engine can.

    Args:
        model: (B, C, H, W) -> (B, K); it stays as it is.
        how: one of `METHODS` of `shiftscope.models.repair`.
        shape: (C, H, W) of its pictures.
        background: raw pixel value of an empty canvas.
        image: size of images that lie whole on it, see `repair`.

    Raises:
        UsageError: an unknown way, or a model that cannot be repaired by it.
    """
    return use_one_pass(repair(model, shape, method=method, background=background / 255, image=image)).eval()
