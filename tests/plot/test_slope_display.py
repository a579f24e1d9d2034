import math

import numpy as np
import pytest

from fallline.exceptions import SettingsError, ShapeError
from fallline.plot import SlopeDisplay


def square(x):
    return x**2


def test_the_tangent_of_the_square_at_two_has_slope_four(ax):
    drawn = SlopeDisplay.from_function(square, at=2, ax=ax, name="x²")
    (x0, x1), (y0, y1) = drawn.tangent_.get_data()
    assert drawn.at.slope == 4.0
    np.testing.assert_allclose((y1 - y0) / (x1 - x0), 4.0)
    np.testing.assert_allclose(y0 + 4.0 * (2.0 - x0), 4.0)
    np.testing.assert_equal(drawn.point_.get_xydata(), [[2.0, 4.0]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["slope 4 at x = 2"]
    assert (drawn.steps_, drawn.minimum_) == (None, None)


def test_the_curve_is_the_function(ax):
    x, y = SlopeDisplay.from_function(square, extent=(-1, 3), points=9, ax=ax).curve_.get_data()
    np.testing.assert_allclose(x, np.linspace(-1, 3, 9))
    np.testing.assert_allclose(y, x**2)


def test_the_steps_lie_on_the_curve_and_a_black_dot_at_the_minimum(ax):
    drawn = SlopeDisplay.from_function(square, start=-2.5, learning_rate=0.15, n_steps=20, ax=ax)
    x, y = drawn.steps_.get_data()
    np.testing.assert_allclose(x, -2.5 * 0.7 ** np.arange(21))
    np.testing.assert_allclose(y, x**2)
    np.testing.assert_allclose(drawn.minimum_.get_xydata(), [[0.0, 0.0]], atol=1e-12)
    assert drawn.minimum_.get_color() == "black"
    low, high = ax.get_xlim()
    assert low < -2.5
    assert high > 2.0


def test_without_arrival_there_is_no_dot(ax):
    assert SlopeDisplay.from_function(square, start=2, n_steps=2, ax=ax).minimum_ is None


def test_a_steep_side_does_not_hide_the_valley(ax):
    SlopeDisplay.from_function(lambda x: x**4 - 3 * x**2 + x, start=2.1, learning_rate=0.02, n_steps=40, ax=ax)
    assert ax.get_ylim()[1] < 25.0


def test_slopes_from_differences_are_called_so(ax):
    drawn = SlopeDisplay.from_function(math.sin, at=1, ax=ax)
    np.testing.assert_allclose(drawn.at.slope, math.cos(1), rtol=1e-9)
    assert not drawn.exact
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["slope 0.540302 at x = 1, from differences"]


def test_a_descent_that_diverges_is_said_above_the_picture_and_keeps_in_sight(ax):
    drawn = SlopeDisplay.from_function(square, start=0.5, learning_rate=1.5, n_steps=100, ax=ax)
    assert ax.get_title().startswith("The steps go up: f rose from 0.25")
    assert np.abs(ax.get_xlim()).max() < 20
    drawn.figure_.canvas.draw()


def test_a_pole_is_a_gap(ax):
    drawn = SlopeDisplay.from_function(math.log, extent=(-1, 1), points=5, ax=ax)
    assert np.isnan(drawn.curve_.get_ydata()).tolist() == [True, True, True, False, False]
    drawn.figure_.canvas.draw()


def test_names_with_dollar_signs_are_no_formulas(ax):
    SlopeDisplay.from_function(square, at=1, start=2, name="$f_{", ax=ax).figure_.canvas.draw()
    assert ax.get_ylabel() == "$f_{"


def test_it_asks_for_something_to_show():
    with pytest.raises(SettingsError, match="give at= for a tangent, start= for a descent, or extent="):
        SlopeDisplay.from_function(square)
    with pytest.raises(SettingsError, match="give a smaller number and a larger one"):
        SlopeDisplay.from_function(square, extent=(1, 1))
    with pytest.raises(ShapeError, match=r"value has shape \(2,\) for x of shape \(3,\); expected one number for each"):
        SlopeDisplay(np.ones(3), np.ones(2))


@pytest.mark.parametrize(
    ("start", "extent", "label", "face"),
    [
        (1.6, (-2.2, 2.2), "local minimum", "white"),
        (-2.0, (-2.2, 2.2), "minimum", "black"),
        (1.6, (0.5, 2.2), "minimum", "black"),
    ],
    ids=["the curve goes lower", "the lowest", "lower out of sight"],
)
def test_a_minimum_is_called_local_where_the_curve_that_is_drawn_goes_lower(start, extent, label, face, ax):
    drawn = SlopeDisplay.from_function(
        "x^4/4 - x^2 + x/5", start=start, learning_rate=0.1, n_steps=60, extent=extent, ax=ax
    )
    assert drawn.minimum_.get_label() == label
    assert drawn.minimum_.get_markerfacecolor() == face


@pytest.mark.parametrize("f", [square, lambda x: float(x) ** 2], ids=["exact", "from differences"])
def test_the_sentence_of_a_descent_that_diverged_stands_clear_of_the_legend(f, ax):
    SlopeDisplay.from_function(f, at=2, start=2, learning_rate=1.1, ax=ax)
    ax.figure.canvas.draw()
    assert not ax.title.get_window_extent().overlaps(ax.get_legend().get_window_extent())
