"""A histogram of numbers that come piece by piece, when nobody knows yet how far they reach."""

import numpy as np

_NARROW = 1e-6  # range of the first bins where the first numbers are all the same, relative to their size
_ROOM = 1 + 1e-6  # a bin holds its lower edge and not its upper one: the largest number needs room below the last edge


class RunningHistogram:
    """One histogram a column, exact: where a number lies outside, the range doubles and pairs of bins merge.

    Args:
        bins: even number of bins; at the end about half of them or more hold the numbers, some at one end may be empty.

    Example:
        >>> histogram = RunningHistogram(4)
        >>> histogram.add(np.array([[0.0], [4.0]]))
        >>> histogram.add(np.array([[7.0], [0.5]]))
        >>> histogram.counts.tolist(), histogram.edges.round(3).tolist(), histogram.mean.tolist()
        ([[2, 1, 0, 1]], [[0.0, 2.0, 4.0, 6.0, 8.0]], [2.875])
    """

    def __init__(self, bins: int):
        self.bins = bins
        self.counts = np.zeros((0, bins), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count numbers (n, columns), all of them finite."""
        values = values.astype(np.float64)
        low, high = values.min(0), values.max(0)
        if not len(self.counts):
            self._begin(low, high)
        while (outside := high >= self.low + self.width * self.bins).any():
            self._double(outside, upward=True)
        while (outside := low < self.low).any():
            self._double(outside, upward=False)
        places = np.floor((values - self.low) / self.width).astype(np.int64).clip(0, self.bins - 1)
        flat = places + self.bins * np.arange(len(self.low))
        self.counts += np.bincount(flat.ravel(), minlength=self.counts.size).reshape(self.counts.shape)
        self.maximum = np.maximum(self.maximum, high)
        self.total += values.sum(0)

    def _begin(self, low: np.ndarray, high: np.ndarray) -> None:
        self.counts = np.zeros((len(low), self.bins), np.int64)
        self.low, self.maximum, self.total = low, high, np.zeros_like(low)
        least = _NARROW * np.maximum(np.maximum(np.abs(low), np.abs(high)), _NARROW)
        self.width = np.maximum((high - low) * _ROOM, least) / self.bins

    def _double(self, which: np.ndarray, *, upward: bool) -> None:
        pairs = self.counts[which].reshape(which.sum(), self.bins // 2, 2).sum(2)
        empty = np.zeros_like(pairs)
        self.counts[which] = np.concatenate((pairs, empty) if upward else (empty, pairs), axis=1)
        if not upward:
            self.low = np.where(which, self.low - self.width * self.bins, self.low)
        self.width = np.where(which, 2 * self.width, self.width)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, float64 (columns, bins + 1)."""
        return self.low[:, None] + self.width[:, None] * np.arange(self.bins + 1)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each column, float64 (columns,)."""
        return self.total / self.counts.sum(1)
