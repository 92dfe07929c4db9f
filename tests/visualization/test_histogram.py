import numpy as np

from shiftscope.visualization.histogram import RunningHistogram


def test_the_same_as_numpy_on_the_same_edges():
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(3000, 3)) * [1.0, 50.0, 1e-3] + [0.0, 7.0, -2.0]
    histogram = RunningHistogram(16)
    for part in np.array_split(np.sort(numbers, axis=0)[np.argsort(draw.random(3000))], 40):
        histogram.add(part)
    for column in range(3):
        expected, _ = np.histogram(numbers[:, column], histogram.edges[column])
        np.testing.assert_array_equal(histogram.counts[column], expected)
    np.testing.assert_allclose(histogram.mean, numbers.mean(0), rtol=1e-12)
    np.testing.assert_array_equal(histogram.maximum, numbers.max(0))


def test_a_column_that_never_changes_and_one_that_grows_late():
    histogram = RunningHistogram(4)
    histogram.add(np.zeros((5, 2)))
    histogram.add(np.array([[0.0, 1000.0], [0.0, -1000.0]]))
    assert histogram.counts.sum(1).tolist() == [7, 7] and histogram.counts[0].max() == 7
    assert histogram.edges[1, 0] <= -1000 and histogram.edges[1, -1] > 1000
    assert histogram.counts[1].max() == 5


def test_a_number_on_the_last_edge_begins_the_next_bin():
    histogram = RunningHistogram(4)
    histogram.add(np.array([[0.0], [4.0]]))
    top = histogram.edges[0, -1]
    histogram.add(np.array([[top]]))
    assert histogram.counts.tolist() == [[1, 1, 1, 0]] and histogram.edges[0, 2] == top
