"""From logits to answers, batch by batch: what is kept of the logits of every image at every placement."""

import numpy as np
import torch

from shiftscope.distributed import total
from shiftscope.errors import UsageError
from shiftscope.outputs import first_maximum, tie_masks, top_two


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
        tolerance: largest difference of two outputs that counts as a near tie.

    Attributes:
        classes: (N, P), `answer_type`, predicted classes, of equal outputs the first; the type's largest value where a
            prediction is non-finite.
        margins: float32 (N, 2), smallest and mean margin of each image over its finite predictions, NaN where it has
            none; -inf where the output of the true class is.
        worst: int64 (N,), the first placement whose prediction is non-finite, else the one with the smallest margin.
        exact_ties: int64 (N,), of each image the predictions whose two largest outputs are equal.
        ties: int64 (N,), those whose two largest outputs differ, but by no more than `tolerance`.

    Example:
        >>> answers = Answers(torch.tensor([1]), placements=2, classes=2)
        >>> _ = answers.add(0, torch.tensor([[[1.0, 3.0], [2.0, 1.0]]]))
        >>> answers.classes.tolist(), answers.margins.tolist(), answers.worst.tolist()
        ([[1, 0]], [[-1.0, 0.5]], [1])
    """

    def __init__(self, labels: torch.Tensor, placements: int, classes: int, tolerance: float = 0.0):
        self.labels, self.tolerance = labels, tolerance
        kind = answer_type(classes)
        self.lost = np.iinfo(kind).max
        self.classes = np.full((len(labels), placements), self.lost, kind)
        self.margins = np.full((len(labels), 2), np.nan, np.float32)
        self.worst, self.ties, self.exact_ties = (np.zeros(len(labels), np.int64) for _ in range(3))

    def add(self, begin: int, logits: torch.Tensor) -> np.ndarray:
        """Take in the outputs (B, P, K) of the images from number `begin` on, and return their answers (B, P)."""
        rows = slice(begin, begin + len(logits))
        labels = self.labels[rows].to(logits.device)[:, None].expand(logits.shape[:2])
        wide = logits if logits.dtype.itemsize >= 4 else logits.float()
        classes, best, second = top_two(wide)  # (B, P) each
        finite = best.isfinite()
        own = wide.gather(-1, labels[..., None])[..., 0]
        margin = own - torch.where(classes == labels, second, best) if logits.shape[-1] > 1 else own - own
        exact, near = tie_masks(best, second, self.tolerance)
        self.exact_ties[rows], self.ties[rows] = exact.sum(1).cpu().numpy(), near.sum(1).cpu().numpy()
        self.classes[rows] = classes.masked_fill(~finite, int(self.lost)).cpu().numpy()
        self.worst[rows] = _worst(margin, finite).cpu().numpy()
        self.margins[rows] = _extremes(margin, finite).cpu().numpy()
        return self.classes[rows]

    def merge(self, own: torch.Tensor) -> None:
        """Put together what a group of processes has; `own`, bool (N,), says whose answers this one computed."""
        others = ~own.numpy()
        for values in (self.classes, self.margins, self.worst, self.ties, self.exact_ties):
            values[others] = 0
            total(torch.from_numpy(values.view(np.uint8) if values.dtype == np.uint16 else values))


def _worst(margin: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Return the first placement that is not finite, else the first with the smallest margin, int64 (B,)."""
    smallest = first_maximum(-margin.masked_fill(~finite, torch.inf))
    return torch.where(finite.all(1), smallest, first_maximum((~finite).to(torch.uint8)))


def _extremes(margin: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Return smallest and mean margin over the finite placements, (B, 2)."""
    smallest = margin.masked_fill(~finite, torch.inf).amin(1)
    mean = margin.masked_fill(~finite, 0).sum(1, dtype=torch.float64) / finite.sum(1)
    return torch.stack((smallest.masked_fill(~finite.any(1), torch.nan).double(), mean), 1)
