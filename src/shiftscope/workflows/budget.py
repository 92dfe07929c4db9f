"""The time of a whole run, which its trainings and audits share."""

from shiftscope.progress import duration
from shiftscope.training.stopping import Clock

INSTANT = 1e-9
"""Seconds for a training when none are left: it does one step."""


class Budget:
    """Says whether another piece of work may begin: as long as there is time left, and always the first of a call.

    So every call gets on, however short its time is, and going on with `--resume` comes to an end. A training pauses
    when the time is up; an evaluation, an audit or a report that is begun is finished.

    Args:
        limit: seconds for all of the run's work in this call; None: no limit.

    Example:
        >>> endless, spent = Budget(None), Budget(1e-9)
        >>> endless.begin(), endless.begin(), endless.left()
        (True, True, None)
        >>> spent.begin(), spent.begin(), spent.left()
        (True, False, 1e-09)
    """

    def __init__(self, limit: float | None):
        self.clock, self.begun = Clock(limit), 0

    def begin(self) -> bool:
        """Return whether another piece of work may begin; if so, it counts as begun."""
        if self.begun and self.clock.is_up():
            return False
        self.begun += 1
        return True

    def left(self) -> float | None:
        """Return the seconds that a training may take, above 0; None: no limit."""
        return None if self.clock.limit is None else max(self.clock.limit - self.clock.seconds(), INSTANT)

    def paused(self, trainings: tuple[int, int], audits: tuple[int, int]) -> str | None:
        """Return the sentence on what is left for later; None where all is done.

        Args:
            trainings, audits: how many are done, and how many there are to do.
        """
        if trainings[0] == trainings[1] and audits[0] == audits[1]:
            return None
        done = f"{trainings[0]} of {trainings[1]} trainings"
        done += f" and {audits[0]} of {audits[1]} audits" if audits[1] else ""
        return (f"the run paused after {duration(self.clock.seconds())}, as --max-time asks: {done} are done and "
                "saved. Go on with the same command and --resume")
