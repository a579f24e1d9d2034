import numpy as np
import pytest

from fallline.plot import ResidualHistogramDisplay


def test_every_finite_residual_is_counted_in_its_bin():
    y, predicted = np.random.default_rng(0).normal(size=(2, 700))
    y[3] = np.nan
    display = ResidualHistogramDisplay.of(y, predicted)
    residual = np.delete(y - predicted, 3)
    inner = [np.sum((residual >= a) & (residual < b)) for a, b in zip(display.edges, display.edges[1:], strict=False)]
    inner[-1] += np.sum(residual == display.edges[-1])
    np.testing.assert_equal(display.counts, inner)
    assert display.counts.sum() == 699


def test_the_bars_are_the_counts_between_their_edges(ax):
    display = ResidualHistogramDisplay(np.array([1, 4, 2]), np.array([-3.0, -1.0, 1.0, 3.0])).plot(ax)
    values, edges, _ = display.bars_.get_data()
    np.testing.assert_equal(values, [1, 4, 2])
    np.testing.assert_equal(edges, [-3.0, -1.0, 1.0, 3.0])


def test_the_line_is_at_zero_and_the_axes_are_named(ax):
    display = ResidualHistogramDisplay(np.array([1]), np.array([-1.0, 1.0]), "strength").plot(ax)
    np.testing.assert_equal(display.zero_.get_xdata(), [0.0, 0.0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("actual − predicted strength", "rows")


@pytest.mark.parametrize(("rows", "bins"), [(2, 5), (1_000_000, 100)])
def test_the_number_of_bins_stays_one_that_can_be_read(rows, bins):
    residual = np.random.default_rng(0).standard_t(3, size=rows)
    assert ResidualHistogramDisplay.of(residual, np.zeros(rows)).counts.size == bins
