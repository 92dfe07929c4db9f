"""How a course notebook trains: PIL images placed one by one in a Dataset, batches from a DataLoader, a plain loop."""

import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset


class PlacedPictures(Dataset):
    """Lays each image at a new random place whenever it is asked for, and normalises it."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, canvas: tuple[int, int] = (56, 56)):
        self.images, self.labels, self.canvas = images, labels, canvas

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture = Image.fromarray(self.images[index])
        height, width = self.canvas
        corner = random.randint(0, width - picture.width), random.randint(0, height - picture.height)
        canvas = Image.new("L", (width, height))
        canvas.paste(picture, corner)
        tensor = torch.from_numpy(np.asarray(canvas, dtype=np.uint8).copy())[None].float().div(255)
        return (tensor - 0.1307) / 0.3081, int(self.labels[index])


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, loader: DataLoader) -> float:
    """Train one epoch; return its seconds."""
    model.train()
    begun = time.perf_counter()
    for pixels, labels in loader:
        optimizer.zero_grad()
        F.nll_loss(model(pixels), labels).backward()
        optimizer.step()
    return time.perf_counter() - begun
