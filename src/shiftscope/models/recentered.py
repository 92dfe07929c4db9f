"""Track A: recenter, then a small residual convnet. Indifferent to place to the bit, for it sees the same pixels."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.layers import Normalize, Recenter
from shiftscope.models.residual import ResidualTrunk, mirror_average
from shiftscope.models.sizes import check_pixels
from shiftscope.placement import Placement

WIDTHS = (32, 64, 128)


class RecenteredNet(nn.Module):
    """Recenter -> normalize -> a residual convnet on the window, which need not know anything of places.

    Exact in the modes canvas (constant background) and circular: the window is the same tensor at every placement. It
    is a baseline that must be declared as one: it finds the object, and noise on the background misleads it.

    Args:
        canvas: (H, W) of the pictures it takes.
        channels: color channels.
        classes: number of classes.
        window: (h, w) shown to the convnet; None: half the canvas, rounded up.
        widths: channels of the stem and of each stage.
        background: of an empty canvas, as a pixel in [0, 1].
        robust: find the heaviest window instead of the bounding box, see `Recenter`.
        mirror: average over the picture and its mirror image in eval mode.
        jitter: in training, show the window up to so many pixels off, each time anew. Without, the convnet always sees
            its garments at one place, and learns that place by heart.
        shifts: in eval mode, average over the windows up to so many pixels off, (2 * shifts + 1)^2 of them.
        mean, std: of the pixels in [0, 1], one number or one a channel. By default an empty canvas is 0, as the
            padding of the convolutions is.

    Raises:
        UsageError: (in forward) pictures of another size.

    Example:
        >>> model = RecenteredNet(widths=(4, 8)).eval()
        >>> canvas = torch.zeros(1, 1, 56, 56)
        >>> canvas[..., 3:20, 5:30] = torch.rand(17, 25)
        >>> model(canvas).equal(model(canvas.roll((25, 9), (2, 3))))
        True
    """

    def __init__(self, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 window: tuple[int, int] | None = None, widths: Sequence[int] = WIDTHS, background: float = 0.0,
                 robust: bool = False, mirror: bool = True, jitter: int = 0, shifts: int = 0,
                 mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 0.35):
        super().__init__()
        for name, pixels in (("jitter", jitter), ("shifts", shifts)):
            require(isinstance(pixels, int) and pixels >= 0, name, pixels, "a whole number of pixels, 0 or more")
        self.picture = (channels, *canvas)
        self.arguments = {"canvas": tuple(canvas), "channels": channels, "classes": classes, "window": window,
                          "widths": tuple(widths), "background": background, "robust": robust, "mirror": mirror,
                          "jitter": jitter, "shifts": shifts, "mean": mean, "std": std}
        self.mirror, self.jitter, self.shifts = mirror, jitter, shifts
        size = window or (-(-canvas[0] // 2), -(-canvas[1] // 2))
        self.recenter = Recenter((size[0], size[1]), background=background, robust=robust)
        self.normalize = Normalize(mean, std)
        self.trunk = ResidualTrunk(channels, widths, classes, down=lambda: nn.MaxPool2d(2),
                                   conv=lambda a, b: nn.Conv2d(a, b, 3, padding=1, bias=False))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        check_pixels(self, pixels, self.picture)
        windows = self.recenter(pixels)
        if self.training or torch.compiler.is_exporting() or len(windows) < 2:
            return self._rest(windows)
        first = torch.ones(len(windows), dtype=torch.bool, device=windows.device)
        first[1:] = (windows[1:] != windows[:-1]).flatten(1).any(1)
        return self._rest(windows[first])[first.cumsum(0) - 1]  # equal pictures in a row are looked at once

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return what `forward` gives for the images at their offsets, in training laid at the middle one.

        Args:
            images: uint8 (B, C, h, w).
            offsets: int64 (B, 2).
            placement: where the offsets come from.

        Returns:
            (B, classes), or None where the model is not training, or the place may matter.
        """
        level = placement.background
        if not self.training or placement.mode == "crop" or isinstance(level, torch.Tensor):
            return None  # what is evaluated is evaluated at its place
        if level / 255 != self.recenter.background or (images.shape[1], *placement.canvas) != self.picture:
            return None
        centered = placement.place(images, placement.centered(len(images), images.device))
        return self._rest(self.recenter(centered.to(self.normalize.mean.dtype) / 255))

    @contextmanager
    def at_a_glance(self) -> Iterator[None]:
        """Look at one window alone for the while: nine take nine times as long, and watching training needs no more."""
        shifts, self.shifts = self.shifts, 0
        try:
            yield
        finally:
            self.shifts = shifts

    def _rest(self, windows: torch.Tensor) -> torch.Tensor:
        if self.training:
            seen = jittered(windows, self.jitter, self.recenter.background) if self.jitter else windows
            return self.trunk(self.normalize(seen))
        predictions = [self._answer(self.normalize(view)) for view in self._views(windows)]
        return torch.stack(predictions).mean(0) if len(predictions) > 1 else predictions[0]

    def _views(self, windows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the windows (B, C, h, w) as they are seen from up to `shifts` pixels off."""
        if not self.shifts:
            yield windows
            return
        (height, width), reach = windows.shape[2:], 2 * self.shifts + 1
        around = F.pad(windows, (self.shifts,) * 4, value=self.recenter.background)
        for down, right in product(range(reach), range(reach)):
            yield around[:, :, down:down + height, right:right + width]

    def _answer(self, x: torch.Tensor) -> torch.Tensor:
        return mirror_average(self.trunk, x) if self.mirror else self.trunk(x)


def jittered(windows: torch.Tensor, most: int, background: float) -> torch.Tensor:
    """Return windows (B, C, h, w), each moved by up to `most` pixels down or up and right or left, at random.

    What comes in from outside is background. The global random state decides, as it does for dropout.

    >>> jittered(torch.ones(2, 1, 3, 4), 1, 0.5).shape
    torch.Size([2, 1, 3, 4])
    """
    count, _, height, width = windows.shape
    first = torch.randint(0, 2 * most + 1, (2, count, 1), device=windows.device)
    rows, columns = (first[axis] + torch.arange(size, device=windows.device) for axis, size in
                     enumerate((height, width)))
    around = F.pad(windows, (most,) * 4, value=background).movedim(1, -1)  # (B, h, w, C)
    image = torch.arange(count, device=windows.device)[:, None, None]
    return around[image, rows[:, :, None], columns[:, None]].movedim(-1, 1)
