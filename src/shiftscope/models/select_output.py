"""The scores of a classifier among its outputs: of tuples, dictionaries and objects, and of binary models."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from math import log
from typing import Any

import torch

from shiftscope.errors import UsageError, shortened, some_of
from shiftscope.outputs import OutputType

OutputKey = int | str
"""Position in a tuple, key of a dictionary, or name of an attribute."""


def parse_key(text: str) -> OutputKey:
    """Return a key written as text: an integer is a position.

    >>> parse_key("-1"), parse_key("logits")
    (-1, 'logits')
    """
    return int(text) if text.removeprefix("-").isdecimal() else text


def select(outputs: Any, key: OutputKey | None, name: str) -> Any:
    """Return the tensor that a key selects from the outputs of a model; the outputs themselves without a key.

    Args:
        name: of the model, for the message.

    Raises:
        UsageError: if there is no such output, or it is not a tensor.

    Example:
        >>> select({"logits": torch.ones(2), "features": torch.zeros(2)}, "logits", "Net")
        tensor([1., 1.])
    """
    if key is None:
        return outputs
    found = _look_up(outputs, key)
    if not isinstance(found, torch.Tensor):
        what = "does not exist" if found is None else f"is not a tensor but {type(found).__name__}"
        raise UsageError(f"select_output is {key!r}, which {what} in the output of {name}, {described(outputs)}: "
                         "choose the position, key or attribute of the scores (batch, classes)")
    return found


def _look_up(outputs: Any, key: OutputKey) -> Any:
    if isinstance(outputs, torch.Tensor):
        return None
    if isinstance(outputs, Mapping) and key in outputs:
        return outputs[key]
    if isinstance(outputs, Sequence) and isinstance(key, int):
        return outputs[key] if -len(outputs) <= key < len(outputs) else None
    return getattr(outputs, key, None) if isinstance(key, str) and not key.startswith("_") else None


def default_key(outputs: Any, batch: int, name: str) -> OutputKey | None:
    """Return the key of the scores: that of the only tensor (batch, classes), else "logits"; None for one tensor.

    Raises:
        UsageError: if there are several such tensors, or none.

    Example:
        >>> default_key((torch.zeros(2, 10), torch.zeros(2, 8, 4, 4)), 2, "Net")
        0
    """
    if isinstance(outputs, torch.Tensor):
        return None
    parts = _parts(outputs)
    rows = [key for key, part in parts.items() if isinstance(part, torch.Tensor) and part.ndim == 2
            and part.shape[0] == batch]
    if len(rows) == 1:
        return rows[0]
    if isinstance(parts.get("logits"), torch.Tensor):
        return "logits"
    why = f"{len(rows)} tensors of shape (batch, classes)" if rows else "no tensor of shape (batch, classes)"
    raise UsageError(f"{name} must return a tensor (batch, classes), got {described(outputs)}, with {why}: choose one "
                     "with select_output= (--select-output), a position, key or attribute")


def _parts(outputs: Any) -> dict[OutputKey, Any]:
    """Return the parts of an output of several values, by key."""
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if isinstance(outputs, Sequence) and not isinstance(outputs, str):
        return dict(enumerate(outputs))
    if is_dataclass(outputs):
        return {part.name: getattr(outputs, part.name) for part in fields(outputs)}
    return {name: value for name, value in getattr(outputs, "__dict__", {}).items() if not name.startswith("_")}


def described(outputs: Any) -> str:
    """Return type and parts of an output, for messages.

    >>> described((torch.zeros(2, 3), None))
    'tuple of 0: (2, 3), 1: NoneType'
    """
    if isinstance(outputs, torch.Tensor):
        return f"a tensor of shape {tuple(outputs.shape)}"
    kinds = {key: tuple(part.shape) if isinstance(part, torch.Tensor) else type(part).__name__
             for key, part in _parts(outputs).items()}
    parts = [f"{shortened(str(key), 20)}: {kind}" for key, kind in kinds.items()]
    return f"{type(outputs).__name__} of {some_of(parts, 4)}" if parts else type(outputs).__name__


# ---------------------------------------------------------------------- binary models

def is_binary(outputs: torch.Tensor, batch: int) -> bool:
    """Return True for one number per image: (B, 1) or (B,).

    >>> is_binary(torch.zeros(2, 1), 2), is_binary(torch.zeros(2), 2), is_binary(torch.zeros(2, 3), 2)
    (True, True, False)
    """
    return tuple(outputs.shape) in ((batch,), (batch, 1))


def two_columns(outputs: torch.Tensor, output_type: OutputType) -> torch.Tensor:
    """Return the outputs (B, 2) of the classes 0 and 1 that belong to one number per image, in the same output type.

    The larger one is class 1 exactly if the logit is > 0, the probability > 0.5, or the log-probability > log 0.5.

    Args:
        outputs: (B, 1) or (B,), of class 1.

    Example:
        >>> two_columns(torch.tensor([0.25, 0.5, 0.75]), "probabilities").argmax(1)
        tensor([0, 0, 1])
    """
    one = outputs.reshape(-1, 1)
    one = one if one.is_floating_point() else one.double()
    if output_type == "logits":
        return torch.cat((torch.zeros_like(one), one), 1)
    if output_type == "probabilities":
        return torch.cat((1 - one, one), 1)
    zero, half = torch.log1p(-one.exp()), torch.full_like(one, log(0.5))
    below = torch.nextafter(one, one - 1) if one.dtype in (torch.float32, torch.float64) else one - 1e-2
    zero = torch.where(one > half, zero.minimum(below.detach()), zero.maximum(one))  # rounding of log1p near log 0.5
    return torch.cat((zero, one), 1)
