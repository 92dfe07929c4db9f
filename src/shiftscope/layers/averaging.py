"""The mean over several views of a picture, such that their order does not matter."""

from typing import Literal

import torch

from shiftscope.errors import require

Of = Literal["logits", "probabilities"]


def check_of(of: str) -> None:
    """Raise a `UsageError` unless `of` names what can be averaged."""
    require(of in ("logits", "probabilities"), "of", of, "logits or probabilities")


class MeanOfViews:
    """A running mean over what a net says of several views of each picture.

    A shifted picture has the same views in another order. Sums are therefore in float64, where the order changes
    nothing that a result in float32 would show.

    Args:
        of: "logits": the mean of the outputs as they are; "probabilities": the logarithm of the mean probabilities, for
            nets that return logits or log-probabilities.

    Example:
        >>> mean = MeanOfViews("logits")
        >>> mean.add(torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]]))
        >>> mean.result()
        tensor([[2., 4.]])
    """

    def __init__(self, of: Of):
        self.of, self.count = of, 0
        self.total: torch.Tensor | None = None
        self.dtype = torch.get_default_dtype()

    def add(self, outputs: torch.Tensor) -> None:
        """Take in the outputs (views, B, K) for some views of the same pictures."""
        self.dtype = outputs.dtype
        wide = outputs.float() if outputs.device.type == "mps" else outputs.double()
        values = wide if self.of == "logits" else wide.softmax(-1)
        part = values.sum(0)
        self.total = part if self.total is None else self.total + part
        self.count += len(outputs)

    def result(self) -> torch.Tensor:
        """Return the mean over all views, (B, K), in the dtype of the outputs."""
        require(self.total is not None, "views", 0, "at least one")
        mean = self.total / self.count  # type: ignore[operator]
        if self.of == "probabilities":
            mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
        return mean.to(self.dtype)
