"""Cross-correlation of a batch with one kernel, at given outputs, of an input that is zero outside its support.

    y[b, o, i, j] = sum over c, p, q of kernel[o, c, p, q] * x[b, c, i + dy*p - ly, j + dx*q - lx]

The first fully connected layer of a classifier, applied to every window of a field, is such a correlation. Its kernel
is as large as the layer's input, dilated by the strides before it (Giusti et al. 2013, arXiv 1302.1700). It takes
nearly all the time of an audit. The direct sum takes n*n*k*k*C*O multiplications; this module takes fewer, exactly.

**Phases.** One axis, dilation d: write the coordinate as t = d*tau + f. An output i = d*iota + f reads only coordinates
of the same phase f, at tau = iota + p. So each of the d phases is a correlation without dilation, with m = ceil(n/d)
outputs, and all of them share the kernel: they are rows of one batch. This is Giusti's fragmentation.

**Circular length.** Outputs 0 <= iota < m of one phase read tau in [0, L), L = m + k - 1; stored values are in
[alpha, beta). A circular correlation with N points adds to the value at tau those at tau + N, tau - N and so on.
Overlap-save takes N = L. But the added values may be zeros: the result is exact if no tau in [0, L) and no other stored
value are congruent modulo N, that is, tau - N < alpha for tau < L and t - N < 0 for t < beta:

    N = max(L - alpha, beta).

The course's convnet has m = 8, k = 11 and values in [3, 14): 15 points instead of 18; its perceptron 56 instead of 84.

**Frequencies.** With X[v] = sum_t x[t] w^(-vt), K[v] = sum_p k[p] w^(vp), w = exp(2 pi i / N), the circular
correlation is y[iota] = (1/N) sum_v w^(v*iota) X[v] K[v], computed only at the m outputs. X and K are spectra of real
signals, so half the frequencies along one axis suffice. A complex product takes three real ones. Sums over channels are
one matrix product per frequency, with all phases and images as its rows.

Strategies: "direct" is torch's convolution; "matmul" a Toeplitz matrix from all values to all outputs; "half spectral"
has frequencies along one axis and a Toeplitz matrix along the other; "spectral" has frequencies along both.
"""

from dataclasses import dataclass

import torch

from shiftscope.dense.spectral import Axis, Direct, HalfSpectral, Spectral, Strategy, Toeplitz
from shiftscope.errors import UsageError, unknown

Pair = tuple[int, int]

KINDS: dict[str, type[Strategy]] = {"direct": Direct, "matmul": Toeplitz, "half spectral": HalfSpectral,
                                    "spectral": Spectral}

TABLE_BYTES = 300 * 2 ** 20
"""Most memory for the tables of a strategy, unless the strategy is given by name."""

WORK_BYTES, WORK_BYTES_ELSEWHERE = {"cpu": 64 * 2 ** 20}, 512 * 2 ** 20
"""Approximate memory for intermediate results by type of device; at least that of one image."""


@dataclass(frozen=True)
class Overlap:
    """The part of one axis that contributes: taps of the kernel that meet a value, and values that an output reads."""

    taps: slice
    values: slice
    axis: Axis

    @classmethod
    def of(cls, k: int, d: int, n: int, lead: int, s: int) -> "Overlap | None":
        """Return it for k taps, dilation d, n outputs and s values from coordinate `lead`; None if there is none."""
        first, last = max(0, -((n - 1 - lead) // d)), min(k, -(-(lead + s) // d))
        if first >= last:
            return None
        lead -= d * first
        begin, end = max(0, lead), min(lead + s, n + d * (last - first - 1))
        return cls(slice(first, last), slice(begin - lead, end - lead), Axis(last - first, d, n, begin, end - begin))


@dataclass(frozen=True)
class Candidate:
    """A strategy for one correlation; `transposed` exchanges rows and columns."""

    name: str
    axes: tuple[Axis, Axis]
    channels: int
    filters: int
    transposed: bool = False

    @property
    def kind(self) -> type[Strategy]:
        return KINDS[self.name]

    @property
    def size(self) -> tuple[int, int, int]:
        return self.kind.size(*self.axes, self.channels, self.filters)

    @property
    def cost(self) -> float:
        """Operations per image, weighted by the speed of the strategy."""
        outputs = self.axes[0].n * self.axes[1].n
        return self.size[0] / self.kind.efficiency * (outputs + self.kind.few) / outputs

    def prepare(self, kernel: torch.Tensor, groups: int) -> Strategy:
        if groups > 1:
            return Direct(kernel, *self.axes, groups)
        return self.kind(kernel.transpose(2, 3) if self.transposed else kernel, *self.axes)

    def images_per_pass(self, kernel: torch.Tensor) -> int:
        """Return the number of images per pass: enough to use each table many times, within the memory limit."""
        device, phases = kernel.device.type, self.axes[0].phases * self.axes[1].phases
        limit = WORK_BYTES.get(device, WORK_BYTES_ELSEWHERE) // (self.size[2] * kernel.element_size())
        return max(1, min(limit, -(-self.kind.rows // phases)) if device == "cpu" else limit)


def candidates(axes: tuple[Axis, Axis], channels: int, filters: int, groups: int) -> list[Candidate]:
    """Return the strategies that can compute a correlation with `channels` per group."""
    if groups > 1:
        return [Candidate("direct", axes, channels, filters)]
    return [*(Candidate(name, axes, channels, filters) for name in KINDS),
            Candidate("half spectral", (axes[1], axes[0]), channels, filters, transposed=True)]


class Correlation:
    """Cross-correlation with one kernel, prepared once and called for many batches.

    It has no gradients. A call computes a few images at a time: in addition to its result it needs about 64 MiB on a
    CPU. With frequencies, a non-finite value affects all outputs of its image.

    Args:
        kernel: (O, C/groups, kh, kw), floating point; its device and dtype are used throughout.
        dilation: (dy, dx), distance of neighboring taps of the kernel.
        groups: groups of channels, as in `torch.nn.functional.conv2d`.
        support: (sh, sw), size of the inputs; they are zero outside.
        lead: (ly, lx), coordinate of the inputs' first row and column; output (0, 0) reads coordinates from (0, 0).
        out: (ny, nx), number of outputs.
        strategy: "direct", "matmul", "half spectral" or "spectral" (default: the one with the lowest estimated cost).

    Attributes:
        strategy: the strategy in use; "none" if no output reads an input.
        flops: estimated floating-point operations per image.

    Raises:
        UsageError: if the strategy is unknown or does not support groups.

    Example:
        >>> ramp = torch.arange(4.0).view(1, 1, 1, 4)
        >>> add_neighbor = Correlation(torch.ones(1, 1, 1, 2), support=(1, 4), lead=(0, 1), out=(1, 5))
        >>> add_neighbor(ramp).flatten().tolist()  # the ramp is at coordinates 1 to 4
        [0.0, 1.0, 3.0, 5.0, 3.0]
    """

    def __init__(self, kernel: torch.Tensor, *, dilation: Pair = (1, 1), groups: int = 1, support: Pair, lead: Pair,
                 out: Pair, strategy: str | None = None):
        if strategy is not None and strategy not in KINDS:
            raise unknown("strategy", strategy, KINDS)
        if groups > 1 and strategy not in (None, "direct"):
            raise UsageError(f"strategy {strategy!r} does not support groups, got {groups}; use 'direct' or omit it")
        self.expected, self.out, self.filters = (kernel.shape[1] * groups, *support), out, len(kernel)
        self.dtype, self.strategy, self.flops, self.run = kernel.dtype, "none", 0, None
        rows, columns = (Overlap.of(*size) for size in zip(kernel.shape[2:], dilation, out, lead, support, strict=True))
        if rows is None or columns is None:
            return
        self.values = rows.values, columns.values
        kernel = kernel.detach()[:, :, rows.taps, columns.taps]
        best = _cheapest(candidates((rows.axis, columns.axis), kernel.shape[1], len(kernel), groups), kernel, strategy)
        self.strategy, self.flops, self.transposed = best.name, best.size[0], best.transposed
        self.batch, self.run = best.images_per_pass(kernel), best.prepare(kernel, groups)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return y (B, O, ny, nx), channels-last, for x (B, C, sh, sw) of the kernel's device and dtype.

        Raises:
            UsageError: if x has another shape or dtype.
        """
        if tuple(x.shape[1:]) != self.expected or x.dtype != self.dtype:
            raise UsageError(f"x must be {self.dtype} of shape (B, {', '.join(map(str, self.expected))}), got "
                             f"{x.dtype} of shape {tuple(x.shape)}; convert it")
        y = x.new_empty(len(x), *self.out, self.filters)
        if self.run is None or len(x) == 0:
            return y.zero_().permute(0, 3, 1, 2)
        rows, columns = self.values
        for images, outputs in zip(x[:, :, rows, columns].split(self.batch), y.split(self.batch), strict=True):
            if self.transposed:
                images, outputs = images.transpose(2, 3), outputs.transpose(1, 2)
            self.run(images, outputs)
        return y.permute(0, 3, 1, 2)


def _cheapest(options: list[Candidate], kernel: torch.Tensor, strategy: str | None) -> Candidate:
    def allowed(option: Candidate) -> bool:
        if strategy is not None:
            return option.name == strategy
        small = option.size[1] * kernel.element_size() <= TABLE_BYTES
        precise = kernel.element_size() >= 4 or option.name == "matmul"  # transforms lose digits in half precision
        return option.name == "direct" or (small and precise)

    return min(filter(allowed, options), key=lambda option: option.cost)
