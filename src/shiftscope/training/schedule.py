"""Learning rate as a pure function of the step, so that resuming needs no state."""

import math

from shiftscope.settings import Schedule

WARM_UP, START, END = 0.25, 0.04, 1e-4
"""One-cycle: share of steps that rise, first and last rate as shares of the peak (Smith & Topin 2018)."""


def learning_rate(step: int, total: int, peak: float, schedule: Schedule) -> float:
    """Return the learning rate of step `step` (0 .. total-1).

    >>> [round(learning_rate(step, 101, 1.0, "one-cycle"), 3) for step in (0, 25, 100)]
    [0.04, 1.0, 0.0]
    >>> learning_rate(5, 10, 0.1, "constant")
    0.1
    """
    if schedule == "constant":
        return peak
    done = step / max(total - 1, 1)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    if done < WARM_UP:
        return peak * _between(START, 1.0, done / WARM_UP)
    return peak * _between(1.0, END, (done - WARM_UP) / (1 - WARM_UP))


def _between(first: float, last: float, share: float) -> float:
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * share))
