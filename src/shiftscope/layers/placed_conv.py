"""A first convolution with pooling and ReLU, computed only where the image reaches.

On a canvas mode placement most of the canvas is empty, and where a filter sees nothing but background its output
is one constant a channel. Placing commutes with an unpadded stride-1 convolution, so it is enough to run it on a
patch around the image, and to paste the pooled patch into a pooled canvas of that constant. Exact: each value is
computed from the same pixels and weights as on the whole canvas.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shiftscope.layers.placed_pixels import laid_in_rows, prepared_canvases
from shiftscope.placement import Placement


def fits(conv: nn.Conv2d, placement: Placement) -> bool:
    """Return whether the short cut is exact for this convolution and these placements."""
    plain = conv.stride == (1, 1) and conv.padding == (0, 0) and conv.dilation == (1, 1) and conv.groups == 1
    return plain and placement.mode == "canvas" and isinstance(placement.background, int)


class _ReluPaste(torch.autograd.Function):
    """Paste patches into canvases of one constant a channel, negative values as zeros.

    Rows of features, so that copies are contiguous. ReLU is done on the patches, which are fewer than the canvas.
    """

    @staticmethod
    def forward(ctx: Any, patches: torch.Tensor, constant: torch.Tensor, to_canvas: torch.Tensor,
                to_patch: torch.Tensor) -> torch.Tensor:
        source = patches.new_empty(len(patches) + 1, patches.shape[1])
        torch.clamp_min(patches, 0, out=source[:-1])
        torch.clamp_min(constant, 0, out=source[-1])  # the last row is the background
        pasted = source.index_select(0, to_canvas)
        outside = to_patch == len(to_canvas)  # patch cells that fall off the canvas: nobody has read them
        source[:-1].mul_(outside.logical_not()[:, None])
        ctx.save_for_backward(source, to_canvas == len(patches), to_patch.masked_fill_(outside, 0))
        return pasted

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        source, background, to_patch = ctx.saved_tensors
        grad = grads[0]
        of_patches = torch.ops.aten.threshold_backward(grad.index_select(0, to_patch), source[:-1], 0)
        of_constant = torch.mv(grad.t(), background.to(grad.dtype)) * (source[-1] > 0)  # a product sums faster than sum
        return of_patches, of_constant, None, None


class PatchGeometry:
    """Where patches lie for one convolution, pooling and placement.

    Symbols, an axis: image h, kernel k, pool p, offset d. Pooled rows touched by the image begin at
    q = floor((d - k + 1) / p); at most n = ceil((h + k + p - 2) / p) rows are touched.
    """

    def __init__(self, conv: nn.Conv2d, pool: int, placement: Placement):
        self.pool, self.placement = pool, placement
        kernel = (int(conv.kernel_size[0]), int(conv.kernel_size[1]))
        self.kernel = torch.tensor(kernel)
        self.cells = tuple(-(-(h + k + pool - 2) // pool) for h, k in zip(placement.image, kernel, strict=True))
        self.field = tuple((H - k + 1) // pool for H, k in zip(placement.canvas, kernel, strict=True))
        size = [n * pool + k - 1 for n, k in zip(self.cells, kernel, strict=True)]
        self.patch = Placement(image=placement.image, canvas=(size[0], size[1]), background=placement.background)

    def split(self, offsets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return first pooled row and column touched (B, 2), and the image's offset inside its patch (B, 2)."""
        first = torch.div(offsets - self.kernel.to(offsets.device) + 1, self.pool, rounding_mode="floor")
        return first, offsets - first * self.pool

    def indices(self, first: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return for each pooled canvas cell its row among all patch cells, and for each patch cell the reverse.

        What has no counterpart points one past the end.
        """
        batch, device, first = len(first), first.device, first.int()
        (nh, nw), (fh, fw) = self.cells, self.field
        which = torch.arange(batch, device=device, dtype=torch.int32)[:, None, None]

        def table(size: tuple[int, ...], other: tuple[int, ...], shift: torch.Tensor) -> torch.Tensor:
            rows = torch.arange(size[0], device=device, dtype=torch.int32) + shift[:, :1]
            columns = torch.arange(size[1], device=device, dtype=torch.int32) + shift[:, 1:]
            inside = ((rows >= 0) & (rows < other[0]))[:, :, None] & ((columns >= 0) & (columns < other[1]))[:, None]
            flat = which * (other[0] * other[1]) + rows[:, :, None] * other[1] + columns[:, None]
            return torch.where(inside, flat, batch * other[0] * other[1]).flatten()

        return table((fh, fw), (nh, nw), -first), table((nh, nw), (fh, fw), first)


def placed_conv_pool(conv: nn.Conv2d, pool: int, normalize: nn.Module, images: torch.Tensor, offsets: torch.Tensor,
                     placement: Placement) -> torch.Tensor:
    """Return `relu(max_pool2d(conv(normalize(place(images, offsets) / 255)), pool))`, the reach alone computed.

    Args:
        conv: a convolution for which `fits` holds.
        pool: side and stride of the max pooling.
        normalize: what the model does to pixels in [0, 1] first, the same for every position.
        images: uint8 (B, C, h, w).
        offsets: int64 (B, 2).
        placement: mode canvas, constant background.

    Returns:
        (B, filters, H', W'), channels last in memory.
    """
    geometry = PatchGeometry(conv, pool, placement)
    first, inside = geometry.split(offsets)
    dtype = conv.weight.dtype
    pixels = _patches(images, inside, geometry.patch, dtype, normalize).contiguous(memory_format=torch.channels_last)
    bias = conv.bias if conv.bias is not None else conv.weight.new_zeros(conv.out_channels)
    pooled = F.max_pool2d(F.conv2d(pixels, conv.weight, bias), pool)  # (B, filters, n, n)
    empty = torch.full((1, images.shape[1], 1, 1), int(placement.background) / 255, dtype=dtype, device=images.device)
    constant = bias + (conv.weight * normalize(empty)).sum((1, 2, 3))  # (filters,)
    rows = pooled.permute(0, 2, 3, 1).reshape(-1, conv.out_channels)
    constant = constant.to(rows.dtype)  # under autocast the convolution gives half precision
    field = _ReluPaste.apply(rows, constant, *geometry.indices(first))
    return field.view(len(images), *geometry.field, conv.out_channels).permute(0, 3, 1, 2)


def _patches(images: torch.Tensor, inside: torch.Tensor, patch: Placement, dtype: torch.dtype,
             normalize: nn.Module) -> torch.Tensor:
    """Return the normalized images, each laid on its patch."""
    if laid_in_rows(patch, images.device):
        return prepared_canvases(images, inside, patch, dtype, normalize)
    return normalize(patch.place(images, inside).to(dtype) / 255)
