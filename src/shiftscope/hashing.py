"""Counter-based random numbers: the same for the same counters on any device, batch size or number of processes.

splitmix64 (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) on int64 tensors,
whose arithmetic wraps around as the algorithm wants it.
"""

import torch


def _signed(value: int) -> int:
    """Return the int64 that has the bits of the unsigned 64-bit `value`."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


_GAMMA = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift: torch's own copies the sign bit."""
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
    """Fold whole numbers (seed, epoch, step, ...) into one int64, the start of a random stream."""
    state = torch.zeros((), dtype=torch.int64)
    for counter in counters:
        state = mix(state ^ _signed(counter))
    return int(state)


def draw(start: int, counters: torch.Tensor, below: int) -> torch.Tensor:
    """Return a whole number in [0, below) for each counter, int64, on the device of `counters`.

    Args:
        start: what `stream` returned.
        counters: int64, any shape.
        below: exclusive upper bound, 1 to 2**31 (the modulo's bias is then below 2**-32).
    """
    bits = mix(counters.to(torch.int64) ^ start)
    return _shift_right(bits, 1) % below


def permutation(start: int, length: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return a random order of 0 .. length-1, int64, the same on every device."""
    keys = mix(torch.arange(length, device=device) ^ start)
    return torch.argsort(keys, stable=True)
