"""Which images stand behind the cells of a confusion matrix, so that a reader can look at them."""

import torch

EACH = 4
"""Images of a cell."""

MOST = 400
"""Images of all cells together: of small ones they take about 300 kB."""

BYTES = 8 * 2**20
"""All images together take at most so much: of large ones fewer are kept."""


def examples(labels: torch.Tensor, predictions: torch.Tensor, classes: int, shape: tuple[int, int, int],
             most: int = MOST) -> torch.Tensor:
    """Choose up to four images for every cell (true, predicted): the first ones, not picked.

    Where there is no room for all, mistakes come before what is right, and every cell's first image before any
    cell's second. Images whose answer is not finite belong to no cell.

    Args:
        labels: int64 (N,), true classes.
        predictions: int64 (N,), -1 where an answer is not finite.
        classes: K.
        shape: (C, h, w) of the images.

    Returns:
        int64 (M,), numbers of the images, rising.

    Example:
        >>> labels, said = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, -1])
        >>> examples(labels, said, 2, (1, 28, 28)), examples(labels, said, 2, (1, 28, 28), most=2)
        (tensor([0, 1, 2, 3]), tensor([0, 2]))
    """
    channels, height, width = shape
    known = (predictions >= 0).nonzero()[:, 0]
    cells = labels[known] * classes + predictions[known]
    order = cells.argsort(stable=True)
    counts = torch.bincount(cells, minlength=classes * classes)
    rank = torch.arange(len(order)) - (counts.cumsum(0) - counts)[cells[order]]  # 0 for the first image of a cell
    index = known[order]
    index, rank = index[rank < EACH], rank[rank < EACH]
    right = (labels[index] == predictions[index]).long()
    priority = (right * EACH + rank).argsort(stable=True)
    return index[priority[:min(most, BYTES // (channels * height * width))]].sort().values
