"""From logits to answers, batch by batch: what is kept of the logits of every image at every placement."""

import numpy as np
import torch

from shiftscope.distributed import total
from shiftscope.errors import UsageError

TIE = 1e-5
"""Two largest logits so close may change places by rounding."""


def answer_type(classes: int) -> np.dtype:
    """Return the smallest unsigned type that holds every class and, as its largest value, "not finite".

    >>> answer_type(255), answer_type(256)
    (dtype('uint8'), dtype('uint16'))
    """
    if classes > 65535:
        raise UsageError(f"an audit tells at most 65,535 classes apart, got {classes:,}")
    return np.dtype(np.uint8 if classes <= 255 else np.uint16)


class Answers:
    """The answers of images, as they come by. Everything else in an audit follows from them.

    Args:
        labels: int64 (N,), true classes of all images.
        placements: P.
        classes: K.

    Attributes:
        classes: (N, P), `answer_type`, predicted classes; the type's largest value where logits are not finite.
        margins: float32 (N, 2), smallest and mean margin of each image over its finite answers, NaN where it has none.
        worst: int64 (N,), the first placement that is not finite, else the one with the smallest margin.
        ties: int64 (N,), of each image the answers whose two largest logits lie within `TIE`.

    Example:
        >>> answers = Answers(torch.tensor([1]), placements=2, classes=2)
        >>> _ = answers.add(0, torch.tensor([[[1.0, 3.0], [2.0, 1.0]]]))
        >>> answers.classes.tolist(), answers.margins.tolist(), answers.worst.tolist()
        ([[1, 0]], [[-1.0, 0.5]], [1])
    """

    def __init__(self, labels: torch.Tensor, placements: int, classes: int):
        self.labels = labels
        kind = answer_type(classes)
        self.lost = np.iinfo(kind).max
        self.classes = np.full((len(labels), placements), self.lost, kind)
        self.margins = np.full((len(labels), 2), np.nan, np.float32)
        self.worst, self.ties = np.zeros(len(labels), np.int64), np.zeros(len(labels), np.int64)

    def add(self, begin: int, logits: torch.Tensor) -> np.ndarray:
        """Take in the logits (B, P, K) of the images from number `begin` on, and return their answers (B, P)."""
        rows = slice(begin, begin + len(logits))
        labels = self.labels[rows].to(logits.device)[:, None, None].expand(*logits.shape[:2], 1)
        finite = logits.isfinite().all(-1)  # (B, P)
        top, order = logits.topk(min(2, logits.shape[-1]), -1)  # (B, P, 2)
        margin = _margins(logits, top, order, labels)
        if top.shape[-1] > 1:
            self.ties[rows] = ((top[..., 0] - top[..., -1] <= TIE) & finite).sum(1).cpu().numpy()
        self.classes[rows] = order[..., 0].masked_fill(~finite, int(self.lost)).cpu().numpy()
        self.worst[rows] = margin.masked_fill(~finite, -torch.inf).argmin(1).cpu().numpy()
        self.margins[rows] = _extremes(margin, finite).cpu().numpy()
        return self.classes[rows]

    def merge(self, own: torch.Tensor) -> None:
        """Put together what a group of processes has; `own`, bool (N,), says whose answers this one computed."""
        others = ~own.numpy()
        for values in (self.classes, self.margins, self.worst, self.ties):
            values[others] = 0
            total(torch.from_numpy(values.view(np.uint8) if values.dtype == np.uint16 else values))


def _margins(logits: torch.Tensor, top: torch.Tensor, order: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the true class's logit less the largest other one, (B, P); 0 where there is one class alone."""
    right = order[..., :1] == labels
    rival = torch.where(right, top[..., -1:], top[..., :1])
    return (logits.gather(-1, labels) - rival).squeeze(-1)


def _extremes(margin: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Return smallest and mean margin over the finite placements, (B, 2)."""
    smallest = margin.masked_fill(~finite, torch.inf).amin(1)
    mean = margin.masked_fill(~finite, 0).sum(1, dtype=torch.float64) / finite.sum(1)
    return torch.stack((smallest.masked_fill(~finite.any(1), torch.nan).double(), mean), 1)
