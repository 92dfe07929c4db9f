"""First operations of a network, computed on the image instead of on the canvas that it is placed on.

Operations that treat all pixels alike (scaling, normalization) give the same numbers before and after placement, and
an image covers a quarter of its canvas or less. Where a filter sees only background, its output is a constant per
channel. An unpadded convolution of stride 1 commutes with placement, so it is sufficient to convolve a patch around the
image and to paste the pooled patch into a pooled canvas of that constant. Both are exact.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.errors import require
from shiftscope.placement import Placement


def has_plain_background(placement: Placement) -> bool:
    """Return True if images are fully visible on a canvas of one background value."""
    return placement.mode == "canvas" and isinstance(placement.background, int)


def can_prepare_first(placement: Placement, device: torch.device) -> bool:
    """Return True if `prepare_and_place` supports the placement, and is faster than placing first: on CPUs."""
    return device.type == "cpu" and has_plain_background(placement)


def prepare_and_place(images: torch.Tensor, offsets: torch.Tensor, placement: Placement, dtype: torch.dtype,
                      prepare: Callable[[torch.Tensor], torch.Tensor] | None = None) -> torch.Tensor:
    """Return `prepare(place(images, offsets) / 255)`, bit for bit.

    Args:
        images: uint8 (B, C, h, w).
        offsets: int64 (B, 2).
        placement: one that `can_prepare_first` accepts.
        dtype: floating type of the pixels.
        prepare: maps pixels in [0, 1] to a tensor of the same shape, all positions alike; None: no change.

    Returns:
        (B, C, H, W).

    Raises:
        UsageError: if the images do not have the size of the placement.

    Example:
        >>> place = Placement(image=(1, 2), canvas=(1, 4))
        >>> white = torch.full((1, 1, 1, 2), 255, dtype=torch.uint8)
        >>> prepare_and_place(white, torch.tensor([[0, 1]]), place, torch.float32, lambda pixels: pixels - 1)
        tensor([[[[-1.,  0.,  0., -1.]]]])
    """
    require(tuple(images.shape[2:]) == placement.image, "images", tuple(images.shape),
            f"(batch, channel, {placement.image[0]}, {placement.image[1]}) for this placement")
    pixels = images.to(dtype).div_(255)
    empty = torch.full((1, images.shape[1], 1, 1), int(placement.background), dtype=dtype).div_(255)
    if prepare is not None:
        pixels, empty = prepare(pixels), prepare(empty)
    canvases = empty.expand(*images.shape[:2], *placement.canvas).contiguous()
    _copy_rows(canvases, pixels, offsets)
    return canvases


def _copy_rows(canvases: torch.Tensor, pixels: torch.Tensor, offsets: torch.Tensor) -> None:
    """Copy each row of each image as one block, which needs one index per row instead of one per pixel."""
    (batch, channels, h, w), (height, width) = pixels.shape, canvases.shape[2:]
    planes = torch.arange(batch * channels).view(batch, channels, 1) * (height * width)
    corners = (offsets[:, 0] * width + offsets[:, 1]).view(batch, 1, 1)
    starts = planes + corners + torch.arange(h) * width  # (B, C, h): memory offset of each row
    windows = canvases.as_strided((max(canvases.numel() - w + 1, 0), w), (1, 1))  # row k: w pixels from the k-th on
    windows.index_copy_(0, starts.flatten(), pixels.reshape(-1, w))


def can_convolve_patches(conv: nn.Conv2d, placement: Placement) -> bool:
    """Return True if `placed_conv_pool` is exact for a convolution and a placement."""
    plain = conv.stride == (1, 1) and conv.padding == (0, 0) and conv.dilation == (1, 1) and conv.groups == 1
    return plain and has_plain_background(placement)


class _ReluPaste(torch.autograd.Function):
    """Apply ReLU to patches and paste them into canvases of one constant per channel.

    Works on rows of features, so that copies are contiguous.
    """

    @staticmethod
    def forward(ctx: Any, patches: torch.Tensor, constant: torch.Tensor, to_canvas: torch.Tensor,
                to_patch: torch.Tensor) -> torch.Tensor:
        source = patches.new_empty(len(patches) + 1, patches.shape[1])
        torch.clamp_min(patches, 0, out=source[:-1])
        torch.clamp_min(constant, 0, out=source[-1])  # the last row is the background
        pasted = source.index_select(0, to_canvas)
        outside = to_patch == len(to_canvas)  # patch cells outside the canvas are not read
        source[:-1].mul_(outside.logical_not()[:, None])
        ctx.save_for_backward(source, to_canvas == len(patches), to_patch.masked_fill_(outside, 0))
        return pasted

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        source, background, to_patch = ctx.saved_tensors
        grad = grads[0]
        of_patches = torch.ops.aten.threshold_backward(grad.index_select(0, to_patch), source[:-1], 0)
        of_constant = torch.mv(grad.t(), background.to(grad.dtype)) * (source[-1] > 0)  # `mv` is faster than `sum`
        return of_patches, of_constant, None, None


class _Patches:
    """Geometry of the patches for one convolution, pooling and placement.

    Per axis, with image size h, kernel k, pool p and offset d: the image touches the pooled rows from
    q = floor((d - k + 1) / p) on, at most n = ceil((h + k + p - 2) / p) of them.
    """

    def __init__(self, conv: nn.Conv2d, pool: int, placement: Placement):
        self.pool = pool
        kernel = (int(conv.kernel_size[0]), int(conv.kernel_size[1]))
        self.kernel = torch.tensor(kernel)
        self.cells = tuple(-(-(h + k + pool - 2) // pool) for h, k in zip(placement.image, kernel, strict=True))
        self.field = tuple((H - k + 1) // pool for H, k in zip(placement.canvas, kernel, strict=True))
        size = [n * pool + k - 1 for n, k in zip(self.cells, kernel, strict=True)]
        self.placement = Placement(image=placement.image, canvas=(size[0], size[1]), background=placement.background)

    def split(self, offsets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the first pooled row and column touched (B, 2), and the image's offset inside its patch (B, 2)."""
        first = torch.div(offsets - self.kernel.to(offsets.device) + 1, self.pool, rounding_mode="floor")
        return first, offsets - first * self.pool

    def indices(self, first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the patch cell of each pooled canvas cell, and the canvas cell of each patch cell.

        Cells without a counterpart have the index one past the end.
        """
        batch, device, first = len(first), first.device, first.int()
        image = torch.arange(batch, device=device, dtype=torch.int32)[:, None, None]

        def table(size: tuple[int, ...], other: tuple[int, ...], shift: torch.Tensor) -> torch.Tensor:
            rows = torch.arange(size[0], device=device, dtype=torch.int32) + shift[:, :1]
            columns = torch.arange(size[1], device=device, dtype=torch.int32) + shift[:, 1:]
            inside = ((rows >= 0) & (rows < other[0]))[:, :, None] & ((columns >= 0) & (columns < other[1]))[:, None]
            flat = image * (other[0] * other[1]) + rows[:, :, None] * other[1] + columns[:, None]
            return torch.where(inside, flat, batch * other[0] * other[1]).flatten()

        return table(self.field, self.cells, -first), table(self.cells, self.field, first)


def placed_conv_pool(conv: nn.Conv2d, pool: int, normalize: nn.Module, images: torch.Tensor, offsets: torch.Tensor,
                     placement: Placement) -> torch.Tensor:
    """Return `relu(max_pool2d(conv(normalize(place(images, offsets) / 255)), pool))`, convolving only patches.

    Args:
        conv: a convolution that `can_convolve_patches` accepts.
        pool: kernel size and stride of the max pooling.
        normalize: applied to pixels in [0, 1], all positions alike.
        images: uint8 (B, C, h, w).
        offsets: int64 (B, 2).
        placement: mode canvas, constant background.

    Returns:
        (B, filters, H', W') in channels-last memory format.
    """
    patches = _Patches(conv, pool, placement)
    first, inside = patches.split(offsets)
    dtype, place = conv.weight.dtype, patches.placement
    if can_prepare_first(place, images.device):
        pixels = prepare_and_place(images, inside, place, dtype, normalize)
    else:
        pixels = normalize(place.place(images, inside).to(dtype) / 255)
    bias = conv.bias if conv.bias is not None else conv.weight.new_zeros(conv.out_channels)
    pooled = F.max_pool2d(F.conv2d(pixels.contiguous(memory_format=torch.channels_last), conv.weight, bias), pool)
    empty = torch.full((1, images.shape[1], 1, 1), int(placement.background) / 255, dtype=dtype, device=images.device)
    constant = bias + (conv.weight * normalize(empty)).sum((1, 2, 3))  # (filters,)
    rows = pooled.permute(0, 2, 3, 1).reshape(-1, conv.out_channels)
    constant = constant.to(rows.dtype)  # under autocast the convolution returns half precision
    field = _ReluPaste.apply(rows, constant, *patches.indices(first))
    return field.view(len(images), *patches.field, conv.out_channels).permute(0, 3, 1, 2)
