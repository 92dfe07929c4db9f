"""Statistics of the parameters of a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ParameterRow:
    """Statistics of one parameter tensor."""

    name: str
    shape: tuple[int, ...]
    count: int
    mean: float
    std: float
    """Population standard deviation."""
    norm: float
    """Euclidean norm."""
