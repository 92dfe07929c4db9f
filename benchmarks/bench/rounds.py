"""Measures several methods in alternation."""

from collections.abc import Callable, Mapping, Sequence

from bench.record import GrowthLine, growth_line
from shiftscope.progress import Progress


def in_turns(contestants: Mapping[str, Callable[[int], float]], repeats: int, title: str,
             progress: Progress) -> dict[str, list[float]]:
    """Measure each method `repeats` times, round by round, so that slow moments of the machine affect all of them.

    Args:
        contestants: functions of the round (0, 1, ...) that return seconds.

    Returns:
        Seconds by name, one value per round.

    Example:
        >>> from shiftscope.progress import SilentProgress
        >>> in_turns({"a": lambda turn: turn + 0.5, "b": lambda turn: 2.0}, 2, "x", SilentProgress())
        {'a': [0.5, 1.5], 'b': [2.0, 2.0]}
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    task = progress.task(title, repeats * len(contestants), "turns")
    try:
        for turn in range(repeats):
            for name, measure in contestants.items():
                seconds[name].append(measure(turn))
                task.advance(1)
    finally:
        task.close()
    return seconds


def grow(title: str, axis: str, unit: str, measures: Mapping[int, Callable[[], float]], repeats: int,
         progress: Progress) -> GrowthLine:
    """Measure several sizes in alternation and fit the exponent; each function is called once before, as a warm-up.

    Args:
        measures: by size, functions that return seconds.
    """
    for measure in measures.values():
        measure()
    turns = {str(value): (lambda _, measure=measure: measure()) for value, measure in measures.items()}
    seconds = in_turns(turns, repeats, f"growth of {title} with {axis}", progress)
    return growth_line(title, axis, unit, list(measures), [seconds[str(value)] for value in measures])


def doublings(largest: int, count: int = 4, least: int = 1) -> list[int]:
    """Return ascending sizes that double up to `largest`, none below `least`.

    >>> doublings(1000), doublings(3)
    ([125, 250, 500, 1000], [1, 3])
    """
    sizes = {largest // 2 ** power for power in range(count)}
    return sorted(size for size in sizes if size >= min(least, largest))


def canvases(canvas: Sequence[int], image: Sequence[int]) -> list[tuple[int, int]]:
    """Return canvases of half, one, two and four times the area, none smaller than the image.

    >>> canvases((56, 56), (28, 28))
    [(40, 40), (56, 56), (79, 79), (112, 112)]
    """
    (H, W), (h, w) = canvas, image
    sizes = [(max(round(H * scale), h), max(round(W * scale), w)) for scale in (0.5 ** 0.5, 1.0, 2 ** 0.5, 2.0)]
    return sorted(set(sizes))
