"""Placement of images on canvases, and random offsets.

`shiftscope.geometry` defines sizes, modes and offsets. This module adds pixels and textures.
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
from shiftscope.settings import Fill, Mode

PHOTOGRAPH = 64
"""Least height and width of RGB images that count as photographs."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A set of placements of images of one size on canvases of one size.

    Args:
        image: (h, w), pixels.
        canvas: (H, W), pixels.
        mode: "canvas", "circular", "crop" or "fill", see `shiftscope.geometry`.
        background: pixel value (0 to 255) of the empty canvas before normalization, or a uint8 tensor (C, H, W) or
            (H, W): a texture. In circular mode the texture rolls with the image.
        fill: mode fill only: "constant" (the background), "edge" or "reflect" (default: constant; for photographs see
            `default_fill`).
        max_shift: keep offsets at most this many pixels from the middle, in each direction (default: all; mode fill
            without `offset_list`: an eighth of the smaller side, at least 1).
        step: keep every `step`-th offset, counted from the middle.
        offset_list: keep only these offsets (dy, dx), in this order; they must include the middle.
        reference: the offset that other placements are compared with (default: that of the centered image).

    Raises:
        UsageError: the image does not fit on the canvas (mode "crop": the canvas does not fit in the image; mode
            "fill": their sizes differ), or an offset is out of range.

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
    fill: Fill | None = None

    def __post_init__(self) -> None:
        if self.offset_list is not None:
            object.__setattr__(self, "offset_list", tuple((int(dy), int(dx)) for dy, dx in self.offset_list))
        if isinstance(self.background, torch.Tensor):
            ok = self.background.dtype == torch.uint8 and tuple(self.background.shape[-2:]) == self.canvas
            require(ok, "background", (self.background.dtype, tuple(self.background.shape)),
                    f"a number from 0 to 255 or a uint8 tensor that ends in {self.canvas}")
        object.__setattr__(self, "fill", self.geometry.fill)  # the geometry checks the values

    # ------------------------------------------------------------------ offsets

    @cached_property
    def geometry(self) -> Geometry:
        """Sizes, mode and offsets as a record that does not need torch."""
        background = "texture" if isinstance(self.background, torch.Tensor) else self.background
        return Geometry(image=self.image, canvas=self.canvas, mode=self.mode, background=background,
                        max_shift=self.max_shift, step=self.step, reference=self.reference, fill=self.fill,
                        offset_list=None if self.offset_list is None else tuple(self.offset_list))

    @classmethod
    def of(cls, geometry: Geometry, channels: int) -> Self:
        """Return the placement with a geometry.

        Args:
            channels: number of channels of a textured background (`texture` with seed 0).
        """
        ground = texture(geometry.canvas, channels=channels) if geometry.background == "texture" else (
            geometry.background)
        return cls(image=geometry.image, canvas=geometry.canvas, mode=geometry.mode, background=ground,
                   max_shift=geometry.max_shift, step=geometry.step, offset_list=geometry.offset_list,
                   reference=geometry.reference, fill=geometry.fill)

    @property
    def middle(self) -> Offset:
        """The reference offset (default: that of the centered image)."""
        return self.geometry.middle

    @cached_property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All values of dy and of dx in increasing order, int64. Without `offset_list`, their product is the
        placements."""
        rows, columns = self.geometry.axes
        return torch.tensor(rows), torch.tensor(columns)

    @property
    def count(self) -> int:
        """Number of placements."""
        return self.geometry.count

    def offsets(self) -> torch.Tensor:
        """Return all offsets, int64 (count, 2): row-major, or in the order of `offset_list`."""
        return torch.tensor(self.geometry.offsets)

    def sample(self, indices: torch.Tensor, *, seed: int, epoch: int = 0) -> torch.Tensor:
        """Return one uniformly sampled offset per image, int64 (B, 2), on the device of `indices`.

        The offset depends on seed, epoch and image index only, not on batch size, device or order.

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
        """Place each image at its offset.

        Args:
            images: (B, C, h, w), raw pixels of any dtype.
            offsets: int64 (B, 2).

        Returns:
            (B, C, H, W), dtype and device of `images`.

        Raises:
            UsageError: the images do not have the size `image`.
        """
        self._check_images(images)
        offsets = offsets.to(images.device)
        if self.mode == "canvas":
            return self._scatter(images, offsets)
        if self.mode == "circular":
            start = torch.tensor(self.geometry.start, device=images.device).expand(len(images), 2)
            return self._gather(self._scatter(images, start), -offsets)
        return self._gather(images, offsets) if self.mode == "crop" else self._filled(images, -offsets, self.canvas)

    def cut(self, canvases: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        """Return the (h, w) window at each offset of each canvas: the inverse of `place` (modes canvas and circular).

        Args:
            canvases: (B, C, H, W).
            offsets: int64 (B, 2).
        """
        require(self.geometry.keeps_pixels, "mode", self.mode,
                "canvas or circular, because crop and fill lose pixels")
        offsets = offsets.to(canvases.device)
        if self.mode == "circular":
            offsets = offsets + torch.tensor(self.geometry.start, device=canvases.device)
        return self._gather(canvases, offsets, size=self.image)

    @property
    def has_field(self) -> bool:
        """True if every placement is a window of one larger image, which a fixed texture prevents."""
        return self.mode != "canvas" or isinstance(self.background, int)

    def field(self, images: torch.Tensor) -> torch.Tensor:
        """Return larger images (B, C, ., .), in which each placement of an image is the window at `corners`.

        They are the image padded with background (mode canvas) or filled (fill), the repeated canvas (circular) or the
        image (crop).

        Args:
            images: (B, C, h, w), raw pixels of any dtype.

        Raises:
            UsageError: the images do not have the size `image`; the background is a texture in mode canvas.

        Example:
            >>> place = Placement(image=(28, 28), canvas=(56, 56))
            >>> images, offsets = torch.ones(1, 1, 28, 28, dtype=torch.uint8), torch.tensor([[3, 9]])
            >>> (y, x), = place.corners(offsets).tolist()
            >>> place.field(images)[:, :, y:y + 56, x:x + 56].equal(place.place(images, offsets))
            True
        """
        self._check_images(images)
        require(self.has_field, "background", "a texture", "a number in mode canvas: textures do not move with images")
        if self.mode == "crop":
            return images
        if self.mode == "circular":
            centered = self.place(images, torch.zeros(len(images), 2, dtype=torch.int64))
            tall = torch.cat((centered, centered[:, :, :-1]), 2)
            return torch.cat((tall, tall[..., :-1]), 3)
        (h, w), (H, W) = self.image, self.canvas
        if self.mode == "fill":
            y, x = self._margin
            corner = torch.tensor([[-y, -x]], device=images.device).expand(len(images), 2)
            return self._filled(images, corner, (h + 2 * y, w + 2 * x))
        return F.pad(images, (W - w, W - w, H - h, H - h), value=int(self.background))

    def corners(self, offsets: torch.Tensor) -> torch.Tensor:
        """Return the top-left corner on a `field` of the window of each offset, int64 (B, 2)."""
        if self.mode == "crop":
            return offsets
        if self.mode == "fill":
            return torch.tensor(self._margin, device=offsets.device) - offsets
        sizes = torch.tensor(self.canvas, device=offsets.device)
        if self.mode == "circular":
            return -offsets % sizes
        return sizes - torch.tensor(self.image, device=offsets.device) - offsets

    @property
    def _margin(self) -> Size:
        """Mode fill: rows and columns that the field has on each side of the image."""
        rows, columns = self.geometry.axes
        return int(abs(rows).max()), int(abs(columns).max())

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
        """Return the windows of `size` (default: the canvas) with corners `offsets`; indices wrap around."""
        height, width = size or self.canvas
        rows = (torch.arange(height, device=source.device) + offsets[:, :1]) % source.shape[2]  # (B, height)
        columns = (torch.arange(width, device=source.device) + offsets[:, 1:]) % source.shape[3]
        return _at(source, rows, columns)

    def _filled(self, images: torch.Tensor, corners: torch.Tensor, size: Size) -> torch.Tensor:
        """Return windows of `size` with their `corners` on the images (B, 2), which may be outside; mode fill."""
        lines = [(torch.arange(length, device=images.device) + corners[:, axis:axis + 1], images.shape[2 + axis] - 1)
                 for axis, length in enumerate(size)]  # the row or column of each pixel, and the last one
        nearest = [line.clamp(0, last) if self.fill != "reflect" else last - (last - line.abs()).abs()
                   for line, last in lines]
        windows = _at(images, *nearest)
        if self.fill != "constant":
            return windows
        inside = [line == near for (line, _), near in zip(lines, nearest, strict=True)]
        return torch.where((inside[0][:, :, None] & inside[1][:, None])[:, None], windows,
                           torch.tensor(self.background, dtype=images.dtype, device=images.device))

    # ------------------------------------------------------------------ variants

    def center_only(self) -> "Placement":
        """Return this placement with the middle offset only."""
        return replace(self, max_shift=0, step=1, offset_list=None)

    def narrowed(self, *, max_shift: int | None = None, step: int = 1) -> "Placement":
        """Return this placement with fewer offsets: at most `max_shift` from the middle, every `step`-th.

        >>> Placement(image=(28, 28), canvas=(56, 56)).narrowed(max_shift=4, step=2).count
        25
        """
        return replace(self, max_shift=self.max_shift if max_shift is None else max_shift, step=step)

    def to_dict(self) -> dict[str, Any]:
        """Return `Geometry.to_dict`: plain JSON, without the pixels of a texture."""
        return self.geometry.to_dict()


def _at(source: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Return the pixels of images (B, C, ., .) at rows (B, height) and columns (B, width): (B, C, height, width)."""
    index = (rows[:, :, None] * source.shape[3] + columns[:, None]).flatten(1)  # (B, height*width)
    index = index[:, None].expand(*source.shape[:2], index.shape[1])
    return source.flatten(2).gather(2, index).view(*source.shape[:2], rows.shape[1], columns.shape[1])


def default_fill(image: tuple[int, int, int]) -> Fill:
    """Return the default fill of images (C, h, w) in mode fill: "reflect" for photographs, else "constant".

    Photographs are RGB images of at least 64 x 64 pixels. In them, a border of one color would be visible.

    >>> default_fill((3, 224, 224)), default_fill((3, 32, 32)), default_fill((1, 28, 28))
    ('reflect', 'constant', 'constant')
    """
    channels, height, width = image
    return "reflect" if channels == 3 and min(height, width) >= PHOTOGRAPH else "constant"


def default_placement(image: tuple[int, int, int]) -> Placement:
    """Return the default placement of images (C, h, w): a canvas of 56 x 56, or twice the image if that is larger."""
    _, height, width = image
    return Placement(image=(height, width), canvas=(max(56, 2 * height), max(56, 2 * width)))


def texture(canvas: tuple[int, int], *, seed: int = 0, channels: int = 1) -> torch.Tensor:
    """Return a background of smooth random noise, uint8 (channels, H, W), gray levels from 20 to 110.

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
