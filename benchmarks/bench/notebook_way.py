"""Training as in a course notebook: PIL images placed one by one in a Dataset, a DataLoader, a plain loop.

Uses neither torchvision nor any optimization of Shiftscope: crop, ToTensor and Normalize image by
image, models that take normalized pixels and compute layer by layer in the order of the course.
"""

import itertools
import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn
from torch.utils.data import DataLoader, Dataset

from bench.worker import synchronize
from shiftscope.models import TwoConvTwoFullNet, TwoFullNet, build_model

MEAN, STD = 0.1307, 0.3081
"""Normalization of the course."""

Batch = tuple[torch.Tensor, torch.Tensor]


class PlacedImages(Dataset):
    """Places each image at a new random offset on every access, and normalizes it.

    Args:
        images: uint8 (N, C, h, w).
        labels: (N,).
        canvas: (H, W).
        normalize: False keeps pixels in [0, 1], for models that normalize their input.

    Example:
        >>> images = PlacedImages(np.zeros((3, 1, 28, 28), np.uint8), np.arange(3), (40, 56))
        >>> pixels, label = images[2]
        >>> pixels.shape, label
        (torch.Size([1, 40, 56]), 2)
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], *, normalize: bool = True):
        gray = images.shape[1] == 1
        self.images = torch.from_numpy(images[:, 0] if gray else np.ascontiguousarray(images.transpose(0, 2, 3, 1)))
        self.labels, self.canvas, self.normalize = torch.from_numpy(labels), canvas, normalize

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[index].numpy())
        pixels = to_tensor(random_crop(image, self.canvas))
        return normalized(pixels) if self.normalize else pixels, int(self.labels[index])


def random_crop(image: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    """Pad an image with black on all sides, and crop a random canvas (H, W) that contains all of it."""
    down, right = canvas[0] - image.height, canvas[1] - image.width
    padded = ImageOps.expand(image, border=(right, down, right, down), fill=0)
    top, left = int(torch.randint(0, down + 1, (1,))), int(torch.randint(0, right + 1, (1,)))
    return padded.crop((left, top, left + canvas[1], top + canvas[0]))


def to_tensor(image: Image.Image) -> torch.Tensor:
    """Return a PIL image as pixels in [0, 1], (C, H, W)."""
    array = torch.from_numpy(np.array(image, dtype=np.uint8, copy=True))
    bands = array.view(image.height, image.width, len(image.getbands()))
    return bands.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    """Return the pixels minus their mean, divided by their std, per channel."""
    mean, std = (torch.as_tensor([value], dtype=pixels.dtype).view(-1, 1, 1) for value in (MEAN, STD))
    return pixels.clone().sub_(mean).div_(std)


class NotebookPerceptron(TwoFullNet):
    """The perceptron for pixels that the loader has normalized."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (B, classes)."""
        return F.log_softmax(self.fc2(F.relu(self.fc1(pixels.flatten(1)))), dim=1)


class NotebookConvnet(TwoConvTwoFullNet):
    """The convnet for pixels that the loader has normalized, with its layers in the order of the course."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (B, classes)."""
        x = F.max_pool2d(F.relu(self.conv1(pixels)), 2)
        x = F.max_pool2d(F.relu(self.conv2_drop(self.conv2(x))), 2)
        x = self.fc1_drop(F.relu(self.fc1(x.flatten(1))))
        return F.log_softmax(self.fc2(x), dim=1)


NOTEBOOK_MODELS = {"two-full": NotebookPerceptron, "two-conv": NotebookConvnet}


def notebook_model(name: str, *, canvas: tuple[int, int], channels: int, classes: int) -> tuple[nn.Module, bool]:
    """Return the model of the notebook, and True if the loader must normalize the pixels."""
    if name in NOTEBOOK_MODELS:
        return NOTEBOOK_MODELS[name](canvas=canvas, channels=channels, classes=classes), True
    return build_model(name, canvas=canvas, channels=channels, classes=classes), False


def train_steps(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Batch], steps: int,
                device: torch.device) -> float:
    """Train for `steps` batches in the plain loop; return the seconds."""
    model.train()
    synchronize(device)
    start = time.perf_counter()
    for pixels, labels in itertools.islice(batches, steps):
        optimizer.zero_grad()
        F.cross_entropy(model(pixels.to(device)), labels.to(device)).backward()
        optimizer.step()
    synchronize(device)
    return time.perf_counter() - start


def notebook_training(name: str, images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], batch_size: int,
                      classes: int, device: str) -> Callable[[int], float]:
    """Return a function that trains for some steps as the notebook does and returns seconds, for `WorkerProcess`."""
    model, normalize = notebook_model(name, canvas=canvas, channels=images.shape[1], classes=classes)
    model = model.to(device)
    placed = PlacedImages(images, labels, canvas, normalize=normalize)
    loader = DataLoader(placed, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return lambda steps: train_steps(model, optimizer, loader, steps, torch.device(device))


def notebook_batches(images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], batch_size: int,
                     device: str) -> Callable[[int], float]:
    """Return a function that creates batches as the notebook does and returns seconds, for `WorkerProcess`."""
    loader = DataLoader(PlacedImages(images, labels, canvas), batch_size=batch_size, shuffle=True)
    return lambda steps: _draw(loader, steps, torch.device(device))


def _draw(loader: Iterable[Batch], steps: int, device: torch.device) -> float:
    start = time.perf_counter()
    for pixels, labels in itertools.islice(loader, steps):
        pixels.to(device)
        labels.to(device)
    synchronize(device)
    return time.perf_counter() - start
