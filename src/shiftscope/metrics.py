"""Counts that all evaluations share."""

import torch


def confusion_counts(labels: torch.Tensor, predictions: torch.Tensor, classes: int) -> torch.Tensor:
    """Return int64 (K, K): rows true, columns predicted; predictions outside 0 .. K-1 (not finite) are left out.

    >>> confusion_counts(torch.tensor([0, 1, 1]), torch.tensor([0, 0, -1]), 2)
    tensor([[1, 0],
            [1, 0]])
    """
    known = (predictions >= 0) & (predictions < classes)
    flat = labels[known] * classes + predictions[known]
    return torch.bincount(flat, minlength=classes * classes).view(classes, classes)


def class_shares(labels: torch.Tensor, right: torch.Tensor, classes: int) -> list[float | None]:
    """Return the share of right answers in each class, None for a class without images.

    >>> class_shares(torch.tensor([0, 1, 1]), torch.tensor([True, True, False]), 3)
    [1.0, 0.5, None]
    """
    totals = torch.bincount(labels, minlength=classes).tolist()
    hits = torch.bincount(labels[right], minlength=classes).tolist()
    return [hit / total if total else None for hit, total in zip(hits, totals, strict=True)]
