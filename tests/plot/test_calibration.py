import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from fallline.exceptions import ShapeError
from fallline.plot import CalibrationDisplay


@pytest.fixture
def ax():
    return Figure().add_subplot()


def of_two(random, rows=500):
    p = random.random(rows)
    return (random.random(rows) < p).astype(int), np.column_stack([1 - p, p])


def test_the_points_are_scikit_learns_calibration_curve(random, ax):
    number, p = of_two(random)
    shown = CalibrationDisplay.from_predictions(np.array(["no", "yes"])[number], p, ax=ax)
    observed, predicted = calibration_curve(number, p[:, 1], n_bins=10)
    np.testing.assert_allclose(shown.observed, observed)
    np.testing.assert_allclose(shown.predicted, predicted)
    np.testing.assert_allclose(shown.points_.get_xydata(), np.column_stack([predicted, observed]))
    assert shown.counts.sum() == 500


def test_the_bars_are_intervals_of_wilson(random, ax):
    shown = CalibrationDisplay.of(*of_two(random, 60)).plot(ax)
    hits = np.round(shown.observed * shown.counts).astype(int)
    ends = [binomtest(k, n).proportion_ci(0.95, "wilson") for k, n in zip(hits, shown.counts, strict=True)]
    np.testing.assert_allclose(np.column_stack([shown.low, shown.high]), ends, atol=1e-6)
    drawn = [segment[:, 1] for segment in shown.bars_.get_segments()]
    np.testing.assert_allclose(drawn, ends, atol=1e-6)


def test_of_more_classes_every_probability_counts(random):
    p = random.dirichlet(np.ones(3), 200)
    number = random.integers(3, size=200)
    shown = CalibrationDisplay.of(number, p)
    observed, predicted = calibration_curve((number[:, None] == np.arange(3)).ravel(), p.ravel(), n_bins=10)
    np.testing.assert_allclose(shown.observed, observed)
    np.testing.assert_allclose(shown.predicted, predicted)
    assert shown.error == pytest.approx(np.sum(np.abs(observed - predicted) * shown.counts) / 600)


def test_an_estimator_is_asked_for_its_probabilities(random, ax):
    x = random.normal(size=(100, 2))
    y = np.array(["no", "yes"])[(x[:, 0] + random.normal(size=100) > 0).astype(int)]
    fit = LogisticRegression().fit(x, y)
    few = y[:40] == "no"  # rows of one class alone
    shown = CalibrationDisplay.from_estimator(fit, x[:40][few], y[:40][few], ax=ax)
    np.testing.assert_array_equal(shown.observed, 0)
    assert shown.ax_ is ax


def test_another_number_of_columns_than_classes_is_refused():
    with pytest.raises(ShapeError, match=r"shape \(3, 3\) for 3 rows and 2 classes; expected a column for each class"):
        CalibrationDisplay.from_predictions(["a", "b", "a"], np.full((3, 3), 1 / 3))
