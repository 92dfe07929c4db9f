"""Strategies for a correlation, each prepared for one kernel: torch's convolution, and matrix products.

FFT libraries are slow for thousands of tiny transforms, so the transforms are products with small real matrices. These
are the left factors, so each step writes its result in the order in which the next one reads it. For the symbols, and
the reason why the result is exact, see `shiftscope.dense.correlate`.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F

SPLIT = torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=torch.float64)
"""(Re, Im) to (Re, Im, Re + Im): a complex product takes three real ones, after Gauss."""

MERGE = torch.tensor([[1.0, -1, 0], [-1, -1, 1]], dtype=torch.float64)
"""The three real products to (Re, Im) of the complex one."""


@dataclass(frozen=True)
class Axis:
    """One axis of a correlation: k taps of a kernel, dilation d, n outputs, s stored values from coordinate a >= 0.

    The outputs read all values: a + s <= field.
    """

    k: int
    d: int
    n: int
    a: int
    s: int

    @property
    def field(self) -> int:
        """The outputs read the coordinates 0 <= t < field."""
        return self.n + self.d * (self.k - 1)

    @property
    def phases(self) -> int:
        """Number of residues modulo d of the outputs."""
        return min(self.d, self.n)

    @property
    def outputs(self) -> int:
        """m: outputs of one phase."""
        return -(-self.n // self.d)

    @property
    def begin(self) -> int:
        """First coordinate of a phase with a stored value."""
        return self.a // self.d

    @property
    def size(self) -> int:
        """Number of stored values of one phase."""
        return -(-(self.a + self.s) // self.d) - self.begin

    @property
    def points(self) -> int:
        """N: the smallest circular length at which no output reads a wrapped value."""
        return max(self.outputs + self.k - 1 - self.begin, self.begin + self.size)

    @property
    def frequencies(self) -> int:
        """V: number of frequencies of a real signal of N points."""
        return self.points // 2 + 1

    @property
    def pad(self) -> tuple[int, int]:
        """Zeros before and after the stored values that give all phases the same length."""
        before = self.a - self.begin * self.d
        return before, self.size * self.d - before - self.s


def fold(x: torch.Tensor, y_axis: Axis, x_axis: Axis) -> torch.Tensor:
    """Return the phases of x (B, C, sh, sw) as (B, C, sy, phases, sx, phases)."""
    x = F.pad(x, (*x_axis.pad, *y_axis.pad))
    parts = x.unflatten(3, (x_axis.size, x_axis.d)).unflatten(2, (y_axis.size, y_axis.d))
    return parts[:, :, :, :y_axis.phases, :, :x_axis.phases]


def unfold(parts: torch.Tensor, y: torch.Tensor) -> None:
    """Write the phases' outputs (B, my, phases, mx, phases, O) into y (B, ny, nx, O)."""
    batch, my, py, mx, px, channels = parts.shape
    y.copy_(parts.reshape(batch, my * py, mx * px, channels)[:, :y.shape[1], :y.shape[2]])


def waves(frequencies: int, positions: torch.Tensor, points: int) -> torch.Tensor:
    """Return exp(2 pi i v t / N) for v < frequencies and the positions t, complex128 (frequencies, positions)."""
    turns = torch.outer(torch.arange(frequencies), positions) % points
    angles = turns.double() * (2 * math.pi / points)
    return torch.polar(torch.ones_like(angles), angles)


def pairs(z: torch.Tensor) -> torch.Tensor:
    """Return (Re, Im) of the complex numbers z (...) as (..., 2)."""
    return torch.stack((z.real, z.imag), -1)


def planes(z: torch.Tensor) -> torch.Tensor:
    """Return the matrices (..., 2, 2) that multiply (Re, Im) by the complex numbers z (...)."""
    return torch.stack((torch.stack((z.real, -z.imag), -1), torch.stack((z.imag, z.real), -1)), -2)


def forward_waves(axis: Axis, frequencies: int) -> torch.Tensor:
    """Return the transform of one phase's values, complex128 (frequencies, size)."""
    return waves(frequencies, torch.arange(axis.size) + axis.begin, axis.points).conj()


def inverse_waves(axis: Axis, frequencies: int) -> torch.Tensor:
    """Return the inverse transform at the outputs, complex128 (outputs, frequencies).

    In half a spectrum, frequencies that also represent their conjugate count twice.
    """
    v = torch.arange(frequencies)
    single = (2 * v % axis.points == 0) | (frequencies == axis.points)
    weight = torch.where(single, 1.0, 2.0).double() / axis.points
    return waves(frequencies, torch.arange(axis.outputs), axis.points).T * weight


def toeplitz(taps: torch.Tensor, axis: Axis) -> torch.Tensor:
    """Return (..., size, outputs): the tap, from taps (..., k), between each value and each output."""
    tap = torch.arange(axis.size)[:, None] + axis.begin - torch.arange(axis.outputs)
    outside = (tap < 0) | (tap >= axis.k)
    return F.pad(taps, (0, 1))[..., tap.masked_fill(outside, axis.k).to(taps.device)]


class Strategy(Protocol):
    """A prepared correlation, called with x (B, C, sh, sw) and y (B, ny, nx, O), into which it writes the result.

    `rows` is the number of rows (phases times images) per pass that is fast on a CPU; `efficiency` the speed of the
    operations relative to a large matrix product, measured on a CPU for the shapes of classifiers; `few` the number of
    outputs at which that speed is halved. `size` returns (operations per image, values of the tables, values of
    intermediate results per image).
    """

    rows: int
    efficiency: float
    few: int

    def __init__(self, kernel: torch.Tensor, y_axis: Axis, x_axis: Axis) -> None: ...

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None: ...

    @staticmethod
    def size(y_axis: Axis, x_axis: Axis, channels: int, filters: int) -> tuple[int, int, int]: ...


class Direct:
    """torch's own convolution of the field that the outputs read."""

    rows, efficiency = 1024, 0.9
    few = 16  # torch copies the kernel to another layout in each call

    def __init__(self, kernel: torch.Tensor, y_axis: Axis, x_axis: Axis, groups: int = 1):
        self.kernel, self.groups, self.dilation = kernel.contiguous(), groups, (y_axis.d, x_axis.d)
        self.pad = [zeros for axis in (x_axis, y_axis) for zeros in (axis.a, axis.field - axis.a - axis.s)]

    @staticmethod
    def size(y_axis: Axis, x_axis: Axis, channels: int, filters: int) -> tuple[int, int, int]:
        outputs = y_axis.n * x_axis.n * filters
        taps = y_axis.k * x_axis.k * channels
        return 2 * outputs * taps, filters * taps, outputs + y_axis.field * x_axis.field * channels

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        outputs = F.conv2d(F.pad(x, self.pad), self.kernel, dilation=self.dilation, groups=self.groups)
        y.copy_(outputs.permute(0, 2, 3, 1))


class Toeplitz:
    """One matrix from all values of a phase to all its outputs."""

    rows, efficiency, few = 256, 0.8, 0

    def __init__(self, kernel: torch.Tensor, y_axis: Axis, x_axis: Axis):
        self.axes = y_axis, x_axis
        table = toeplitz(toeplitz(kernel, x_axis).movedim(2, -1), y_axis)  # (O, C, sx, mx, sy, my)
        self.table = table.permute(4, 2, 1, 5, 3, 0).flatten(3).flatten(0, 2)  # (sy*sx*C, my*mx*O)

    @staticmethod
    def size(y_axis: Axis, x_axis: Axis, channels: int, filters: int) -> tuple[int, int, int]:
        inputs = y_axis.size * x_axis.size * channels
        outputs = y_axis.outputs * x_axis.outputs * filters
        rows = y_axis.phases * x_axis.phases
        return 2 * rows * inputs * outputs, inputs * outputs, rows * (inputs + outputs)

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        y_axis, x_axis = self.axes
        values = fold(x, y_axis, x_axis).permute(0, 3, 5, 2, 4, 1)  # (B, fy, fx, sy, sx, C)
        outputs = values.flatten(3).flatten(0, 2) @ self.table
        parts = outputs.view(*values.shape[:3], y_axis.outputs, x_axis.outputs, y.shape[3])
        unfold(parts.permute(0, 3, 1, 4, 2, 5), y)


class HalfSpectral:
    """Frequencies along y, and a Toeplitz matrix along x for each of them."""

    rows, efficiency, few = 64, 0.6, 0

    tile = 2 ** 20
    """Most products at a time on a CPU: 4 MiB in single precision, which fit into its cache."""

    def __init__(self, kernel: torch.Tensor, y_axis: Axis, x_axis: Axis):
        self.axes = y_axis, x_axis
        V = y_axis.frequencies
        wide = kernel.cpu().double()
        split = {"v": forward_waves(y_axis, V), "k": waves(V, torch.arange(y_axis.k), y_axis.points)}
        real = {name: torch.einsum("mr,vtr->vmt", SPLIT, pairs(z)).flatten(0, 1)
                for name, z in split.items()}  # (R, s) and (R, k), R = 3V
        back = pairs(inverse_waves(y_axis, V).conj())  # Re(E Z) = Re E Re Z - Im E Im Z
        inverse = torch.einsum("ivr,rm->ivm", back, MERGE).flatten(1)  # (m, R)
        spectra = torch.einsum("rp,ocpq->rocq", real["k"], wide).to(kernel)
        table = toeplitz(spectra, x_axis).permute(0, 3, 2, 4, 1).flatten(1, 2)  # (R, sx*C, mx, O)
        self.forward, self.inverse = real["v"].to(kernel), inverse.to(kernel)
        width = self.tile // (3 * V * self.rows * len(kernel)) if kernel.device.type == "cpu" else x_axis.outputs
        self.tables = [part.flatten(2).contiguous() for part in table.split(max(1, width), dim=2)]

    @staticmethod
    def size(y_axis: Axis, x_axis: Axis, channels: int, filters: int) -> tuple[int, int, int]:
        R, rows = 3 * y_axis.frequencies, y_axis.phases * x_axis.phases
        inputs, outputs = x_axis.size * channels, x_axis.outputs * filters
        steps = R * y_axis.size * inputs + R * inputs * outputs + y_axis.outputs * R * outputs
        return 2 * rows * steps, R * inputs * outputs, rows * (R * (inputs + outputs))

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        y_axis, x_axis = self.axes
        values = fold(x, y_axis, x_axis).permute(2, 0, 3, 5, 4, 1)  # (sy, B, fy, fx, sx, C)
        rows, first = values.shape[1:4], 0
        spectrum = (self.forward @ values.flatten(1)).view(len(self.forward), rows.numel(), -1)  # (R, rows, sx*C)
        for table in self.tables:
            products = torch.bmm(spectrum, table)  # (R, rows, width*O)
            outputs = (self.inverse @ products.flatten(1)).view(y_axis.outputs, *rows, -1, y.shape[3])
            width = outputs.shape[4]
            last = min((first + width) * x_axis.phases, y.shape[2])
            unfold(outputs.permute(1, 0, 2, 4, 3, 5), y[:, :, first * x_axis.phases:last])
            first += width


class Spectral:
    """Frequencies along both axes: half of them along x, because the signal is real, all of them along y."""

    rows, efficiency, few = 64, 0.45, 0

    def __init__(self, kernel: torch.Tensor, y_axis: Axis, x_axis: Axis):
        self.axes = y_axis, x_axis
        N, V = y_axis.points, x_axis.frequencies
        in_x, in_y = pairs(forward_waves(x_axis, V)), planes(forward_waves(y_axis, N))
        out_x = pairs(inverse_waves(x_axis, V).conj())
        out_y = planes(inverse_waves(y_axis, N))
        matrices = (in_x.movedim(2, 1).flatten(0, 1),  # (2V, sx)
                    torch.einsum("mr,utrq->umqt", SPLIT, in_y).flatten(2).flatten(0, 1),  # (3N, 2sy)
                    torch.einsum("iuqr,rm->qium", out_y, MERGE).flatten(2).flatten(0, 1),  # (2my, 3N)
                    out_x.flatten(1))  # (mx, 2V)
        self.in_x, self.in_y, self.out_y, self.out_x = (matrix.to(kernel) for matrix in matrices)
        of_y, of_x = (waves(count, torch.arange(axis.k), axis.points) for axis, count in ((y_axis, N), (x_axis, V)))
        spectra = torch.einsum("up,vq,ocpq->vuco", of_y, of_x, kernel.cpu().to(torch.complex128))
        self.table = torch.einsum("mr,vucor->vumco", SPLIT, pairs(spectra)).flatten(1, 2).to(kernel)

    @staticmethod
    def size(y_axis: Axis, x_axis: Axis, channels: int, filters: int) -> tuple[int, int, int]:
        N, V, rows = y_axis.points, x_axis.frequencies, y_axis.phases * x_axis.phases
        steps = (channels * (2 * V * x_axis.size * y_axis.size + V * 3 * N * 2 * y_axis.size)
                 + V * 3 * N * channels * filters
                 + filters * (V * 2 * y_axis.outputs * 3 * N + x_axis.outputs * 2 * V * y_axis.outputs))
        work = V * 3 * N * channels + (3 * N + 2 * V * y_axis.outputs) * filters
        return 2 * rows * steps, V * 3 * N * channels * filters, rows * work

    def __call__(self, x: torch.Tensor, y: torch.Tensor) -> None:
        y_axis, x_axis = self.axes
        values = fold(x, y_axis, x_axis).permute(4, 2, 0, 3, 5, 1)  # (sx, sy, B, fy, fx, C)
        V, channels, filters, phases = x_axis.frequencies, values.shape[5], y.shape[3], values.shape[2:5]
        rows = phases.numel()
        half = (self.in_x @ values.flatten(1)).view(V, 2 * y_axis.size, rows * channels)
        spectrum = (self.in_y @ half).view(V, -1, rows, channels)  # (V, 3N, rows, C)
        products = y.new_empty(spectrum.shape[1], rows, filters)
        partial = y.new_empty(V, len(self.out_y), rows * filters)  # (V, 2my, rows*O)
        for v in range(V):
            torch.bmm(spectrum[v], self.table[v], out=products)
            torch.mm(self.out_y, products.flatten(1), out=partial[v])
        outputs = self.out_x @ partial.view(2 * V, -1)  # (mx, my*rows*O)
        parts = outputs.view(x_axis.outputs, y_axis.outputs, *phases, filters)
        unfold(parts.permute(2, 1, 3, 0, 4, 5), y)
