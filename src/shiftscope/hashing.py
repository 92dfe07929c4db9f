"""Counter-based random numbers, independent of device, batch size and number of processes.

splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) on int64 tensors,
whose arithmetic wraps around as the algorithm requires.
"""

from enum import IntEnum

import torch


class Stream(IntEnum):
    """Uses of random numbers; the member is the first counter of a stream.

    Numbers up to 9 are fixed: the published results on Fashion-MNIST depend on them.
    """

    PLACEMENT = 1
    TEXTURE = 2
    VALIDATION = 3
    ORDER = 4
    DROPOUT = 5
    NOTEBOOK_STEP = 6
    MIRROR = 7
    ERASE = 8
    RANK = 9
    SELF_CHECK = 10
    SAMPLED_PLACEMENTS = 11
    STREAMED_SHUFFLE = 12
    STREAMED_SEED = 13
    FOLDER_SPLIT = 14
    GARMENTS = 15
    EPOCH_AUDIT = 16
    SAMPLED_FIGURES = 17

    @property
    def counter(self) -> int:
        """The value that is hashed.

        It is the number itself, except for two streams that keep the value of release 0.1, so that test sets of folders
        and synthetic garments do not change. Their other counters differ in number from those of `ORDER` and `DROPOUT`.
        """
        return {Stream.FOLDER_SPLIT: 5, Stream.GARMENTS: 4}.get(self, int(self))


def _signed(value: int) -> int:
    """Reinterpret an unsigned 64-bit value as int64."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift; torch's shift is arithmetic."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: torch.Tensor) -> torch.Tensor:
    """Return splitmix64's output for each int64 state in `x`.

    >>> mix(torch.tensor([0])).item() == _signed(0xE220A8397B1DCDAF)
    True
    """
    x = x + _GAMMA
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def stream(*counters: int) -> int:
    """Hash integers (a member of `Stream`, then seed, epoch, ...) into one int64, the start of a random stream."""
    state = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        state = mix(state ^ _signed(counter.counter if isinstance(counter, Stream) else counter))
    return int(state)


def draw(start: int, counters: torch.Tensor, below: int) -> torch.Tensor:
    """Return an integer in [0, below) for each counter, int64, on the device of `counters`.

    Args:
        start: result of `stream`.
        counters: int64, any shape.
        below: exclusive upper bound, 1 to 2**31 (the modulo's bias is then below 2**-32).
    """
    bits = mix(counters.to(torch.int64) ^ start)
    return _shift_right(bits, 1) % below


def permutation(start: int, length: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return a random order of 0 .. length-1, int64, the same on every device."""
    keys = mix(torch.arange(length, device=device) ^ start)
    return torch.argsort(keys, stable=True)
