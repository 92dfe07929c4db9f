"""Tensors and arrays as pictures: each rescaled by its own minimum and maximum, whatever units it is in."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from shiftscope.errors import UsageError, require


def to_tensor(image: Any) -> torch.Tensor:
    """Return a picture as float (C, H, W).

    Args:
        image: a tensor (C, H, W) or (H, W), or a numpy array (H, W), (H, W, C) or, where that cannot be, (C, H, W).

    Raises:
        UsageError: another shape.
    """
    if isinstance(image, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(image))
        tensor = tensor.permute(2, 0, 1) if tensor.ndim == 3 and tensor.shape[2] in (1, 3, 4) else tensor
    else:
        tensor = torch.as_tensor(image).detach().cpu()
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3 or tensor.numel() == 0:
        raise UsageError(f"a picture must be a tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C), got shape "
                         f"{tuple(image.shape)}: pick one image of a batch, or lay it out with make_grid(images)")
    return tensor.float()


def rescale(picture: torch.Tensor) -> torch.Tensor:
    """Return a picture stretched to [0, 1]; one of a single value becomes 0, what is not finite counts as 0.

    >>> rescale(torch.tensor([[-1.0, 0.0, 3.0]]))
    tensor([[0.0000, 0.2500, 1.0000]])
    """
    picture = picture.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    low, high = picture.min(), picture.max()
    return (picture - low) / (high - low) if high > low else torch.zeros_like(picture)


def to_colors(picture: torch.Tensor) -> np.ndarray:
    """Return a picture (C, H, W) in [0, 1] as float RGB (H, W, 3): two channels show their mean, four and more three.

    >>> to_colors(torch.zeros(1, 4, 6)).shape
    (4, 6, 3)
    """
    if len(picture) < 3:
        picture = picture.mean(0, keepdim=True).expand(3, -1, -1)
    return picture[:3].permute(1, 2, 0).numpy()


def make_grid(images: Iterable[Any], nrow: int = 8, normalize: bool = False, padding: int = 2,
              pad_value: float = 0.0) -> torch.Tensor:
    """Lay pictures side by side, for `show`.

    Args:
        images: a tensor (N, C, H, W), or pictures of one size as `to_tensor` takes them.
        nrow: pictures in a row.
        normalize: stretch each picture to [0, 1] by its own minimum and maximum.
        padding: pixels around each picture.
        pad_value: the value of these pixels.

    Returns:
        float (C, H', W'); gray pictures get three channels.

    Raises:
        UsageError: no pictures, or of different sizes.

    Example:
        >>> make_grid(torch.rand(5, 1, 28, 28), nrow=3, normalize=True).shape
        torch.Size([3, 62, 92])
    """
    require(isinstance(nrow, int) and nrow >= 1, "nrow", nrow, "a whole number of at least 1")
    pictures = [to_tensor(image) for image in images]
    sizes = {tuple(picture.shape) for picture in pictures}
    if len(sizes) != 1:
        raise UsageError(f"images must be at least one picture, all of one size, got {sorted(sizes) or 'none'}")
    stack = torch.stack([rescale(picture) if normalize else picture for picture in pictures])
    if stack.shape[1] == 1:
        stack = stack.expand(-1, 3, -1, -1)
    count, channels, height, width = stack.shape
    columns = min(nrow, count)
    rows, tall, wide = -(-count // columns), height + padding, width + padding
    grid = stack.new_full((channels, rows * tall + padding, columns * wide + padding), pad_value)
    for place, picture in enumerate(stack):
        down, right = place // columns * tall + padding, place % columns * wide + padding
        grid[:, down:down + height, right:right + width] = picture
    return grid
