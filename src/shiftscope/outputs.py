"""Types of classifier outputs, and the predictions and probabilities that follow from them.

A prediction is the index of the first largest output. It is non-finite if the row contains a NaN or its maximum is
infinite; -inf at other classes is valid. All functions accept NumPy arrays and torch tensors. The module does not
import torch, because figures and reports use it as well.
"""

from typing import Any, Literal, get_args

import numpy as np

from shiftscope.errors import UsageError, unknown

OutputType = Literal["logits", "probabilities", "log-probabilities"]
"""Type of the number that a model returns for each class."""

OUTPUT_TYPES: tuple[OutputType, ...] = get_args(OutputType)

UNKNOWN = "unknown"
"""Output type in records of release 0.1, which treated all outputs as logits."""

TOP5_CLASSES = 100
"""Smallest number of outputs of a model for which top-5 accuracy is computed."""

NONFINITE_CLASS = -1
"""Class of a non-finite prediction."""

_SUM = 1e-3
"""Largest difference from 1 of a sum of probabilities; `_SUM_HALF` for 16-bit types, which have 8 bits or more."""

_SUM_HALF = 2e-2


def first_maximum(outputs: Any) -> Any:
    """Return the index of the first largest value along the last axis, int64 (...).

    NumPy and torch on a CPU guarantee the first one. Other devices may choose any of several equal values; there the
    index is the number of values before the first one that equals the maximum.

    Args:
        outputs: (..., K), NumPy array or tensor. The index of a row with a NaN is undefined.

    Example:
        >>> first_maximum(np.array([[0.0, 2.0, 2.0], [1.0, 1.0, 1.0]]))
        array([1, 0])
    """
    if isinstance(outputs, np.ndarray) or outputs.device.type == "cpu":
        return outputs.argmax(-1)
    return _first_by_counting(outputs)


def _first_by_counting(outputs: Any) -> Any:
    before = ((outputs == outputs.amax(-1, keepdim=True)).cumsum(-1) == 0).sum(-1)
    return before.clamp(max=outputs.shape[-1] - 1)


def as_floats(outputs: Any) -> Any:
    """Return an integer tensor as float64, which is exact below 2^53; other tensors unchanged."""
    return outputs if outputs.is_floating_point() else outputs.double()


def is_finite(outputs: Any) -> Any:
    """Return bool (...), True for rows of (..., K) without a NaN and with a finite maximum.

    >>> is_finite(np.array([[0.0, -np.inf], [-np.inf, -np.inf], [np.nan, 0.0], [np.inf, 0.0]]))
    array([ True, False, False, False])
    """
    if isinstance(outputs, np.ndarray):
        return np.isfinite(outputs.max(-1))
    return outputs.amax(-1).isfinite()


def predicted_classes(outputs: Any) -> Any:
    """Return the predicted class of each row (..., K), int64 (...); `NONFINITE_CLASS` if it is non-finite.

    >>> predicted_classes(np.array([[0.0, 3.0, 3.0], [-np.inf, 1.0, 0.0], [np.nan, 1.0, 0.0]]))
    array([ 1,  1, -1])
    """
    classes, finite = first_maximum(outputs), is_finite(outputs)
    if isinstance(outputs, np.ndarray):
        return np.where(finite, classes, NONFINITE_CLASS)
    return classes.masked_fill(~finite, NONFINITE_CLASS)


def top_two(outputs: Any) -> tuple[Any, Any, Any]:
    """Return the index of the first largest value of each row (..., K), that value, and the largest of the others.

    Args:
        outputs: floating-point tensor; with K = 1 the largest of the others is -inf.

    Returns:
        int64 (...), and two tensors (...) in the dtype of the outputs.
    """
    first = first_maximum(outputs)
    others = outputs.scatter(-1, first[..., None], -np.inf)
    return first, outputs.gather(-1, first[..., None])[..., 0], others.amax(-1)


def among_largest(outputs: Any, labels: Any, most: int = 5) -> Any:
    """Return True where the true class is one of the `most` largest outputs; of equal outputs the first ones.

    Args:
        outputs: floating-point tensor (..., K).
        labels: int64 tensor (...), the true class.

    Example:
        >>> import torch
        >>> outputs = torch.tensor([[1.0, 3.0, 3.0], [3.0, 1.0, 2.0]])
        >>> among_largest(outputs, torch.tensor([2, 0]), most=1)
        tensor([False,  True])
    """
    own = outputs.gather(-1, labels[..., None])
    equal_before = (outputs == own).cumsum(-1).gather(-1, labels[..., None]) - 1
    return (outputs > own).sum(-1) + equal_before[..., 0] < most


def tie_masks(best: Any, second: Any, tolerance: float) -> tuple[Any, Any]:
    """Return bool (...) twice: the two largest outputs are equal; they are not, but differ by at most `tolerance`.

    Rows with a non-finite prediction are False in both.

    Args:
        best, second: see `top_two`.
        tolerance: largest difference that rounding explains.
    """
    finite = best.isfinite()
    return (best == second) & finite, (best - second <= tolerance) & (best != second) & finite


def probabilities(outputs: Any, output_type: str) -> Any:
    """Return the probabilities of outputs, (..., K), float64 for arrays, at least float32 for tensors.

    Args:
        outputs: (..., K), NumPy array or tensor.
        output_type: "logits" and "log-probabilities" (softmax, which also removes the rounding of half precision from
            the latter) or "probabilities" (unchanged); "unknown" is treated as logits.

    Returns:
        Probabilities; NaN in rows with a non-finite prediction.

    Raises:
        UsageError: if the output type is unknown.

    Example:
        >>> probabilities(np.array([[0.0, 0.0]]), "logits"), probabilities(np.array([[0.3, 0.7]]), "probabilities")
        (array([[0.5, 0.5]]), array([[0.3, 0.7]]))
    """
    if output_type != UNKNOWN:
        check_output_type(output_type)
    if isinstance(outputs, np.ndarray):
        return _probabilities_of_array(outputs.astype(np.float64), output_type)
    wide = outputs if outputs.is_floating_point() and outputs.itemsize >= 4 else outputs.float()
    if output_type == "probabilities":
        return wide
    return wide.softmax(-1)


def _probabilities_of_array(outputs: np.ndarray, output_type: str) -> np.ndarray:
    if output_type == "probabilities":
        return outputs
    with np.errstate(invalid="ignore", over="ignore"):
        rise = np.exp(outputs - outputs.max(-1, keepdims=True))
        return rise / rise.sum(-1, keepdims=True)


def classify(outputs: Any, output_type: str | None = None) -> tuple[Any, Any]:
    """Return class and confidence of each row (..., K): `NONFINITE_CLASS` and 0 if the prediction is non-finite.

    Args:
        outputs: tensor.
        output_type: see `probabilities` (default: determined from these outputs).

    Returns:
        int64 (...), and the probability of the predicted class, at least float32 (...).
    """
    classes = predicted_classes(outputs)
    confidence = probabilities(outputs, output_type or determine_output_type(outputs))
    confidence = confidence.gather(-1, classes.clamp(min=0)[..., None])[..., 0]
    return classes, confidence.masked_fill(classes == NONFINITE_CLASS, 0)


def determine_output_type(outputs: Any) -> OutputType:
    """Return the output type of a batch: rows of non-negative numbers that sum to 1 are probabilities, rows whose
    exponentials sum to 1 are log-probabilities, all others logits.

    Args:
        outputs: (..., K), NumPy array or tensor; rows without a finite maximum are ignored.

    Example:
        >>> determine_output_type(np.array([[0.2, 0.8], [1.0, 0.0]])), determine_output_type(np.array([[0.0, -np.inf]]))
        ('probabilities', 'log-probabilities')
        >>> determine_output_type(np.array([[0.2, 0.8], [1.0, 0.5]]))
        'logits'
    """
    rows, within = _finite_rows(outputs)
    if len(rows) and (rows >= 0).all() and _sum_to_one(rows, within):
        return "probabilities"
    if len(rows) and (rows <= within).all() and _sum_to_one(np.exp(rows), within):
        return "log-probabilities"
    return "logits"


def resolve_output_type(output_type: str | None, outputs: Any) -> OutputType:
    """Return the output type, checked against a batch of outputs, or determined from them.

    Args:
        output_type: None: determined.
        outputs: (B, K), of real images.

    Raises:
        UsageError: if the type is unknown, or the outputs contradict it.

    Example:
        >>> resolve_output_type(None, np.array([[-3.0, 5.0]]))
        'logits'
        >>> resolve_output_type("probabilities", np.array([[-3.0, 5.0]]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        shiftscope.errors.UsageError: output_type is 'probabilities', but the model returned values from -3 to 5; ...
    """
    if output_type is None:
        return determine_output_type(outputs)
    chosen = check_output_type(output_type)
    rows, within = _finite_rows(outputs)
    contradicted = {"logits": False, "probabilities": bool(((rows < -within) | (rows > 1 + within)).any()),
                    "log-probabilities": bool((rows > within).any())}[chosen]
    if contradicted:
        raise UsageError(f"output_type is {output_type!r}, but the model returned values from {rows.min():.4g} to "
                         f"{rows.max():.4g}; choose {determine_output_type(outputs)!r}, or omit it")
    return chosen


def check_output_type(name: str) -> OutputType:
    """Return the output type of a name.

    Raises:
        UsageError: if there is none; the message lists all types.
    """
    for known in OUTPUT_TYPES:
        if name == known:
            return known
    raise unknown("output type", name, OUTPUT_TYPES)


def _finite_rows(outputs: Any) -> tuple[np.ndarray, float]:
    """Return the rows with a finite maximum, float64 (n, K), and the tolerance for their sum."""
    is_array = isinstance(outputs, np.ndarray)
    wide = outputs.astype(np.float64) if is_array else outputs.detach().cpu().double().numpy()
    rows = wide.reshape(-1, wide.shape[-1])
    return rows[np.isfinite(rows.max(-1))], _SUM if outputs.dtype.itemsize >= 4 else _SUM_HALF


def _sum_to_one(rows: np.ndarray, within: float) -> bool:
    return bool((np.abs(rows.sum(-1) - 1) <= within).all())
