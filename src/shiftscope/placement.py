"""THE definition of translation: how an image is placed on a canvas, and which random offset it gets.

`shiftscope.geometry` defines sizes, modes and offsets. This module adds what needs torch: pixels and textures.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import torch
import torch.nn.functional as F

from shiftscope import hashing
from shiftscope.errors import UsageError, require
from shiftscope.geometry import Geometry, Offset, Size, check_size
from shiftscope.hashing import Stream
from shiftscope.settings import Mode


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A set of placements of images of one size on canvases of one size.

    Args:
        image: (h, w), pixels.
        canvas: (H, W), pixels.
        mode: "canvas", "circular" or "crop", see `shiftscope.geometry`.
        background: pixel value 0 to 255 of an empty canvas, before normalization, or a uint8 tensor (C, H, W) or
            (H, W): a texture. In circular mode the texture rolls with the image.
        max_shift: keep offsets at most this many pixels from the middle, in each direction.
        step: keep every `step`-th offset, counted from the middle.
        offset_list: keep these offsets (dy, dx) alone, in this order; the middle must be among them.
        reference: the offset that other placements are compared with (default: that of the centered image).

    Raises:
        UsageError: the image does not fit on the canvas (or the canvas in the image, for mode "crop"), or an offset
            is not possible.

    Example:
        >>> place = Placement(image=(28, 28), canvas=(56, 56))
        >>> place.offsets().shape, place.middle
        (torch.Size([841, 2]), (14, 14))
        >>> place.place(torch.ones(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([[0, 28]])).shape
        torch.Size([1, 1, 56, 56])
    """

    image: Size
    canvas: Size
    mode: Mode = "canvas"
    background: int | torch.Tensor = 0
    max_shift: int | None = None
    step: int = 1
    offset_list: Sequence[Offset] | None = None
    reference: Offset | None = None

    def __post_init__(self) -> None:
        if self.offset_list is not None:
            object.__setattr__(self, "offset_list", tuple((int(dy), int(dx)) for dy, dx in self.offset_list))
        if isinstance(self.background, torch.Tensor):
            ok = self.background.dtype == torch.uint8 and tuple(self.background.shape[-2:]) == self.canvas
            require(ok, "background", (self.background.dtype, tuple(self.background.shape)),
                    f"a number from 0 to 255 or a uint8 tensor that ends in {self.canvas}")
        _ = self.geometry  # checks the values

    # ------------------------------------------------------------------ offsets

    @cached_property
    def geometry(self) -> Geometry:
        """Sizes, mode and offsets as a record that needs no torch."""
        background = "texture" if isinstance(self.background, torch.Tensor) else self.background
        return Geometry(image=self.image, canvas=self.canvas, mode=self.mode, background=background,
                        max_shift=self.max_shift, step=self.step, reference=self.reference,
                        offset_list=None if self.offset_list is None else tuple(self.offset_list))

    @classmethod
    def of(cls, geometry: Geometry, channels: int) -> Self:
        """Return the placement with a geometry.

        Args:
            channels: of a textured background, which is `texture` with seed 0.
        """
        ground = texture(geometry.canvas, channels=channels) if geometry.background == "texture" else (
            geometry.background)
        return cls(image=geometry.image, canvas=geometry.canvas, mode=geometry.mode, background=ground,
                   max_shift=geometry.max_shift, step=geometry.step, offset_list=geometry.offset_list,
                   reference=geometry.reference)

    @property
    def middle(self) -> Offset:
        """The reference offset; unless given, that of the centered image."""
        return self.geometry.middle

    @cached_property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All values of dy and of dx, rising, int64. Unless offsets are listed, their product is the placements."""
        rows, columns = self.geometry.axes
        return torch.tensor(rows), torch.tensor(columns)

    @property
    def count(self) -> int:
        """Number of placements."""
        return self.geometry.count

    def offsets(self) -> torch.Tensor:
        """Return all offsets, int64 (count, 2): row-major, or in the order in which they are listed."""
        return torch.tensor(self.geometry.offsets)

    def sample(self, indices: torch.Tensor, *, seed: int, epoch: int = 0) -> torch.Tensor:
        """Return one uniform offset an image, int64 (B, 2), on the device of `indices`.

        A pure function of (seed, epoch, image index): batch size, device and order do not matter.

        >>> place = Placement(image=(28, 28), canvas=(56, 56))
        >>> place.sample(torch.tensor([7]), seed=1).equal(place.sample(torch.tensor([3, 7]), seed=1)[1:])
        True
        """
        chosen = hashing.draw(hashing.stream(Stream.PLACEMENT, seed, epoch), indices, self.count)
        if self.offset_list is not None:
            return self.offsets().to(indices.device)[chosen]
        rows, columns = (axis.to(indices.device) for axis in self.axes)
        return torch.stack((rows[chosen // len(columns)], columns[chosen % len(columns)]), dim=1)

    def centered(self, count: int, device: torch.device | str = "cpu") -> torch.Tensor:
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
            start = torch.tensor(self.geometry.start, device=images.device).expand(len(images), 2)
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
            offsets = offsets + torch.tensor(self.geometry.start, device=canvases.device)
        return self._gather(canvases, offsets, size=self.image)

    @property
    def has_field(self) -> bool:
        """Whether every placement is a window of one larger picture: a texture that stays in place allows none."""
        return self.mode != "canvas" or isinstance(self.background, int)

    def field(self, images: torch.Tensor) -> torch.Tensor:
        """Return pictures (B, C, ., .) in which each placement of an image is the window at `corners`.

        The empty canvas on all sides (mode canvas), the centered canvas repeated (circular), the image itself (crop).

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
            centered = self.place(images, torch.zeros(len(images), 2, dtype=torch.int64))
            tall = torch.cat((centered, centered[:, :, :-1]), 2)
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

    def center_only(self) -> "Placement":
        """Return the same placement with the middle offset alone."""
        return replace(self, max_shift=0, step=1, offset_list=None)

    def narrowed(self, *, max_shift: int | None = None, step: int = 1) -> "Placement":
        """Return the same placement with fewer offsets: at most `max_shift` from the middle, every `step`-th.

        >>> Placement(image=(28, 28), canvas=(56, 56)).narrowed(max_shift=4, step=2).count
        25
        """
        return replace(self, max_shift=self.max_shift if max_shift is None else max_shift, step=step)

    def to_dict(self) -> dict[str, Any]:
        """Return `Geometry.to_dict`: plain JSON in which a texture is named, not kept."""
        return self.geometry.to_dict()


def default_placement(image: tuple[int, int, int]) -> Placement:
    """Return the default placement of images (C, h, w): a canvas of 56 x 56, or twice the image if that is larger."""
    _, height, width = image
    return Placement(image=(height, width), canvas=(max(56, 2 * height), max(56, 2 * width)))


def texture(canvas: tuple[int, int], *, seed: int = 0, channels: int = 1) -> torch.Tensor:
    """Return a background of smooth seeded noise, uint8 (channels, H, W), gray levels about 20 to 110.

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
