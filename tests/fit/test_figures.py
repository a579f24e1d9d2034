"""The figures of a fit, against closed forms and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from fallline.exceptions import ShapeError
from fallline.fit.figures import Figures, figures_of


def test_the_figures_of_three_rows_are_those_found_by_hand():
    # residuals 1, −2, 2; mean 4, spread 9 + 0 + 9
    assert figures_of([1.0, 4.0, 7.0], [0.0, 6.0, 5.0]) == Figures(4.5, np.sqrt(3.0), 5 / 3, 0.5)


def test_the_figures_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    y, prediction = rng.normal(30, 10, 500), rng.normal(30, 10, 500)
    expected = (
        0.5 * np.sum((y - prediction) ** 2),
        root_mean_squared_error(y, prediction),
        mean_absolute_error(y, prediction),
        r2_score(y, prediction),
    )
    np.testing.assert_allclose(figures_of(y, prediction), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("y", "prediction", "expected"),
    [
        pytest.param([0.1] * 7, [0.1] * 7, Figures(0.0, 0.0, 0.0, None), id="constant, exact"),
        pytest.param([2.0], [1.0], Figures(0.5, 1.0, 1.0, None), id="one row"),
        pytest.param([], [], Figures(0.0, None, None, None), id="no rows"),
        pytest.param([1.0, 2.0], [np.nan, 2.0], Figures(None, None, None, None), id="NaN predicted"),
        pytest.param([1.0, 2.0], [1e200, 2.0], Figures(None, None, 5e199, None), id="overflow"),
    ],
)
def test_a_figure_that_is_not_defined_is_none(y, prediction, expected):
    assert figures_of(y, prediction) == expected


def test_a_row_of_values_against_a_column_of_predictions_is_refused():
    with pytest.raises(ShapeError, match=r"shape \(3,\) and predicted \(3, 1\)"):
        figures_of(np.zeros(3), np.zeros((3, 1)))
