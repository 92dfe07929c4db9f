"""The parameters of a model in a table."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ParameterRow:
    """One tensor of parameters."""

    name: str
    shape: tuple[int, ...]
    count: int
    mean: float
    std: float
    """Standard std over all its numbers (population)."""
    norm: float
    """Root of the sum of squares."""
