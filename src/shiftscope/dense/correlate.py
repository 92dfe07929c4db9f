"""Cross-correlation of a batch with one kernel, at wanted outputs, of an input that is zero outside its support.

    y[b, o, i, j] = sum over c, p, q of kernel[o, c, p, q] * x[b, c, i + dy*p - ly, j + dx*q - lx]

The first fully connected layer of a classifier, applied to every window of a field, is such a correlation with a
kernel as large as the layer's input, dilated by the strides before it (Giusti et al. 2013, arXiv 1302.1700). Nearly
all the arithmetic of an audit lies in it. Summed as written it costs n*n*k*k*C*O multiplications; this module brings
them down, exactly.

**Phases.** One axis, dilation d: write the coordinate as t = d*tau + f. An output i = d*iota + f reads coordinates of
the same phase f alone, at tau = iota + p. So each of the d phases is a correlation without dilation, of m = ceil(n/d)
outputs, and all of them share the kernel: they become rows of one batch. This is Giusti's fragmentation.

**A short circle.** Outputs 0 <= iota < m of one phase read tau in [0, L), L = m + k - 1; values lie in [alpha, beta).
Correlating on a circle of N points adds to what is read at tau what lies at tau + N, tau - N and so on. Overlap-save
takes N = L. But what wraps may fall on zeros: nothing is wrong as long as no tau in [0, L) and no other value are
congruent modulo N, that is, tau - N < alpha for tau < L and t - N < 0 for t < beta:

    N = max(L - alpha, beta).

The course's convnet has m = 8, k = 11 and values in [3, 14): 15 points instead of 18; its perceptron 56 instead of 84.

**Frequencies.** With X[v] = sum_t x[t] w^(-vt), K[v] = sum_p k[p] w^(vp), w = exp(2 pi i / N), the circular
correlation is y[iota] = (1/N) sum_v w^(v*iota) X[v] K[v], computed at the m wanted outputs alone. X, K are real
signals' spectra, so half the frequencies along one axis say all. The complex product is done in three real ones. Sums
over channels become one matrix product a frequency, with all phases and images as its rows.

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
"""The strategies by name."""

TABLE_BYTES = 300 * 2 ** 20
"""Most memory that the prepared tables of a strategy may take, unless it is asked for by name."""

WORK_BYTES = {"cpu": 64 * 2 ** 20}
"""About the most memory for what a call computes in between, beyond one image's, by type of device."""

WORK_BYTES_ELSEWHERE = 512 * 2 ** 20
"""The same on devices that want more to do at a time."""


@dataclass(frozen=True)
class Seen:
    """The part of one axis that matters: which of the kernel's taps meet a value, and which values an output reads."""

    taps: slice
    values: slice
    axis: Axis

    @classmethod
    def of(cls, k: int, d: int, n: int, lead: int, s: int) -> "Seen | None":
        """Return it for k taps, dilation d, n outputs and s values from coordinate `lead`; None where nothing meets."""
        first, last = max(0, -((n - 1 - lead) // d)), min(k, -(-(lead + s) // d))
        if first >= last:
            return None
        lead -= d * first
        begin, end = max(0, lead), min(lead + s, n + d * (last - first - 1))
        return cls(slice(first, last), slice(begin - lead, end - lead), Axis(last - first, d, n, begin, end - begin))


@dataclass(frozen=True)
class Way:
    """A strategy for one correlation, not yet prepared; `transposed`: with rows and columns changing places."""

    name: str
    axes: tuple[Axis, Axis]
    channels: int
    filters: int
    transposed: bool = False

    @property
    def kind(self) -> type[Strategy]:
        """The strategy's class."""
        return KINDS[self.name]

    @property
    def size(self) -> tuple[int, int, int]:
        """Operations an image, values of the tables, values of work space an image."""
        return self.kind.size(*self.axes, self.channels, self.filters)

    @property
    def cost(self) -> float:
        """Operations an image, weighed by the speed at which this strategy does them."""
        outputs = self.axes[0].n * self.axes[1].n
        return self.size[0] / self.kind.efficiency * (outputs + self.kind.few) / outputs

    def prepare(self, kernel: torch.Tensor, groups: int) -> Strategy:
        """Return the strategy, ready for inputs that are transposed if it is."""
        if groups > 1:
            return Direct(kernel, *self.axes, groups)
        return self.kind(kernel.transpose(2, 3) if self.transposed else kernel, *self.axes)

    def images_at_a_time(self, kernel: torch.Tensor) -> int:
        """Return how many images to compute at a time, so that tables are read for many and memory is bounded."""
        device, phases = kernel.device.type, self.axes[0].phases * self.axes[1].phases
        limit = WORK_BYTES.get(device, WORK_BYTES_ELSEWHERE) // (self.size[2] * kernel.element_size())
        return max(1, min(limit, -(-self.kind.rows // phases)) if device == "cpu" else limit)


def ways(axes: tuple[Axis, Axis], channels: int, filters: int, groups: int) -> list[Way]:
    """Return the strategies that can compute a correlation; channels are those of one group."""
    if groups > 1:
        return [Way("direct", axes, channels, filters)]
    straight = [Way(name, axes, channels, filters) for name in KINDS]
    return [*straight, Way("half spectral", (axes[1], axes[0]), channels, filters, transposed=True)]


class Correlation:
    """Cross-correlation with one kernel, prepared once and called for many batches.

    No gradients pass through it. A call computes a few images at a time: beside its result it needs about 64 MiB on a
    CPU. Frequencies mix the values of an image: one that is not finite spoils outputs that would not read it.

    Args:
        kernel: (O, C/groups, kh, kw), floating point; device and dtype of all that is computed.
        dilation: (dy, dx), distance of neighboring taps of the kernel.
        groups: groups of channels, as in `torch.nn.functional.conv2d`.
        support: (sh, sw), size of the inputs; they are zero outside.
        lead: (ly, lx), coordinate of the inputs' first row and column; output (0, 0) reads coordinates from (0, 0).
        out: (ny, nx), how many outputs are wanted.
        strategy: "direct", "matmul", "half spectral" or "spectral"; the cheapest by a model of costs where left out.

    Attributes:
        strategy: the name of the strategy in use; "none" where no output sees an input.
        flops: floating-point operations an image, by the model.

    Raises:
        UsageError: sizes that are not positive, an unknown strategy, or one that knows no groups.

    Example:
        >>> ramp = torch.arange(4.0).view(1, 1, 1, 4)
        >>> add_neighbor = Correlation(torch.ones(1, 1, 1, 2), support=(1, 4), lead=(0, 1), out=(1, 5))
        >>> add_neighbor(ramp).flatten().tolist()  # the ramp lies at coordinates 1 to 4
        [0.0, 1.0, 3.0, 5.0, 3.0]

    References:
        Giusti et al. 2013, Fast image scanning with deep max-pooling convolutional neural networks, arXiv 1302.1700.
    """

    def __init__(self, kernel: torch.Tensor, *, dilation: Pair = (1, 1), groups: int = 1, support: Pair, lead: Pair,
                 out: Pair, strategy: str | None = None):
        _check(kernel, dilation, groups, support, out, strategy)
        self.expected, self.out, self.filters = (kernel.shape[1] * groups, *support), out, len(kernel)
        self.like = kernel.new_empty(0)
        self.strategy, self.flops, self.run = "none", 0, None
        sizes = zip(kernel.shape[2:], dilation, out, lead, support, strict=True)
        rows, columns = (Seen.of(*size) for size in sizes)
        if rows is None or columns is None:
            return
        self.values = rows.values, columns.values
        kernel = kernel.detach()[:, :, rows.taps, columns.taps]
        way = _choose(ways((rows.axis, columns.axis), kernel.shape[1], len(kernel), groups), kernel, strategy)
        self.strategy, self.flops, self.transposed = way.name, way.size[0], way.transposed
        self.batch, self.run = way.images_at_a_time(kernel), way.prepare(kernel, groups)

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return y (B, O, ny, nx), channels last in memory, for x (B, C, sh, sw) of the kernel's device and dtype.

        Raises:
            UsageError: x of another shape, device or dtype.
        """
        if x.dim() != 4 or tuple(x.shape[1:]) != self.expected:
            raise UsageError(f"x has shape {tuple(x.shape)}, expected (B, {', '.join(map(str, self.expected))}): the "
                             "channels of the kernel and the support that the correlation was prepared for")
        if (x.dtype, x.device) != (self.like.dtype, self.like.device):
            raise UsageError(f"x is {x.dtype} on {x.device}, expected {self.like.dtype} on {self.like.device} as the "
                             "kernel: convert one of them")
        y = x.new_empty(len(x), *self.out, self.filters)
        if self.run is None or len(x) == 0:
            return y.zero_().permute(0, 3, 1, 2)
        rows, columns = self.values
        for images, outputs in zip(x[:, :, rows, columns].split(self.batch), y.split(self.batch), strict=True):
            if self.transposed:
                images, outputs = images.transpose(2, 3), outputs.transpose(1, 2)
            self.run(images, outputs)
        return y.permute(0, 3, 1, 2)


def _check(kernel: torch.Tensor, dilation: Pair, groups: int, support: Pair, out: Pair, strategy: str | None) -> None:
    if kernel.dim() != 4 or not kernel.is_floating_point() or 0 in kernel.shape:
        raise UsageError(f"kernel is {kernel.dtype} of shape {tuple(kernel.shape)}, expected floating point "
                         "(O, C/groups, kh, kw) with no empty axis")
    for name, sizes in (("dilation", dilation), ("support", support), ("out", out)):
        if len(sizes) != 2 or min(sizes) < 1:
            raise UsageError(f"{name} is {tuple(sizes)}, expected two whole numbers of at least 1: rows and columns")
    if groups < 1 or len(kernel) % groups:
        raise UsageError(f"groups is {groups}, expected a divisor of the kernel's {len(kernel)} filters")
    if strategy is not None and strategy not in KINDS:
        raise unknown("strategy", strategy, KINDS)
    if groups > 1 and strategy not in (None, "direct"):
        raise UsageError(f"strategy {strategy!r} knows no groups, and groups is {groups}: use 'direct' or leave it out")


def _choose(found: list[Way], kernel: torch.Tensor, strategy: str | None) -> Way:
    def allowed(way: Way) -> bool:
        if strategy is not None:
            return way.name == strategy
        small = way.size[1] * kernel.element_size() <= TABLE_BYTES
        sharp = kernel.element_size() >= 4 or way.name == "matmul"  # transforms in half precision lose digits
        return way.name == "direct" or (small and sharp)

    return min(filter(allowed, found), key=lambda way: way.cost)
