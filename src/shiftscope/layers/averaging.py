"""The mean over several views of a picture, such that their order does not matter."""

from typing import Any, Literal

import torch
from torch import nn

from shiftscope.errors import UsageError, require
from shiftscope.modules import model_name
from shiftscope.outputs import OutputType, as_floats, determine_output_type, probabilities

Of = Literal["logits", "probabilities"]


def check_of(of: str) -> None:
    """Raise a `UsageError` unless `of` names what can be averaged."""
    require(of in ("logits", "probabilities"), "of", of, "logits or probabilities")


def one_tensor(outputs: Any, model: nn.Module) -> torch.Tensor:
    """Return what a model returned, a tensor (B, K); else raise a `UsageError`.

    >>> one_tensor(torch.zeros(2, 3), nn.Identity()).shape
    torch.Size([2, 3])
    """
    if isinstance(outputs, torch.Tensor) and outputs.ndim == 2:
        return outputs
    several = isinstance(outputs, list | tuple | dict)
    found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else (
        f"a {type(outputs).__name__} of {len(outputs)}" if several else f"a {type(outputs).__name__}")
    raise UsageError(f"an average needs a model that returns one tensor (batch, classes), {model_name(model)} "
                     f"returns {found}: wrap it in a module that returns the logits alone")


class MeanOfViews:
    """A running mean over what a net says of several views of each picture.

    A shifted picture has the same views in another order. Sums are therefore in float64, where the order changes
    nothing that a result in float32 would show.

    Args:
        of: "logits": the mean of the outputs as they are; "probabilities": the mean of the probabilities that they
            stand for, as probabilities where the net returns these, else as their logarithm.
        output_type: what the net returns; determined on the first views unless given.

    Example:
        >>> mean = MeanOfViews("logits")
        >>> mean.add(torch.tensor([[[1.0, 2.0]], [[3.0, 6.0]]]))
        >>> mean.result()
        tensor([[2., 4.]])
        >>> mean = MeanOfViews("probabilities")
        >>> mean.add(torch.tensor([[[0.5, 0.5]], [[0.25, 0.75]]]))
        >>> mean.result(), mean.output_type
        (tensor([[0.3750, 0.6250]]), 'probabilities')
    """

    def __init__(self, of: Of, output_type: OutputType | None = None):
        self.of, self.count = of, 0
        self.output_type: OutputType | None = output_type
        self.total: torch.Tensor | None = None
        self.dtype = torch.get_default_dtype()

    def add(self, outputs: torch.Tensor) -> None:
        """Take in the outputs (views, B, K) for some views of the same pictures."""
        self.dtype = as_floats(outputs).dtype
        wide = outputs.float() if outputs.device.type == "mps" else outputs.double()
        part = (wide if self.of == "logits" else probabilities(wide, self._type(outputs))).sum(0)
        self.total = part if self.total is None else self.total + part
        self.count += len(outputs)

    def _type(self, outputs: torch.Tensor) -> OutputType:
        if self.output_type is None:
            if torch.compiler.is_exporting():
                raise UsageError("output_type must be given for an average that is exported, got None: run the model "
                                 "once before, or state logits, probabilities or log-probabilities")
            self.output_type = determine_output_type(outputs)
        return self.output_type

    def result(self) -> torch.Tensor:
        """Return the mean over all views, (B, K), in the dtype of the outputs."""
        require(self.total is not None, "views", 0, "at least one")
        mean = self.total / self.count  # type: ignore[operator]
        if self.of == "probabilities" and self.output_type != "probabilities":
            mean = mean.clamp_min(torch.finfo(mean.dtype).tiny).log()
        return mean.to(self.dtype)
