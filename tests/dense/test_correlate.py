import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shiftscope.dense import correlate, spectral
from shiftscope.dense.correlate import KINDS, Correlation, Overlap, candidates
from shiftscope.errors import UsageError

FC1 = {"dilation": (4, 4), "support": (43, 43), "lead": (13, 13), "out": (29, 29)}
"""The course's convnet, first fully connected layer, at all placements: kernel (100, 30, 11, 11)."""

PERCEPTRON = {"support": (28, 28), "lead": (28, 28), "out": (29, 29)}
"""The course's perceptron, first layer: kernel (100, 1, 56, 56)."""


def naive(kernel, x, *, dilation, lead, out, groups=1):
    """The definition, term by term in the place; sums over channels by a matrix product."""
    filters, channels, kh, kw = kernel.shape
    each = filters // groups
    y = torch.zeros(len(x), filters, *out, dtype=torch.float64)
    for i, j, p, q, g in itertools.product(*map(range, (*out, kh, kw, groups))):
        row, column = i + dilation[0] * p - lead[0], j + dilation[1] * q - lead[1]
        if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:
            values = x[:, g * channels:(g + 1) * channels, row, column]
            y[:, g * each:(g + 1) * each, i, j] += values @ kernel[g * each:(g + 1) * each, :, p, q].T
    return y


def pairs(low, high):
    return st.tuples(st.integers(low, high), st.integers(low, high))


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_equal(found, expected, tolerance=1e-12):
    assert found.shape == expected.shape
    if expected.numel():
        assert (found - expected).abs().max() <= tolerance * max(1.0, expected.abs().max().item())


@settings(max_examples=150, deadline=None)
@given(batch=st.integers(0, 3), filters=st.integers(1, 3), channels=st.integers(1, 3), kernel=pairs(1, 6),
       dilation=pairs(1, 4), support=pairs(1, 9), lead=pairs(-6, 14), out=pairs(1, 8))
def test_every_strategy_equals_the_definition(batch, filters, channels, kernel, dilation, support, lead, out):
    weight, x = normal(filters, channels, *kernel), normal(batch, channels, *support, seed=1)
    expected = naive(weight, x, dilation=dilation, lead=lead, out=out)
    for strategy in (None, *KINDS):
        layer = Correlation(weight, dilation=dilation, support=support, lead=lead, out=out, strategy=strategy)
        assert_equal(layer(x), expected)


@settings(max_examples=40, deadline=None)
@given(groups=st.integers(2, 3), channels=st.integers(1, 2), dilation=pairs(1, 3), lead=pairs(-3, 6), out=pairs(1, 5))
def test_groups_equal_the_definition(groups, channels, dilation, lead, out):
    weight, x = normal(2 * groups, channels, 3, 2), normal(2, groups * channels, 5, 7, seed=1)
    layer = Correlation(weight, dilation=dilation, groups=groups, support=(5, 7), lead=lead, out=out)
    assert_equal(layer(x), naive(weight, x, dilation=dilation, lead=lead, out=out, groups=groups))
    assert layer.strategy in ("direct", "none")


@pytest.mark.parametrize("strategy", KINDS)
@pytest.mark.parametrize("kernel, support, lead, out, dilation", [
    ((3, 5), (4, 9), (-1, 3), (6, 4), (1, 3)),  # lead negative on one axis, dilated on the other
    ((2, 2), (30, 20), (-9, 2), (3, 5), (1, 1)),  # most of the support is never read
    ((1, 1), (3, 4), (2, 1), (9, 7), (1, 1)),  # one tap; most outputs see nothing
    ((2, 3), (2, 2), (1, 0), (2, 1), (5, 4)),  # fewer outputs than phases
    ((7, 4), (1, 1), (6, 3), (1, 1), (1, 1)),  # one value, one output
])
def test_corner_shapes(strategy, kernel, support, lead, out, dilation):
    weight, x = normal(2, 3, *kernel), normal(2, 3, *support, seed=1)
    layer = Correlation(weight, dilation=dilation, support=support, lead=lead, out=out, strategy=strategy)
    expected = naive(weight, x, dilation=dilation, lead=lead, out=out)
    assert expected.abs().max() > 0
    assert_equal(layer(x), expected)
    assert layer.strategy == strategy


@pytest.mark.parametrize("lead", [(20, 0), (0, 20), (-9, 0), (0, -9)])
def test_outputs_without_inputs_are_zero(lead):
    layer = Correlation(normal(2, 1, 3, 3), support=(4, 4), lead=lead, out=(5, 5))
    found = layer(normal(3, 1, 4, 4))
    assert (layer.strategy, layer.flops) == ("none", 0)
    assert torch.equal(found, torch.zeros(3, 2, 5, 5, dtype=torch.float64))


@pytest.mark.parametrize("strategy", KINDS)
def test_large_batches_are_computed_in_passes(strategy, monkeypatch):
    monkeypatch.setitem(correlate.WORK_BYTES, "cpu", 20_000)
    monkeypatch.setattr(spectral.HalfSpectral, "tile", 2000)
    weight, x = normal(3, 2, 4, 5), normal(11, 2, 7, 6, seed=1)
    layer = Correlation(weight, dilation=(2, 1), support=(7, 6), lead=(3, 2), out=(8, 9), strategy=strategy)
    assert 1 <= layer.batch < len(x)
    assert_equal(layer(x), naive(weight, x, dilation=(2, 1), lead=(3, 2), out=(8, 9)))


def test_layout_dtype_and_gradients_of_the_input_do_not_matter():
    weight, x = normal(4, 3, 5, 5).requires_grad_(), normal(2, 3, 6, 8, seed=1).requires_grad_()
    layer = Correlation(weight, support=(6, 8), lead=(4, 4), out=(9, 10), strategy="spectral")
    found = layer(x)
    assert not found.requires_grad and found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(layer(x.detach().contiguous(memory_format=torch.channels_last)), found)
    assert layer(x[:0]).shape == (0, 4, 9, 10)
    assert not layer.run.table.requires_grad  # pyright: ignore
    assert_equal(layer(x[:1]), found[:1])


@pytest.mark.parametrize("kernel, shape, strategy", [((100, 30, 11, 11), FC1, "spectral"),
                                                     ((100, 1, 56, 56), PERCEPTRON, "half spectral")])
def test_the_layers_of_the_course(kernel, shape, strategy):
    weight, x = normal(*kernel), normal(1, kernel[1], *shape["support"], seed=1).abs()
    exact = Correlation(weight, strategy="direct", **shape)
    truth = exact(x)
    assert_equal(Correlation(weight, strategy=strategy, **shape)(x), truth)
    single = Correlation(weight.float(), **shape)
    assert single.strategy == strategy and single.flops < exact.flops / 8
    assert_equal(single(x.float()).double(), truth, tolerance=2e-6)  # a few roundings of 6e-8, sums of 3,600 terms


@pytest.mark.parametrize("k, d, n, lead, s, expected", [
    (11, 4, 29, 13, 43, 15), (56, 1, 29, 28, 28, 56), (3, 1, 8, 0, 10, 10), (3, 2, 1, 0, 5, 3)])
def test_circular_length_worked_out_by_hand(k, d, n, lead, s, expected):
    seen = Overlap.of(k, d, n, lead, s)
    assert seen is not None
    assert seen.axis.points == expected


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 7), st.integers(-8, 16), st.integers(1, 9))
def test_removed_taps_have_no_inputs_and_the_circular_length_is_minimal(k, d, n, lead, s):
    met = [(p, i + d * p - lead) for p in range(k) for i in range(n) if 0 <= i + d * p - lead < s]
    seen = Overlap.of(k, d, n, lead, s)
    if seen is None:
        assert not met
        return
    taps, values = {p for p, _ in met}, {t for _, t in met}
    assert (seen.taps.start, seen.taps.stop - 1) == (min(taps), max(taps))
    assert (seen.values.start, seen.values.stop - 1) == (min(values), max(values))
    axis = seen.axis
    read, held = range(axis.outputs + axis.k - 1), range(axis.begin, axis.begin + axis.size)
    wrapped = {abs(a - b) for a in read for b in held if a != b}
    assert not any(gap % axis.points == 0 for gap in wrapped)
    assert axis.points == 1 or axis.points - 1 in wrapped or axis.points == max(wrapped) + 1


def test_the_cost_estimate_selects_the_strategy():
    def chosen(kernel, out, lead, support):
        return Correlation(normal(*kernel), support=support, lead=lead, out=out).strategy

    assert chosen((8, 4, 3, 3), (30, 30), (0, 0), (32, 32)) == "direct"
    assert chosen((8, 4, 9, 9), (1, 1), (0, 0), (9, 9)) == "matmul"
    assert chosen((20, 1, 28, 28), (15, 15), (14, 14), (14, 14)) == "half spectral"


def test_tables_are_limited_unless_the_strategy_is_named(monkeypatch):
    weight = normal(8, 4, 9, 9)
    shape = {"support": (9, 9), "lead": (0, 0), "out": (1, 1)}
    monkeypatch.setattr(correlate, "TABLE_BYTES", 1000)
    assert Correlation(weight, **shape).strategy == "direct"
    assert Correlation(weight, strategy="matmul", **shape).strategy == "matmul"


def test_transforms_are_not_chosen_in_half_precision():
    weight = normal(20, 1, 28, 28, dtype=torch.bfloat16)
    layer = Correlation(weight, support=(14, 14), lead=(14, 14), out=(15, 15))
    assert layer.strategy == "matmul"


@pytest.mark.parametrize("strategy", KINDS)
def test_tables_have_the_estimated_size(strategy):
    layer = Correlation(normal(3, 2, 4, 5), dilation=(2, 1), support=(7, 6), lead=(3, 2), out=(8, 9), strategy=strategy)
    tables = {"direct": "kernel", "matmul": "table", "half spectral": "tables", "spectral": "table"}[strategy]
    held = getattr(layer.run, tables)
    sizes = [way.size[1] for way in candidates(_axes(), 2, 3, 1) if way.name == strategy]
    assert (sum(part.numel() for part in held) if isinstance(held, list) else held.numel()) in sizes


def _axes():
    rows, columns = Overlap.of(4, 2, 8, 3, 7), Overlap.of(5, 1, 9, 2, 6)
    assert rows is not None and columns is not None
    return rows.axis, columns.axis


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 1, 4, 5), (2, 2, 4, 5), (3, 4, 5)])
def test_x_of_another_shape(shape):
    layer = Correlation(normal(2, 3, 2, 2), support=(4, 5), lead=(0, 0), out=(2, 2))
    with pytest.raises(UsageError, match=r"x must be torch.float64 of shape \(B, 3, 4, 5\), got torch.float64"):
        layer(normal(*shape))


def test_x_of_another_dtype():
    layer = Correlation(normal(2, 3, 2, 2), support=(4, 5), lead=(0, 0), out=(2, 2))
    with pytest.raises(UsageError, match=r"x must be torch.float64 .* got torch.float32"):
        layer(normal(2, 3, 4, 5, dtype=torch.float32))


@pytest.mark.parametrize(("options", "message"), [
    ({"strategy": "spectal"}, "unknown strategy 'spectal': did you mean 'spectral'"),
    ({"groups": 2, "strategy": "matmul"}, "strategy 'matmul' does not support groups, got 2"),
])
def test_invalid_strategies(options, message):
    with pytest.raises(UsageError, match=message):
        Correlation(normal(2, 3, 2, 2), support=(4, 5), lead=(0, 0), out=(2, 2), **options)
