"""The one place where the leaderboard asks for a mend."""

from torch import nn

from shiftscope.models.mending import mend
from shiftscope.workflows.checkpoints import in_one_pass


def mended(model: nn.Module, how: str, shape: tuple[int, int, int], background: int = 0,
           image: tuple[int, int] | None = None) -> nn.Module:
    """Return a mended model in eval mode; all placements are averaged in one pass where the dense engine can.

    Args:
        model: (B, C, H, W) -> (B, K); it stays as it is.
        how: one of `METHODS` of `shiftscope.models.mending`.
        shape: (C, H, W) of its pictures.
        background: raw pixel value of an empty canvas.
        image: size of images that lie whole on it, see `mend`.

    Raises:
        UsageError: an unknown way, or a model that cannot be mended by it.
    """
    return in_one_pass(mend(model, shape, how=how, background=background / 255, image=image)).eval()
