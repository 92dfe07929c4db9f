"""What outputs of layers say about pictures: activations of units, how far a class stands out, likeness of pictures."""

import torch


def activation(output: torch.Tensor, units: torch.Tensor, last: bool = False,
               place: tuple[int, int] | None = None) -> torch.Tensor:
    """Return each row's activation of its own unit: at a place, or the mean over all further axes.

    Args:
        output: (B, units, ...), or (B, ..., units) where `last`.
        units: int64 (B,).
        place: (row, column) on the last two axes of (B, units, rows, columns).

    Returns:
        (B,).

    Example:
        >>> activation(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
        tensor([2., 3.])
    """
    if last:
        output = output.movedim(-1, 1)
    chosen = output[torch.arange(len(units), device=output.device), units.to(output.device)]  # (B, ...)
    if place is not None:
        return chosen[:, place[0], place[1]]
    return chosen.flatten(1).mean(1) if chosen.ndim > 1 else chosen


def loudest(output: torch.Tensor, units: torch.Tensor, last: bool = False) -> torch.Tensor:
    """Return each row's largest activation of its own unit over all further axes, (B,).

    >>> loudest(torch.tensor([[[-1.0, 3.0]]]), torch.tensor([0]))
    tensor([3.])
    """
    if last:
        output = output.movedim(-1, 1)
    chosen = output[torch.arange(len(units), device=output.device), units.to(output.device)]
    return chosen.flatten(1).amax(1) if chosen.ndim > 1 else chosen


def class_score(logits: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Return how far each row's class stands out: z_k - (mean of all z + logsumexp of the other z) / 2.

    The mean alone gives the best garments, but a rival may score higher still; the log-odds z_k - logsumexp alone
    always win, but by silencing rivals. Half of each is recognizable and wins. A constant added to all logits changes
    nothing, so log-probabilities give the same as logits.

    Args:
        logits: (B, K), or any output with units on axis 1.
        units: int64 (B,), classes.

    Returns:
        (B,).

    Example:
        >>> z = torch.tensor([[2.0, 0.0]])
        >>> class_score(z, torch.tensor([0])), class_score(z.log_softmax(1), torch.tensor([0]))
        (tensor([1.5000]), tensor([1.5000]))
    """
    own = activation(logits, units)
    if logits.ndim != 2 or logits.shape[1] < 2:
        return own
    rivals = logits.scatter(1, units[:, None].to(logits.device), -torch.inf)
    return own - (logits.mean(1) + rivals.logsumexp(1)) / 2


def unlikeness(output: torch.Tensor, copies: int) -> torch.Tensor:
    """Return minus the mean cosine between each row's Gram matrix and those of the other rows of its group.

    The Gram matrix G = F F^T of features F (units, places) says which units answer together, wherever they do.

    Args:
        output: (B, units, ...), groups of `copies` rows one after the other.
        copies: rows of a group, at least 2.

    Returns:
        (B,), -1 to 1.

    Example:
        >>> unlikeness(torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), copies=2)
        tensor([-1., -1., -0., -0.])
    """
    features = output.flatten(2) if output.ndim > 2 else output[..., None]
    gram = (features @ features.transpose(1, 2)).flatten(1)  # (B, units^2)
    length = gram.norm(dim=1, keepdim=True).clamp_min(torch.finfo(gram.dtype).eps)
    groups = (gram / length).unflatten(0, (-1, copies))
    cosines = groups @ groups.transpose(1, 2)  # (groups, copies, copies)
    others = cosines.sum(2) - cosines.diagonal(dim1=1, dim2=2)
    return -(others / (copies - 1)).flatten()
