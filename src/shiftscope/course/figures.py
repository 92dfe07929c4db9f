"""Images and figures of the course: tensors as images, classified test images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from shiftscope.errors import UsageError, require
from shiftscope.outputs import classify
from shiftscope.reporting.figure_style import describe, styled
from shiftscope.reporting.image_grid import NONFINITE_NAME, GridLayout, ImageGrid


def to_tensor(image: Any) -> torch.Tensor:
    """Return an image as float tensor (C, H, W).

    Args:
        image: a tensor (C, H, W) or (H, W), or an array (H, W), (H, W, C) or (C, H, W).

    Raises:
        UsageError: if it has another shape.
    """
    if isinstance(image, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(image))
        tensor = tensor.permute(2, 0, 1) if tensor.ndim == 3 and tensor.shape[2] in (1, 3, 4) else tensor
    else:
        tensor = torch.as_tensor(image).detach().cpu()
    tensor = tensor[None] if tensor.ndim == 2 else tensor
    if tensor.ndim != 3 or tensor.numel() == 0:
        raise UsageError(f"an image must be a tensor (C, H, W) or (H, W), or an array (H, W) or (H, W, C), got shape "
                         f"{tuple(image.shape)}: pick one image of a batch, or arrange it with make_grid(images)")
    return tensor.float()


def rescale(image: torch.Tensor) -> torch.Tensor:
    """Rescale an image to [0, 1] by its own range; constant images become 0, nonfinite pixels count as 0.

    >>> rescale(torch.tensor([[-1.0, 0.0, 3.0]]))
    tensor([[0.0000, 0.2500, 1.0000]])
    """
    image = image.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else torch.zeros_like(image)


def to_colors(image: torch.Tensor) -> np.ndarray:
    """Return an image (C, H, W) as float RGB (H, W, 3): the mean of two channels, the first three of four or more.

    >>> to_colors(torch.zeros(1, 4, 6)).shape
    (4, 6, 3)
    """
    if len(image) < 3:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    return image[:3].permute(1, 2, 0).numpy()


def make_grid(images: Iterable[Any], nrow: int = 8, normalize: bool = False, padding: int = 2,
              pad_value: float = 0.0) -> torch.Tensor:
    """Arrange images in a grid, for `show`.

    Args:
        images: a tensor (N, C, H, W), or images of one size in any form that `show` accepts.
        nrow: images per row.
        normalize: rescale each image to [0, 1] by its own minimum and maximum.
        padding: pixels around each image.
        pad_value: the value of these pixels.

    Returns:
        float (C, H', W'); gray images get three channels.

    Raises:
        UsageError: if there are no images, or they have different sizes.

    Example:
        >>> make_grid(torch.rand(5, 1, 28, 28), nrow=3, normalize=True).shape
        torch.Size([3, 62, 92])
    """
    require(isinstance(nrow, int) and nrow >= 1, "nrow", nrow, "an integer of at least 1")
    tensors = [to_tensor(image) for image in images]
    sizes = {tuple(image.shape) for image in tensors}
    if len(sizes) != 1:
        raise UsageError(f"images must be at least one image, all of one size, got {sorted(sizes) or 'none'}")
    stack = torch.stack([rescale(image) if normalize else image for image in tensors])
    if stack.shape[1] == 1:
        stack = stack.expand(-1, 3, -1, -1)
    count, channels, height, width = stack.shape
    columns = min(nrow, count)
    rows, dy, dx = -(-count // columns), height + padding, width + padding
    grid = stack.new_full((channels, rows * dy + padding, columns * dx + padding), pad_value)
    for index, image in enumerate(stack):
        top, left = index // columns * dy + padding, index % columns * dx + padding
        grid[:, top:top + height, left:left + width] = image
    return grid


@dataclass(frozen=True)
class Predicted:
    """Test images, in the loader's units, with labels and model outputs."""

    images: torch.Tensor
    """(N, C, H, W)."""
    labels: torch.Tensor
    """int64 (N,)."""
    outputs: torch.Tensor
    """(N, K), logits, probabilities or log-probabilities."""


@styled
def prediction_gallery(model: str, predicted: Predicted, class_names: Sequence[str]) -> Figure:
    """Draw images with their true and predicted class; incorrect ones have a dashed frame, a cross and a label.

    Each image is rescaled by its own minimum and maximum.
    """
    classes, confidence = (tensor.cpu() for tensor in classify(predicted.outputs))
    labels = predicted.labels.cpu()
    count, correct = len(labels), int((classes == labels).sum())
    height, width = predicted.images.shape[2:]
    layout = GridLayout(count=count, columns=min(8, count), size=(int(height), int(width)), below=0.45, gap=0.14)
    title = f"Predictions of {model}: {correct} of {count} correct"
    note = "Percentages: confidence of the model. Each image is rescaled by its own minimum and maximum."
    grid = ImageGrid(layout, title=title, subtitle="The first images of the test loader.", footer=(note,))
    for cell, image in enumerate(predicted.images.cpu()):
        grid.draw(cell, to_colors(rescale(image.float())))
        true, predicted_class = int(labels[cell]), int(classes[cell])
        grid.mark_prediction(cell, correct=true == predicted_class, true=_names(class_names, true),
                             predicted=_names(class_names, predicted_class), confidence=float(confidence[cell]))
    return describe(grid.figure, f"{title}. Incorrect predictions have a dashed frame and a cross.")


def _names(class_names: Sequence[str], index: int) -> str:
    return str(class_names[index]) if index >= 0 else NONFINITE_NAME
