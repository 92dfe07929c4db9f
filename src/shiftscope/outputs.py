"""What the numbers are that a classifier returns, and the prediction that they give: one definition for all code.

A prediction is the index of the first largest output. It is non-finite where the row holds a NaN or its maximum is
infinite; -inf at other classes is valid. All functions take NumPy arrays and torch tensors, and this module imports no
torch: figures and reports use it as well.
"""

from typing import Any, Literal, get_args

import numpy as np

from shiftscope.errors import UsageError, unknown

OutputType = Literal["logits", "probabilities", "log-probabilities"]
"""What a model returns for each class."""

OUTPUT_TYPES: tuple[OutputType, ...] = get_args(OutputType)

UNKNOWN = "unknown"
"""Output type in records of release 0.1, which took all outputs for logits."""

NONE = -1
"""Class of a non-finite prediction."""

_SUM = 1e-3
"""Largest difference from 1 of a sum of probabilities; `_SUM_HALF` in types of 16 bits, which keep 8 bits or more."""

_SUM_HALF = 2e-2


def first_maximum(outputs: Any) -> Any:
    """Return the index of the first largest value along the last axis, int64 (...).

    NumPy and torch on a CPU promise the first one. Other devices may choose any of equal values, so there the index is
    counted: it is the number of values before the first one that equals the maximum.

    Args:
        outputs: (..., K), NumPy array or tensor. The index of a row with a NaN has no meaning.

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
    """Return a tensor of whole numbers as float64, which holds all scores below 2^53 exactly; others as they are."""
    return outputs if outputs.is_floating_point() else outputs.double()


def is_finite(outputs: Any) -> Any:
    """Return bool (...): whether rows (..., K) hold no NaN and have a finite maximum.

    >>> is_finite(np.array([[0.0, -np.inf], [-np.inf, -np.inf], [np.nan, 0.0], [np.inf, 0.0]]))
    array([ True, False, False, False])
    """
    if isinstance(outputs, np.ndarray):
        return np.isfinite(outputs.max(-1))
    return outputs.amax(-1).isfinite()


def predicted_classes(outputs: Any) -> Any:
    """Return the predicted class of each row (..., K), int64 (...); `NONE` where it is non-finite.

    >>> predicted_classes(np.array([[0.0, 3.0, 3.0], [-np.inf, 1.0, 0.0], [np.nan, 1.0, 0.0]]))
    array([ 1,  1, -1])
    """
    classes, finite = first_maximum(outputs), is_finite(outputs)
    if isinstance(outputs, np.ndarray):
        return np.where(finite, classes, NONE)
    return classes.masked_fill(~finite, NONE)


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


def tie_masks(best: Any, second: Any, tolerance: float) -> tuple[Any, Any]:
    """Return bool (...): where the two largest outputs are equal, and where they differ by at most `tolerance`.

    The two masks have no row in common, and no row whose prediction is non-finite.

    Args:
        best, second: see `top_two`.
        tolerance: largest difference that rounding explains.
    """
    finite = best.isfinite()
    return (best == second) & finite, (best - second <= tolerance) & (best != second) & finite


def probabilities(outputs: Any, output_type: str) -> Any:
    """Return the probabilities that outputs stand for, (..., K), float64 for arrays, at least float32 for tensors.

    Args:
        outputs: (..., K), NumPy array or tensor.
        output_type: "logits" and "log-probabilities" (softmax, which also takes the rounding of half precision from the
            latter) or "probabilities" (as they are); "unknown" is taken for logits.

    Returns:
        Probabilities; NaN in rows whose prediction is non-finite.

    Raises:
        UsageError: an unknown output type.

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
    """Return class and confidence of each row (..., K): `NONE` and 0 where the prediction is non-finite.

    Args:
        outputs: tensor.
        output_type: see `probabilities`; determined on these outputs unless given.

    Returns:
        int64 (...), and the probability of the predicted class, at least float32 (...).
    """
    classes = predicted_classes(outputs)
    found = probabilities(outputs, output_type or determine_output_type(outputs))
    confidence = found.gather(-1, classes.clamp(min=0)[..., None])[..., 0]
    return classes, confidence.masked_fill(classes == NONE, 0)


def determine_output_type(outputs: Any) -> OutputType:
    """Return what the numbers of a batch are: rows of non-negative numbers that sum to 1 are probabilities, rows whose
    exponentials sum to 1 are log-probabilities, all others logits.

    Args:
        outputs: (..., K), NumPy array or tensor; rows without a finite maximum do not count.

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


def resolve_output_type(given: str | None, outputs: Any) -> OutputType:
    """Return the output type that the caller gave, or the one that a batch of outputs shows.

    Args:
        given: None: determined.
        outputs: (B, K), of real images.

    Raises:
        UsageError: an unknown type, or one that the outputs contradict.

    Example:
        >>> resolve_output_type(None, np.array([[-3.0, 5.0]]))
        'logits'
        >>> resolve_output_type("probabilities", np.array([[-3.0, 5.0]]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        shiftscope.errors.UsageError: output_type is 'probabilities', but the model returned values from -3 to 5: ...
    """
    if given is None:
        return determine_output_type(outputs)
    chosen = check_output_type(given)
    rows, within = _finite_rows(outputs)
    wrong = {"logits": False, "probabilities": bool(((rows < -within) | (rows > 1 + within)).any()),
             "log-probabilities": bool((rows > within).any())}[chosen]
    if wrong:
        raise UsageError(f"output_type is {given!r}, but the model returned values from {rows.min():.4g} to "
                         f"{rows.max():.4g}: choose {determine_output_type(outputs)!r}, or leave it out")
    return chosen


def check_output_type(name: str) -> OutputType:
    """Return an output type by its name.

    Raises:
        UsageError: there is no such type; all are named.
    """
    for known in OUTPUT_TYPES:
        if name == known:
            return known
    raise unknown("output type", name, OUTPUT_TYPES)


def _finite_rows(outputs: Any) -> tuple[np.ndarray, float]:
    """Return the rows with a finite maximum, float64 (n, K), and how far their sum may be from 1."""
    is_array = isinstance(outputs, np.ndarray)
    wide = outputs.astype(np.float64) if is_array else outputs.detach().cpu().double().numpy()
    rows = wide.reshape(-1, wide.shape[-1])
    return rows[np.isfinite(rows.max(-1))], _SUM if outputs.dtype.itemsize >= 4 else _SUM_HALF


def _sum_to_one(rows: np.ndarray, within: float) -> bool:
    return bool((np.abs(rows.sum(-1) - 1) <= within).all())
