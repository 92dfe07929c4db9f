"""Draws any number of labeled garments."""

import torch

from shiftscope import hashing
from shiftscope.data.garments import others, shoes, tops
from shiftscope.data.garments.dice import Dice
from shiftscope.data.garments.fabric import Painter
from shiftscope.data.garments.raster import SIZE
from shiftscope.hashing import Stream
from shiftscope.progress import Progress

PAINTERS: dict[str, Painter] = {
    "T-shirt/top": tops.t_shirt, "Trouser": others.trouser, "Pullover": tops.pullover, "Dress": tops.dress,
    "Coat": tops.coat, "Sandal": shoes.sandal, "Shirt": tops.shirt, "Sneaker": shoes.sneaker, "Bag": others.bag,
    "Ankle boot": shoes.ankle_boot,
}
"""Class name -> painter, in the order of the labels, which is Fashion-MNIST's."""

VERSION = 1
"""Rises whenever the drawings change: cached ones of another version are not used."""

_BATCH = 200  # images of one class at a time: their layers stay in the processor's cache


def draw(count: int, *, seed: int, split: int, progress: Progress) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the first `count` images of one split.

    Image i depends on (seed, split, i) alone. Every ten images in a row hold each class once.

    Returns:
        Images uint8 (count, 1, 28, 28) and labels int64 (count,).
    """
    start = hashing.stream(Stream.GARMENTS, VERSION, seed, split)
    labels = _labels(start, count)
    images = torch.empty(count, 1, SIZE, SIZE, dtype=torch.uint8)
    task = progress.task("drawing garments", count)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # batches are so small that more threads only wait for one another
    try:
        for label, painter in enumerate(PAINTERS.values()):
            for indices in (labels == label).nonzero().flatten().split(_BATCH):
                dice = Dice(start, indices)
                images[indices, 0] = torch.from_numpy(painter(dice).finish(dice))
                task.advance(len(indices))
    finally:
        torch.set_num_threads(threads)
        task.close()
    return images, labels


def _labels(start: int, count: int) -> torch.Tensor:
    """Return labels (count,): each block of ten is a random order of the ten classes."""
    classes = len(PAINTERS)
    blocks = -(-count // classes)
    keys = hashing.mix(torch.arange(blocks * classes) ^ start).view(blocks, classes)
    return keys.argsort(dim=1, stable=True).flatten()[:count]
