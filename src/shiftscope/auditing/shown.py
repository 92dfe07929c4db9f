"""Which images a report shows, with their class scores at every placement."""

import numpy as np
import torch

from shiftscope.distributed import gathered
from shiftscope.results.agreement import agreement

SHOWN = 48
"""Images shown at most."""

BYTES = 64 * 2**20
"""Their class scores take at most so much: with many classes and placements fewer images are shown."""


def shown_count(images: int, placements: int, classes: int) -> int:
    """Return how many images are shown: 48, all where there are fewer, at least 2 of very large ones.

    >>> shown_count(10_000, 841, 10), shown_count(5, 841, 10), shown_count(10_000, 10_000, 1000)
    (48, 5, 3)
    """
    return min(SHOWN, images, max(2, BYTES // (2 * placements * classes)))


class Shown:
    """Keeps the first images, and of all others those of the worst consistency, as they come by.

    Args:
        images: how many will come.
        placements: P.
        classes: K.

    Attributes:
        first, worst: how many of each kind are kept at most.
    """

    def __init__(self, images: int, placements: int, classes: int):
        self.classes, total = classes, shown_count(images, placements, classes)
        self.first, self.worst = total - total // 2, total // 2
        self.index = np.zeros(0, np.int64)
        self.consistency = np.zeros(0)
        self.logits = np.zeros((0, placements, classes), np.float16)

    def add(self, begin: int, logits: torch.Tensor, predictions: np.ndarray) -> None:
        """Look at the images from number `begin` on: logits (B, P, K) and answers (B, P)."""
        indices = np.arange(begin, begin + len(predictions))
        consistency, _ = agreement(predictions, self.classes)
        consistency[indices < self.first] = -1.0  # the first ones stay, in front
        rank = np.concatenate((self.consistency, consistency))
        every = np.concatenate((self.index, indices))
        keep = np.lexsort((every, rank))[:self.first + self.worst]
        old, new = keep[keep < len(self.index)], keep[keep >= len(self.index)]
        if len(new):
            fresh = half(logits[torch.from_numpy(new - len(self.index)).to(logits.device)])
            kept, scores = np.concatenate((old, new)), np.concatenate((self.logits[old], fresh))
            self.index, self.consistency, self.logits = every[kept], rank[kept], scores

    def merge(self) -> None:
        """Keep the same images in all processes of a group, of all that they kept."""
        parts = zip(*gathered((self.index, self.consistency, self.logits)), strict=True)
        self.index, self.consistency, self.logits = (np.concatenate(arrays) for arrays in parts)
        keep = np.lexsort((self.index, self.consistency))[:self.first + self.worst]
        self.index, self.consistency, self.logits = self.index[keep], self.consistency[keep], self.logits[keep]

    def arrays(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the shown images, first ones first, then the worst by rising consistency; and their
        logits, float16 (S, P, K).

        Args:
            count: only of the first so many images.
        """
        order = np.lexsort((self.index, self.consistency))
        order = order[self.index[order] < count]
        return self.index[order], self.logits[order]


def half(logits: torch.Tensor) -> np.ndarray:
    """Return outputs (..., K) as float16; infinities and NaN stay.

    In rows whose largest output float16 cannot hold, it is subtracted from all: a softmax does not see that. What
    float16 cannot hold of the others becomes its smallest number.

    Example:
        >>> half(torch.tensor([[1e6, 1e6 - 2, -torch.inf], [0.5, -1e6, 0.0]])).tolist()
        [[0.0, -2.0, -inf], [0.5, -65504.0, 0.0]]
    """
    most = float(np.finfo(np.float16).max)
    wide = logits.double() if logits.device.type != "mps" else logits.float()
    best = wide.amax(-1, keepdim=True)
    wide = wide - best.masked_fill(~((best.abs() > most) & best.isfinite()), 0)
    kept = wide.clamp(-most, most).masked_fill(wide == torch.inf, torch.inf).masked_fill(wide == -torch.inf, -torch.inf)
    return kept.to(torch.float16).cpu().numpy()
