"""Distinct rows: equal indices for equal tuples, and plans that read exactly the taps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from shiftscope.dense.axis import BEYOND, PAD, VOID, Axis, cover, distinct, join, plan, read_windows, straight, windows
from shiftscope.dense.field import reader, runs_of


def placed(image, canvas):
    """The table of the canvas: rows of the image, or VOID."""
    rows = np.arange(canvas) - np.arange(canvas - image + 1)[:, None]
    table = np.where((rows >= 0) & (rows < image), rows, VOID)
    return Axis(table, image, image)


def tuples(axis, rows):
    return np.where(rows >= 0, axis.table[:, rows.clip(0)], rows).reshape(-1, rows.shape[1])


@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding"), [
    (3, 1, 1, 1), (3, 2, 1, 1), (4, 3, 1, 2), (2, 2, 1, 0), (3, 1, 2, 2), (5, 1, 1, 4), (1, 2, 1, 0)])
def test_rows_have_one_index_exactly_if_they_read_the_same_rows(kernel, stride, dilation, padding):
    axis = placed(4, 9).stored()
    for _ in range(3):  # layer after layer
        count = (axis.length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        if count < 1:
            break
        rows = windows(axis.length, count, kernel, stride=stride, dilation=dilation, before=padding, after=padding)
        taps = read_windows(axis, rows)
        read = tuples(axis, rows)
        index = taps.axis.table.reshape(-1)
        assert (taps.index[index] == read).all()  # each row reads what its index states
        assert taps.axis.size == len(np.unique(read, axis=0)) == len(np.unique(index))
        touches = ((read < 0) | (read >= axis.inner)).any(1)
        assert ((index >= taps.axis.inner) == touches).all()
        axis = taps.axis


def test_the_number_of_distinct_rows_of_the_documentation():
    axis, found = placed(28, 56).stored(), []
    for kernel, stride, padding in ((3, 1, 1), (3, 1, 1), (2, 2, 0), (3, 1, 1), (3, 1, 1), (2, 2, 0)):
        count = (axis.length + 2 * padding - kernel) // stride + 1
        rows = windows(axis.length, count, kernel, stride=stride, before=padding, after=padding)
        axis = read_windows(axis, rows).axis
        found.append(axis.size)
    assert found == [37, 51, 44, 70, 108, 96]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_rows_of_padding_are_those_of_torch(mode):
    values = torch.arange(7.0).view(1, 1, 1, 7)
    padded = F.pad(values, (3, 2, 0, 0), mode=mode).flatten()
    rows = windows(7, 12, 1, before=3, after=2, mode=mode)[:, 0]
    assert rows.tolist() == padded.long().tolist()


def test_a_window_beyond_the_padding_is_marked():
    assert windows(5, 3, 3, stride=3, before=1, after=1).tolist() == [[PAD, 0, 1], [2, 3, 4], [PAD, BEYOND, BEYOND]]


def test_rows_without_the_image_are_not_stored_until_they_are_needed():
    axis = placed(2, 6)
    taps = read_windows(axis, windows(6, 5, 2))
    assert taps.axis.size == 3 and (taps.axis.table == VOID).any() and not taps.axis.has_border
    stored = axis.stored()
    assert stored.void == 0 and stored.size == 3 and (stored.table >= 0).all() and stored.stored() is stored
    nothing = distinct(np.full((2, 3, 1), VOID), np.array([4]), np.array([VOID]), np.zeros((2, 3), bool)).axis
    assert nothing.size == 1 and (nothing.table == 0).all()  # one row, so that no tensor is empty


def test_joined_rows_are_equal_only_if_they_are_equal_in_both_branches():
    axis = placed(3, 7).stored()
    wide = read_windows(axis, windows(7, 7, 5, before=2, after=2)).axis
    narrow = read_windows(axis, windows(7, 7, 3, before=1, after=1)).axis
    taps = join([narrow, wide])
    both = np.stack([narrow.table.reshape(-1), wide.table.reshape(-1)], 1)
    assert (taps.index[taps.axis.table.reshape(-1)] == both).all()
    assert taps.axis.size == len(np.unique(both, axis=0)) >= max(narrow.size, wide.size)
    whole = Axis(np.arange(5)[:, None], 5, 5)  # one value for each offset, as of a global pool
    assert join([axis, whole]).axis.table.shape == axis.table.shape
    assert join([axis, axis]).axis is axis


def sequences():
    generator = np.random.default_rng(0)
    for _ in range(40):
        axis = placed(int(generator.integers(1, 6)), int(generator.integers(6, 12))).stored()
        stride, kernel, padding = (int(generator.integers(low, 4)) for low in (1, 1, 0))
        count = (axis.length + 2 * padding - kernel) // stride + 1
        taps = read_windows(axis, windows(axis.length, count, kernel, stride=stride, before=padding, after=padding))
        yield taps, stride
        yield read_windows(taps.axis, windows(count, count, 3, before=1, after=1)), 1


def test_a_plan_reads_exactly_the_taps():
    runs = 0
    for taps, stride in sequences():
        for part in taps.parts():
            index = taps.index[part]
            found = plan(index, stride)
            positions = found.stride * found.kept[:, None] + np.arange(index.shape[1]) * found.spread
            assert (found.rows[positions] == index).all() and positions.max() < len(found.rows)
            assert len(found.rows) <= index.size
            runs += found.stride > 1 or not found.keeps_all
            even = cover(index)
            assert (even.rows[np.arange(len(index))[:, None] + np.arange(index.shape[1]) * even.spread] == index).all()
    assert runs > 10


def test_straight_taps_are_found_and_others_refused():
    axis = Axis(np.zeros((1, 1), int), 6, 6, 0)
    assert straight(np.array([[0, 1, 3], [0, 2, 4], [1, 3, 5], [2, 4, 0]]), axis) == (-1, 2)
    assert straight(np.array([[0, 1, 3], [0, 2, 4], [1, 3, 4]]), axis) is None
    assert straight(np.array([[1, 2], [2, 0]]), axis) is None  # row 3 exists, so 0 is not a row beyond the last one


@pytest.mark.parametrize("rows", [[0, 1, 2], [3, 1, -1, 0], [-2, 0, 1, -1, 4, 2, 0, 5, 1], [4, 4, -1]])
@pytest.mark.parametrize("columns", [[1, 2], [-1, 0, 1], [0, -2, 3, 1, 0, 2, -1, 3]])
def test_a_reader_returns_rows_and_columns_by_index(rows, columns):
    data, void = torch.randn(2, 3, 6, 4), torch.tensor([5.0, 6.0, 7.0])
    found = reader(np.array(rows), np.array(columns), void=void, pad=-9.0)(data)
    expected = torch.empty(2, 3, len(rows), len(columns))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            lowest = min(row, column)
            expected[:, :, r, c] = data[:, :, row, column] if lowest >= 0 else void if lowest == VOID else -9.0
            if {row, column} == {VOID, PAD}:  # does not occur: at a border no row is VOID
                expected[:, :, r, c] = found[:, :, r, c]
    assert found.equal(expected)
    assert sum(length for _, _, length in runs_of(np.array(rows))) == sum(row >= 0 for row in rows)
