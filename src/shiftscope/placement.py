"""THE definition of translation: how an image is laid on a canvas, at which offsets, and which offset comes next.

Three modes (`Placement.mode`), with image (C, h, w), canvas (H, W) and offset (dy, dx):

canvas    the image's top-left corner lies at row dy, column dx; 0 <= dy <= H-h, 0 <= dx <= W-w
circular  the image lies centred, at ((H-h)//2, (W-w)//2), then everything is rolled by (dy, dx); all H*W shifts
crop      the image is larger than the canvas, which shows the window whose corner is (dy, dx); 0 <= dy <= h-H

+dy is down, +dx is right. What no image covers shows the background, a raw pixel value before normalisation.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F

from shiftscope import hashing
from shiftscope.errors import UsageError
from shiftscope.hashing import Stream
from shiftscope.results.whole import MOST_PIXELS
from shiftscope.settings import Mode, require


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A set of placements of images of one size on canvases of one size.

    Args:
        image: (h, w), pixels.
        canvas: (H, W), pixels.
        mode: "canvas", "circular" or "crop", see the module's page.
        background: raw pixel value 0 to 255 of an empty canvas, or a uint8 tensor (C, H, W) or (H, W): a textured
            one. In circular mode the texture rolls with the image.
        max_shift: keep offsets at most this many pixels from the middle one, in each direction.
        step: keep every `step`-th offset, counted from the middle one.

    Raises:
        UsageError: the image does not fit on the canvas (or the canvas in the image, for mode "crop").

    Example:
        >>> place = Placement(image=(28, 28), canvas=(56, 56))
        >>> place.offsets().shape, place.middle
        (torch.Size([841, 2]), (14, 14))
        >>> place.place(torch.ones(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([[0, 28]])).shape
        torch.Size([1, 1, 56, 56])
    """

    image: tuple[int, int]
    canvas: tuple[int, int]
    mode: Mode = "canvas"
    background: int | torch.Tensor = 0
    max_shift: int | None = None
    step: int = 1

    def __post_init__(self) -> None:
        for name in ("image", "canvas"):
            check_size(name, getattr(self, name))
        require(self.mode in ("canvas", "circular", "crop"), "mode", self.mode, "canvas, circular or crop")
        require(self.step >= 1, "step", self.step, "a whole number of at least 1")
        require(self.max_shift is None or self.max_shift >= 0, "max_shift", self.max_shift, "a whole number, 0 or more")
        self._check_background()
        self._check_sizes()

    def _check_background(self) -> None:
        if isinstance(self.background, int):
            require(0 <= self.background <= 255, "background", self.background, "a raw pixel value from 0 to 255")
            return
        ok = self.background.dtype == torch.uint8 and tuple(self.background.shape[-2:]) == self.canvas
        require(ok, "background", (self.background.dtype, tuple(self.background.shape)),
                f"a number from 0 to 255 or a uint8 tensor that ends in {self.canvas}")

    def _check_sizes(self) -> None:
        (h, w), (H, W) = self.image, self.canvas
        if self.mode == "crop" and (H > h or W > w):
            raise UsageError(f"mode crop needs an image at least as large as the canvas: the image is {h} x {w}, the "
                             f"canvas {H} x {W}; choose a smaller canvas or the mode canvas")
        if self.mode != "crop" and (h > H or w > W):
            raise UsageError(f"the image does not fit: it is {h} x {w}, the canvas {H} x {W}; choose a canvas of at "
                             f"least {h} x {w}, or the mode crop")

    # ------------------------------------------------------------------ offsets

    @property
    def middle(self) -> tuple[int, int]:
        """The offset of the centred image."""
        if self.mode == "circular":
            return (0, 0)
        (h, w), (H, W) = self.image, self.canvas
        return (abs(H - h) // 2, abs(W - w) // 2)

    def _axis(self, axis: int) -> torch.Tensor:
        """All allowed values of one offset coordinate, in rising order."""
        size = self.canvas[axis] if self.mode == "circular" else abs(self.canvas[axis] - self.image[axis]) + 1
        values = torch.arange(size)
        away = values - self.middle[axis]
        if self.mode == "circular":  # the nearer way around
            away = torch.where(away > size // 2, away - size, away)
        keep = away % self.step == 0
        if self.max_shift is not None:
            keep &= away.abs() <= self.max_shift
        return values[keep]

    @cached_property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Allowed dy and allowed dx, rising, int64: their product is the set of placements."""
        return self._axis(0), self._axis(1)

    @property
    def count(self) -> int:
        """Number of placements."""
        return len(self.axes[0]) * len(self.axes[1])

    def offsets(self) -> torch.Tensor:
        """Return all offsets in row-major order, int64, shape (count, 2)."""
        return torch.cartesian_prod(*self.axes).view(-1, 2)

    def sample(self, indices: torch.Tensor, *, seed: int, epoch: int = 0) -> torch.Tensor:
        """Return one uniform offset an image, int64 (B, 2), on the device of `indices`.

        A pure function of (seed, epoch, image index): batch size, device and order do not matter.

        >>> place = Placement(image=(28, 28), canvas=(56, 56))
        >>> place.sample(torch.tensor([7]), seed=1).equal(place.sample(torch.tensor([3, 7]), seed=1)[1:])
        True
        """
        chosen = hashing.draw(hashing.stream(Stream.PLACEMENT, seed, epoch), indices, self.count)
        rows, columns = (axis.to(indices.device) for axis in self.axes)
        return torch.stack((rows[chosen // len(columns)], columns[chosen % len(columns)]), dim=1)

    def centred(self, count: int, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return the middle offset `count` times, int64 (count, 2)."""
        return torch.tensor(self.middle, device=device).expand(count, 2)

    # ------------------------------------------------------------------ pixels

    def empty(self, images: torch.Tensor) -> torch.Tensor:
        """Return empty canvases (B, C, H, W) with the dtype and device of `images`."""
        shape = (*images.shape[:2], *self.canvas)
        if isinstance(self.background, int):
            return torch.full(shape, self.background, dtype=images.dtype, device=images.device)
        return self.background.to(images).expand(shape).clone()

    def place(self, images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Lay each image at its offset.

        Args:
            images: (B, C, h, w), raw pixels of any dtype.
            offsets: int64 (B, 2).

        Returns:
            (B, C, H, W), dtype and device of `images`.

        Raises:
            UsageError: the images are not of this placement's size.
        """
        self._check_images(images)
        offsets = offsets.to(images.device)
        if self.mode == "canvas":
            return self._scatter(images, offsets)
        if self.mode == "circular":
            middle = [(size - small) // 2 for size, small in zip(self.canvas, self.image, strict=True)]
            start = torch.tensor(middle, device=images.device).expand(len(images), 2)
            return self._gather(self._scatter(images, start), -offsets)
        return self._gather(images, offsets)

    def cut(self, canvases: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Cut the (h, w) window at each offset out of each canvas: the inverse of `place` (modes canvas, circular).

        Args:
            canvases: (B, C, H, W).
            offsets: int64 (B, 2).
        """
        require(self.mode != "crop", "mode", self.mode, "canvas or circular: what a crop hides cannot be cut out")
        offsets = offsets.to(canvases.device)
        if self.mode == "circular":
            offsets = offsets + torch.tensor([(size - small) // 2 for size, small in
                                              zip(self.canvas, self.image, strict=True)], device=canvases.device)
        return self._gather(canvases, offsets, size=self.image)

    @property
    def has_field(self) -> bool:
        """Whether every placement is a window of one larger picture: a texture that stays in place allows none."""
        return self.mode != "canvas" or isinstance(self.background, int)

    def field(self, images: torch.Tensor) -> torch.Tensor:
        """Return pictures (B, C, ., .) in which each placement of an image is the window at `corners`.

        The empty canvas on all sides (mode canvas), the centred canvas repeated (circular), the image itself (crop).

        Args:
            images: (B, C, h, w), raw pixels of any dtype.

        Raises:
            UsageError: the images are not of this placement's size; a textured background in mode canvas.

        Example:
            >>> place = Placement(image=(28, 28), canvas=(56, 56))
            >>> images, offsets = torch.ones(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([[3, 9]])
            >>> (y, x), = place.corners(offsets).tolist()
            >>> place.field(images)[:, :, y:y + 56, x:x + 56].equal(place.place(images, offsets))
            True
        """
        self._check_images(images)
        require(self.has_field, "background", "a texture", "a number in mode canvas: a texture does not move along")
        if self.mode == "crop":
            return images
        if self.mode == "circular":
            centred = self.place(images, torch.zeros(len(images), 2, dtype=torch.int64))
            tall = torch.cat((centred, centred[:, :, :-1]), 2)
            return torch.cat((tall, tall[..., :-1]), 3)
        (h, w), (H, W) = self.image, self.canvas
        return F.pad(images, (W - w, W - w, H - h, H - h), value=int(self.background))

    def corners(self, offsets: torch.Tensor) -> torch.Tensor:
        """Return where on a `field` the window of each offset has its top-left corner, int64 (B, 2)."""
        if self.mode == "crop":
            return offsets
        sizes = torch.tensor(self.canvas, device=offsets.device)
        if self.mode == "circular":
            return -offsets % sizes
        return sizes - torch.tensor(self.image, device=offsets.device) - offsets

    def _check_images(self, images: torch.Tensor) -> None:
        if images.ndim != 4 or tuple(images.shape[2:]) != self.image:
            raise UsageError(f"images must be (batch, channel, {self.image[0]}, {self.image[1]}) for this placement, "
                             f"got {tuple(images.shape)}")

    def _scatter(self, images: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        (h, w), width = self.image, self.canvas[1]
        inside = torch.arange(h, device=images.device)[:, None] * width + torch.arange(w, device=images.device)
        corner = offsets[:, 0] * width + offsets[:, 1]
        index = (corner[:, None] + inside.flatten())[:, None].expand(*images.shape[:2], h * w)  # (B, C, h*w)
        canvases = self.empty(images)
        canvases.flatten(2).scatter_(2, index, images.flatten(2))
        return canvases

    def _gather(self, source: torch.Tensor, offsets: torch.Tensor, size: tuple[int, int] | None = None) -> torch.Tensor:
        """Read the window of `size` (the canvas unless given) whose corner is `offsets`; indices wrap around."""
        height, width = size or self.canvas
        rows = (torch.arange(height, device=source.device) + offsets[:, :1]) % source.shape[2]  # (B, height)
        columns = (torch.arange(width, device=source.device) + offsets[:, 1:]) % source.shape[3]
        index = (rows[:, :, None] * source.shape[3] + columns[:, None]).flatten(1)  # (B, height*width)
        index = index[:, None].expand(*source.shape[:2], height * width)
        return source.flatten(2).gather(2, index).view(*source.shape[:2], height, width)

    # ------------------------------------------------------------------ as plain values

    def centre_only(self) -> "Placement":
        """Return the same placement with the middle offset alone."""
        return Placement(image=self.image, canvas=self.canvas, mode=self.mode, background=self.background, max_shift=0)

    def narrowed(self, *, max_shift: int | None = None, step: int = 1) -> "Placement":
        """Return the same placement with fewer offsets: at most `max_shift` from the middle, every `step`-th.

        >>> Placement(image=(28, 28), canvas=(56, 56)).narrowed(max_shift=4, step=2).count
        25
        """
        return replace(self, max_shift=self.max_shift if max_shift is None else max_shift, step=step)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; a textured background is named as such, not kept."""
        background = self.background if isinstance(self.background, int) else "texture"
        return {"image": list(self.image), "canvas": list(self.canvas), "mode": self.mode, "background": background,
                "max_shift": self.max_shift, "step": self.step, "placements": self.count}


def check_size(name: str, size: tuple[int, int]) -> None:
    """Raise a `UsageError` unless a size is two whole numbers, of no more pixels than an image or a canvas may have.

    >>> check_size("canvas", (40_000, 40_000))
    Traceback (most recent call last):
    shiftscope.errors.UsageError: canvas must be at most 16,777,216 pixels in all, got (40000, 40000)
    """
    require(len(size) == 2 and all(isinstance(n, int) and n >= 1 for n in size), name, size,
            "two whole numbers of at least 1 (height, width)")
    require(size[0] * size[1] <= MOST_PIXELS, name, size, f"at most {MOST_PIXELS:,} pixels in all")


def texture(canvas: tuple[int, int], *, seed: int = 0, channels: int = 1) -> torch.Tensor:
    """Return a background of smooth seeded noise, uint8 (channels, H, W), grey levels about 20 to 110.

    >>> texture((56, 56)).shape
    torch.Size([1, 56, 56])
    """
    height, width = canvas
    check_size("canvas of a texture", (channels * height, width))
    grid = torch.arange(channels * height * width).view(channels, height, width)
    noise = hashing.draw(hashing.stream(Stream.TEXTURE, seed), grid, 1024).to(torch.float64) / 1023
    spectrum = torch.fft.rfft2(noise - 0.5)
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None])
    smooth = torch.fft.irfft2(spectrum / (1 + (frequency * 12) ** 2), s=(height, width))
    levels = 65 + 22 * smooth / smooth.std().clamp_min(1e-12)
    return levels.clamp(20, 110).round().to(torch.uint8)
