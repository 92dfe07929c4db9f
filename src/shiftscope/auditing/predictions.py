"""What an audit keeps of the outputs of all images at all placements: predictions, margins, and some class scores."""

import numpy as np
import torch

from shiftscope.distributed import gathered, total
from shiftscope.errors import UsageError
from shiftscope.outputs import TOP5_CLASSES, OutputType, among_largest, first_maximum, tie_masks, top_two
from shiftscope.results.agreement import agreement

SHOWN, SHOWN_BYTES = 48, 64 * 2**20
"""Images in a report, and bytes of their class scores, at most."""


def prediction_dtype(classes: int) -> np.dtype:
    """Return the smallest unsigned type that holds all classes and, as its largest value, non-finite predictions.

    >>> prediction_dtype(255), prediction_dtype(256)
    (dtype('uint8'), dtype('uint16'))
    """
    if classes > 65535:
        raise UsageError(f"an audit supports at most 65,535 classes, got {classes:,}; use a model with fewer outputs")
    return np.dtype(np.uint8 if classes <= 255 else np.uint16)


class PlacementPredictions:
    """Predictions and margins of images at all placements, added batch by batch.

    Args:
        labels: int64 (N,), true classes of all images; -1 without labels.
        placements: P.
        classes: K.
        tolerance: largest difference of two outputs that counts as a near tie.
        output_type: type of the outputs, for `confidences`; None: they are not computed.

    Attributes:
        nonfinite: the value of `classes` for non-finite predictions: the largest value of its type.
        classes: (N, P), `prediction_dtype`, predicted classes, the first one of equal outputs.
        margins: float32 (N, 2), smallest and mean margin of each image over its finite predictions, NaN if it has
            none or no label; -inf if the output of the true class is -inf.
        top_margins: float32 (N, 3), smallest, median and largest difference of the two largest outputs over the finite
            predictions, NaN if there are none.
        confidences: float32 (N, 2), smallest and largest probability of the predicted class over the finite
            predictions, NaN if there are none or they are not computed.
        top5: bool (N, P), True where the true class is among the five largest outputs; (N, 0) without labels or with
            fewer than `TOP5_CLASSES` classes.
        worst: int64 (N,), the first placement with a non-finite prediction, else the one with the smallest margin;
            without a label, with the smallest difference of the two largest outputs.
        exact_ties: int64 (N,), number of predictions per image with two equal largest outputs.
        ties: int64 (N,), number of predictions whose two largest outputs differ by at most `tolerance`, but not by 0.

    Example:
        >>> predictions = PlacementPredictions(torch.tensor([1]), placements=2, classes=2)
        >>> _ = predictions.add(0, torch.tensor([[[1.0, 3.0], [2.0, 1.0]]]))
        >>> predictions.classes.tolist(), predictions.margins.tolist(), predictions.worst.tolist()
        ([[1, 0]], [[-1.0, 0.5]], [1])
    """

    def __init__(self, labels: torch.Tensor, placements: int, classes: int, tolerance: float = 0.0,
                 output_type: OutputType | None = None):
        self.labels, self.tolerance, self.output_type = labels, tolerance, output_type
        dtype = prediction_dtype(classes)
        self.nonfinite = np.iinfo(dtype).max
        self.classes = np.full((len(labels), placements), self.nonfinite, dtype)
        self.margins, self.top_margins, self.confidences = (
            np.full((len(labels), length), np.nan, np.float32) for length in (2, 3, 2))
        self.top5 = np.zeros((len(labels), placements if classes >= TOP5_CLASSES and bool((labels >= 0).all()) else 0),
                             bool)
        self.worst, self.ties, self.exact_ties = (np.zeros(len(labels), np.int64) for _ in range(3))

    def add(self, begin: int, logits: torch.Tensor) -> np.ndarray:
        """Add the outputs (B, P, K) of the images from index `begin` on; return their predictions (B, P)."""
        rows = slice(begin, begin + len(logits))
        labels = self.labels[rows].to(logits.device)[:, None].expand(logits.shape[:2])
        wide = logits if logits.dtype.itemsize >= 4 else logits.float()
        classes, best, second = top_two(wide)  # (B, P) each
        finite = best.isfinite()
        own = wide.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        gap = best - second if logits.shape[-1] > 1 else best - best
        margin = torch.where(classes == labels, gap, torch.where(labels < 0, gap, own - best))
        exact, near = tie_masks(best, second, self.tolerance)
        self.exact_ties[rows], self.ties[rows] = exact.sum(1).cpu().numpy(), near.sum(1).cpu().numpy()
        self.classes[rows] = classes.masked_fill(~finite, int(self.nonfinite)).cpu().numpy()
        bounded = margin.masked_fill(~finite, torch.inf)
        worst = torch.where(finite.all(1), first_maximum(-bounded), first_maximum((~finite).to(torch.uint8)))
        smallest = bounded.amin(1).masked_fill(~finite.any(1), torch.nan).double()
        mean = margin.masked_fill(~finite, 0).sum(1, dtype=torch.float64) / finite.sum(1)
        self.worst[rows] = worst.cpu().numpy()
        margins = torch.stack((smallest, mean), 1).masked_fill(labels[:, :1] < 0, torch.nan)
        self.margins[rows] = margins.cpu().numpy()
        self.top_margins[rows] = smallest_median_largest(gap, finite).cpu().numpy()
        if self.output_type is not None:
            confidence = best if self.output_type == "probabilities" else (best - wide.logsumexp(-1)).exp()
            self.confidences[rows] = smallest_median_largest(confidence, finite)[:, [0, 2]].cpu().numpy()
        if self.top5.shape[1]:
            self.top5[rows] = (among_largest(wide, labels) & finite).cpu().numpy()
        return self.classes[rows]

    def merge(self, own: torch.Tensor) -> None:
        """Merge the results of a group of processes; `own`, bool (N,), marks the images of this process."""
        others = ~own.numpy()
        for values in (self.classes, self.margins, self.top_margins, self.confidences, self.top5, self.worst,
                       self.ties, self.exact_ties):
            values[others] = 0
            total(torch.from_numpy(values.view(np.uint8) if values.dtype in (bool, np.uint16) else values))


def smallest_median_largest(values: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Return the smallest value, the median and the largest value of each row, only where `finite` is True.

    Args:
        values: floating-point (B, P).
        finite: bool (B, P).

    Returns:
        (B, 3); NaN in rows without a finite value. The median of an even number is the mean of the middle two.

    Example:
        >>> smallest_median_largest(torch.tensor([[3.0, 1.0, 9.0, 2.0]]), torch.tensor([[True, True, False, True]]))
        tensor([[1., 2., 3.]])
    """
    ordered = values.masked_fill(~finite, torch.inf).sort(1).values
    count = finite.sum(1, keepdim=True)
    columns = torch.cat((torch.zeros_like(count), (count - 1) // 2, count // 2, count - 1), 1).clamp(min=0)
    low, below, above, high = ordered.gather(1, columns).masked_fill(count == 0, torch.nan).unbind(1)
    return torch.stack((low, torch.where(below == above, below, (below + above) / 2), high), 1)


def shown_count(images: int, placements: int, classes: int) -> int:
    """Return the number of images in a report: 48, or fewer if the class scores are large, but at least 2.

    >>> shown_count(10_000, 841, 10), shown_count(5, 841, 10), shown_count(10_000, 10_000, 1000)
    (48, 5, 3)
    """
    return min(SHOWN, images, max(2, SHOWN_BYTES // (2 * placements * classes)))


class ShownImages:
    """Keeps class scores of the first images, and of those of the others with the lowest consistency.

    Args:
        images: number of all images.
        placements: P.
        classes: K.

    Attributes:
        first, worst: largest number of images of each kind.
    """

    def __init__(self, images: int, placements: int, classes: int):
        self.classes, count = classes, shown_count(images, placements, classes)
        self.first, self.worst = count - count // 2, count // 2
        self.index = np.zeros(0, np.int64)
        self.consistency = np.zeros(0)
        self.logits = np.zeros((0, placements, classes), np.float16)

    def add(self, begin: int, logits: torch.Tensor, predictions: np.ndarray) -> None:
        """Add outputs (B, P, K) and predictions (B, P) of the images from index `begin` on."""
        indices = np.arange(begin, begin + len(predictions))
        consistency, _ = agreement(predictions, self.classes)
        consistency[indices < self.first] = -1.0  # the first images come first and are always kept
        rank = np.concatenate((self.consistency, consistency))
        index = np.concatenate((self.index, indices))
        keep = np.lexsort((index, rank))[:self.first + self.worst]
        old, new = keep[keep < len(self.index)], keep[keep >= len(self.index)]
        if len(new):
            scores = to_float16(logits[torch.from_numpy(new - len(self.index)).to(logits.device)])
            keep, scores = np.concatenate((old, new)), np.concatenate((self.logits[old], scores))
            self.index, self.consistency, self.logits = index[keep], rank[keep], scores

    def include(self, index: np.ndarray, consistency: np.ndarray, logits: np.ndarray) -> None:
        """Add stored images (n,) with their consistency (n,) and scores (n, P, K); keep those that `add` would."""
        self.index = np.concatenate((self.index, index))
        self.consistency = np.concatenate((self.consistency, consistency))
        self.logits = np.concatenate((self.logits, logits))
        self._select()

    def merge(self) -> None:
        """Keep the same images in all processes of a group."""
        parts = zip(*gathered((self.index, self.consistency, self.logits)), strict=True)
        self.index, self.consistency, self.logits = (np.concatenate(arrays) for arrays in parts)
        self._select()

    def _select(self) -> None:
        keep = np.lexsort((self.index, self.consistency))[:self.first + self.worst]
        self.index, self.consistency, self.logits = self.index[keep], self.consistency[keep], self.logits[keep]

    def arrays(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return indices and scores, float16 (S, P, K), of those of the first `count` images that are kept.

        The first images come first, then the others by ascending consistency.
        """
        order = np.lexsort((self.index, self.consistency))
        order = order[self.index[order] < count]
        return self.index[order], self.logits[order]


def to_float16(logits: torch.Tensor) -> np.ndarray:
    """Return outputs (..., K) as float16 with the same softmax; infinities and NaN are kept.

    If float16 cannot hold the largest output of a row, it is subtracted from the row. Other values are clamped.

    Example:
        >>> to_float16(torch.tensor([[1e6, 1e6 - 2, -torch.inf], [0.5, -1e6, 0.0]])).tolist()
        [[0.0, -2.0, -inf], [0.5, -65504.0, 0.0]]
    """
    most = float(np.finfo(np.float16).max)
    wide = logits.double() if logits.device.type != "mps" else logits.float()
    best = wide.amax(-1, keepdim=True)
    wide = wide - best.masked_fill(~((best.abs() > most) & best.isfinite()), 0)
    kept = wide.clamp(-most, most).masked_fill(wide == torch.inf, torch.inf).masked_fill(wide == -torch.inf, -torch.inf)
    return kept.to(torch.float16).cpu().numpy()
