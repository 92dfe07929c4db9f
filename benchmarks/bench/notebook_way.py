"""How a course notebook trains: PIL images placed one by one in a Dataset, batches from a DataLoader, a plain loop.

Written out without torchvision, and without any of Shiftscope's shortcuts: crop, ToTensor and Normalize image by
image, models that take normalized pixels and compute layer by layer in the order in which the course writes them.
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
"""What the course normalizes pixels with."""

Batch = tuple[torch.Tensor, torch.Tensor]


class PlacedPictures(Dataset):
    """Lays each image at a new random place whenever it is asked for, and normalizes it.

    Args:
        images: uint8 (N, C, h, w).
        labels: (N,).
        canvas: (H, W).
        normalize: False: pixels stay in [0, 1], for models that normalize for themselves.

    Example:
        >>> pictures = PlacedPictures(np.zeros((3, 1, 28, 28), np.uint8), np.arange(3), (40, 56))
        >>> pixels, label = pictures[2]
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
        picture = Image.fromarray(self.images[index].numpy())
        pixels = to_tensor(random_crop(picture, self.canvas))
        return normalized(pixels) if self.normalize else pixels, int(self.labels[index])


def random_crop(picture: Image.Image, canvas: tuple[int, int]) -> Image.Image:
    """Pad a picture with black on all sides, and crop a canvas (H, W) that shows all of it, at random."""
    down, right = canvas[0] - picture.height, canvas[1] - picture.width
    padded = ImageOps.expand(picture, border=(right, down, right, down), fill=0)
    top, left = int(torch.randint(0, down + 1, (1,))), int(torch.randint(0, right + 1, (1,)))
    return padded.crop((left, top, left + canvas[1], top + canvas[0]))


def to_tensor(picture: Image.Image) -> torch.Tensor:
    """Return a PIL image as pixels in [0, 1], (C, H, W)."""
    array = torch.from_numpy(np.array(picture, dtype=np.uint8, copy=True))
    bands = array.view(picture.height, picture.width, len(picture.getbands()))
    return bands.permute(2, 0, 1).contiguous().to(torch.float32).div(255)


def normalized(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels less their mean, over their std, channel by channel."""
    mean, std = (torch.as_tensor([value], dtype=pixels.dtype).view(-1, 1, 1) for value in (MEAN, STD))
    return pixels.clone().sub_(mean).div_(std)


class NotebookPerceptron(TwoFullNet):
    """The perceptron for pixels that the loader has normalized already."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (B, classes)."""
        return F.log_softmax(self.fc2(F.relu(self.fc1(pixels.flatten(1)))), dim=1)


class NotebookConvnet(TwoConvTwoFullNet):
    """The convnet for pixels that the loader has normalized already, in the order in which the course writes it."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return log-probabilities (B, classes)."""
        x = F.max_pool2d(F.relu(self.conv1(pixels)), 2)
        x = F.max_pool2d(F.relu(self.conv2_drop(self.conv2(x))), 2)
        x = self.fc1_drop(F.relu(self.fc1(x.flatten(1))))
        return F.log_softmax(self.fc2(x), dim=1)


NOTEBOOK_MODELS = {"two-full": NotebookPerceptron, "two-conv": NotebookConvnet}


def notebook_model(name: str, *, canvas: tuple[int, int], channels: int, classes: int) -> tuple[nn.Module, bool]:
    """Return the model as a notebook has it, and whether it wants its pixels normalized by the loader."""
    if name in NOTEBOOK_MODELS:
        return NOTEBOOK_MODELS[name](canvas=canvas, channels=channels, classes=classes), True
    return build_model(name, canvas=canvas, channels=channels, classes=classes), False


def train_steps(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Iterable[Batch], steps: int,
                device: torch.device) -> float:
    """Train for so many batches in the plain loop; return the seconds."""
    model.train()
    synchronize(device)
    begun = time.perf_counter()
    for pixels, labels in itertools.islice(batches, steps):
        optimizer.zero_grad()
        F.cross_entropy(model(pixels.to(device)), labels.to(device)).backward()
        optimizer.step()
    synchronize(device)
    return time.perf_counter() - begun


def notebook_training(name: str, images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], batch_size: int,
                      classes: int, device: str) -> Callable[[int], float]:
    """Return a function that trains for some steps as the notebook does and returns seconds, for `WorkerProcess`."""
    model, normalize = notebook_model(name, canvas=canvas, channels=images.shape[1], classes=classes)
    model = model.to(device)
    pictures = PlacedPictures(images, labels, canvas, normalize=normalize)
    loader = DataLoader(pictures, batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    return lambda steps: train_steps(model, optimizer, loader, steps, torch.device(device))


def notebook_batches(images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int], batch_size: int,
                     device: str) -> Callable[[int], float]:
    """Return a function that makes some batches as the notebook does and returns seconds, for `WorkerProcess`."""
    loader = DataLoader(PlacedPictures(images, labels, canvas), batch_size=batch_size, shuffle=True)
    return lambda steps: _draw(loader, steps, torch.device(device))


def _draw(loader: Iterable[Batch], steps: int, device: torch.device) -> float:
    begun = time.perf_counter()
    for pixels, labels in itertools.islice(loader, steps):
        pixels.to(device)
        labels.to(device)
    synchronize(device)
    return time.perf_counter() - begun
