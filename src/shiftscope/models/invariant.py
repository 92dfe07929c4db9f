"""Two translation-invariant networks on one residual trunk: by recentering the object, and by architecture."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.layers import CircularConv2d, Normalize, PhaseToOrigin, Recenter
from shiftscope.models.forward import check_pixels
from shiftscope.placement import Placement

WIDTHS = (32, 64, 128)


class ResidualTrunk(nn.Module):
    """Stem, then one stage per width: downsample -> conv -> x + conv(x); global max pooling -> linear.

    Each convolution is followed by batch normalization and ReLU. Max pooling is used because most of a canvas is empty,
    which a mean would dilute.

    Args:
        channels: input channels.
        widths: channels of the stem and of each stage.
        classes: K.
        conv: (channels in, channels out) -> a 3 x 3 convolution without bias that keeps height and width.
        down: () -> a layer that halves height and width.

    Raises:
        UsageError: if there are fewer than two widths, or one is below 1.
    """

    def __init__(self, channels: int, widths: Sequence[int], classes: int, *, conv: Callable[[int, int], nn.Module],
                 down: Callable[[], nn.Module]):
        super().__init__()
        require(len(widths) >= 2 and min(widths) >= 1, "widths", tuple(widths),
                "two or more positive integers, for the stem and each stage")
        self.stem = _ConvNormReLU(conv(channels, widths[0]), widths[0])
        self.stages = nn.ModuleList(
            _Stage(down(), _ConvNormReLU(conv(before, after), after), _ConvNormReLU(conv(after, after), after))
            for before, after in pairwise(widths))
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(x.amax((2, 3)))


class _ConvNormReLU(nn.Module):
    def __init__(self, conv: nn.Module, width: int):
        super().__init__()
        self.conv, self.norm = conv, nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(x)))


class _Stage(nn.Module):
    def __init__(self, down: nn.Module, widen: nn.Module, deepen: nn.Module):
        super().__init__()
        self.down, self.widen, self.deepen = down, widen, deepen

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.widen(self.down(x))
        return x + self.deepen(x)


def mirror_average(net: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return the mean of a network's outputs for images (B, C, H, W) and their mirror images, in one batch."""
    plain, mirrored = net(torch.cat((x, x.flip(3)))).chunk(2)
    return (plain + mirrored) / 2


class InvariantNet(nn.Module):
    """Circular convolutions, polyphase sampling and global pooling: invariant to circular shifts by architecture.

    Each layer commutes with circular shifts, and the maximum of a channel does not depend on its position. An image
    that is fully visible on an empty canvas moves by a circular shift, so the network is exact in the modes canvas
    (constant background) and circular, up to rounding; not in mode crop.

    Args:
        canvas: (H, W) of the input, multiples of the total stride (2 per stage). The weights fit any canvas.
        channels: color channels.
        classes: number of classes.
        widths: channels of the stem and of each stage.
        mirror: average over the image and its mirror image in eval mode.
        mean, std: of the pixels in [0, 1], one number or one per channel.

    Raises:
        UsageError: if the total stride does not divide the canvas; (in forward) if the number of channels differs, or
            the total stride does not divide H and W.

    Example:
        >>> model = InvariantNet(canvas=(24, 32), widths=(4, 8, 8)).double().eval()
        >>> canvas = torch.rand(1, 1, 24, 32, dtype=torch.float64)
        >>> torch.allclose(model(canvas), model(canvas.roll((5, 11), (2, 3))), atol=1e-12)
        True

    References:
        Chaman & Dokmanic, "Truly shift-invariant convolutional neural networks", CVPR 2021, arXiv:2011.14214.
    """

    def __init__(self, *, canvas: tuple[int, int] = (56, 56), channels: int = 1, classes: int = 10,
                 widths: Sequence[int] = WIDTHS, mirror: bool = True, mean: float | Sequence[float] = 0.0,
                 std: float | Sequence[float] = 0.35):
        super().__init__()
        self.channels, self.canvas, self.stride = channels, (canvas[0], canvas[1]), 2 ** (len(widths) - 1)
        require(all(size % self.stride == 0 for size in canvas), "canvas", tuple(canvas),
                f"multiples of the model's total stride, {self.stride}")
        self.arguments = {"canvas": tuple(canvas), "channels": channels, "classes": classes, "widths": tuple(widths),
                          "mirror": mirror, "mean": mean, "std": std}
        self.mirror = mirror
        self.normalize = Normalize(mean, std)
        self.trunk = ResidualTrunk(channels, widths, classes, conv=lambda a, b: CircularConv2d(a, b, 3, bias=False),
                                   down=lambda: nn.Sequential(PhaseToOrigin(2), nn.MaxPool2d(2)))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        _, channels, height, width = pixels.shape
        if channels != self.channels or height % self.stride or width % self.stride:
            raise UsageError(f"InvariantNet takes images of {self.channels} channels with height and width in "
                             f"multiples of its total stride, {self.stride}, got {tuple(pixels.shape)}: choose such a "
                             "canvas, or build the model with channels=C of your images")
        x = self.normalize(pixels)
        return mirror_average(self.trunk, x) if self.mirror and not self.training else self.trunk(x)


class RecenteredNet(nn.Module):
    """Recenter -> normalize -> a residual convnet on the window, which may depend on position.

    Exact in the modes canvas (constant background) and circular: the window is the same tensor at every placement. This
    is a baseline that must be declared as one: it locates the object, and noise on the background misleads it.

    Args:
        canvas: (H, W) of the input.
        channels: color channels.
        classes: number of classes.
        window: (h, w) that the convnet gets; None: half the canvas, rounded up.
        widths: channels of the stem and of each stage.
        background: pixel value in [0, 1] of an empty canvas.
        robust: use the window with the largest difference instead of the bounding box, see `Recenter`.
        mirror: average over the image and its mirror image in eval mode.
        jitter: in training, shift the window randomly by up to this many pixels. Without it the convnet overfits to one
            position of the object.
        shifts: in eval mode, average over windows shifted by up to this many pixels, (2 * shifts + 1)^2 of them.
        mean, std: of the pixels in [0, 1], one number or one per channel. With the default, an empty canvas is 0, as is
            the padding of the convolutions.

    Raises:
        UsageError: if jitter or shifts is negative; (in forward) if the input is not (batch, channels, H, W).

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
            require(isinstance(pixels, int) and pixels >= 0, name, pixels, "a non-negative integer")
        self.input_shape = (channels, *canvas)
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
        check_pixels(self, pixels, self.input_shape)
        windows = self.recenter(pixels)
        if self.training or torch.compiler.is_exporting() or len(windows) < 2:
            return self._classify(windows)
        first = torch.ones(len(windows), dtype=torch.bool, device=windows.device)
        first[1:] = (windows[1:] != windows[:-1]).flatten(1).any(1)
        return self._classify(windows[first])[first.cumsum(0) - 1]  # consecutive equal windows are computed only once

    def forward_placed(self, images: torch.Tensor, offsets: torch.Tensor, placement: Placement) -> torch.Tensor | None:
        """Return the output for images (B, C, h, w) at offsets (B, 2), in training, with all at the middle offset.

        See `placed_outputs`; None in eval mode, and if the result may depend on the offsets.
        """
        background = placement.background
        if not self.training or not placement.geometry.keeps_pixels or isinstance(background, torch.Tensor):
            return None
        if background / 255 != self.recenter.background or (images.shape[1], *placement.canvas) != self.input_shape:
            return None
        centered = placement.place(images, placement.centered(len(images), images.device))
        return self._classify(self.recenter(centered.to(self.normalize.mean.dtype) / 255))

    @contextmanager
    def single_view(self) -> Iterator[None]:
        """Use one window instead of the average over shifted ones, to save time in validation during training."""
        shifts, self.shifts = self.shifts, 0
        try:
            yield
        finally:
            self.shifts = shifts

    def _classify(self, windows: torch.Tensor) -> torch.Tensor:
        if self.training:
            windows = jittered(windows, self.jitter, self.recenter.background) if self.jitter else windows
            return self.trunk(self.normalize(windows))
        views = (self.normalize(view) for view in self._views(windows))
        outputs = [mirror_average(self.trunk, view) if self.mirror else self.trunk(view) for view in views]
        return torch.stack(outputs).mean(0) if len(outputs) > 1 else outputs[0]

    def _views(self, windows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the windows (B, C, h, w) shifted by up to `shifts` pixels."""
        if not self.shifts:
            yield windows
            return
        (height, width), count = windows.shape[2:], 2 * self.shifts + 1
        padded = F.pad(windows, (self.shifts,) * 4, value=self.recenter.background)
        for down, right in product(range(count), range(count)):
            yield padded[:, :, down:down + height, right:right + width]


def jittered(windows: torch.Tensor, max_shift: int, background: float) -> torch.Tensor:
    """Return windows (B, C, h, w), each shifted randomly by up to `max_shift` pixels, filled with the background.

    The global random state is used, as by dropout.

    >>> jittered(torch.ones(2, 1, 3, 4), 1, 0.5).shape
    torch.Size([2, 1, 3, 4])
    """
    count, _, height, width = windows.shape
    first = torch.randint(0, 2 * max_shift + 1, (2, count, 1), device=windows.device)
    rows, columns = (first[axis] + torch.arange(size, device=windows.device) for axis, size in
                     enumerate((height, width)))
    padded = F.pad(windows, (max_shift,) * 4, value=background).movedim(1, -1)  # (B, h, w, C)
    image = torch.arange(count, device=windows.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None]].movedim(-1, 1)
