"""The stair of minima, through its numbers."""

import numpy as np
import pytest

from fallline.exceptions import FalllineError, SettingsError
from fallline.landscape.minima import Minima, Minimum
from fallline.plot import MinimaDisplay


def minima(errors, counts, lost=0, penalty=0.0):
    each = [
        Minimum(np.zeros(2), error - penalty, error, 0.0, np.ones(2), 0, count)
        for error, count in zip(errors, counts, strict=True)
    ]
    index = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(lost, -1)])
    return Minima(tuple(each), index, index >= 0, None)


def test_each_step_is_as_high_as_its_error_and_as_wide_as_its_starts(ax):
    shown = MinimaDisplay(minima([1.0, 2.0, 5.0], [6, 3, 1])).plot(ax)
    np.testing.assert_array_equal(shown.line_.get_xdata(), [0, 6, 6, 9, 9, 10])
    np.testing.assert_array_equal(shown.line_.get_ydata(), [1, 1, 2, 2, 5, 5])
    assert ax.get_xlim() == (0, 10)
    assert (ax.get_ylabel(), ax.get_yscale()) == ("error E", "linear")


def test_the_marked_minimum_says_how_many_starts_end_in_it(ax):
    shown = MinimaDisplay(minima([1.0, 2.0, 5.0], [6, 3, 1]), own=1).plot(ax)
    np.testing.assert_array_equal(shown.own_.get_xydata(), [[6, 2], [9, 2]])
    assert ax.get_legend().get_texts()[0].get_text() == "the model: minimum 2, 3 of 10 starts"


def test_a_minimum_without_a_start_is_a_point(ax):
    shown = MinimaDisplay(minima([1.0, 2.0, 5.0], [6, 0, 4]), own=1).plot(ax)
    np.testing.assert_array_equal(shown.own_.get_xydata(), [[6, 2], [6, 2]])
    assert shown.own_.get_marker() == "o"


def test_starts_that_ended_in_none_leave_room_on_the_right(ax):
    shown = MinimaDisplay(minima([1.0, 20.0], [6, 3], lost=5)).plot(ax)
    assert shown.line_.get_xdata()[-1] == 9
    assert ax.get_xlim() == (0, 14)
    assert "5 in none" in [text.get_text() for text in ax.texts]
    assert ax.get_yscale() == "log"


def test_only_steps_that_are_wide_enough_are_numbered(ax):
    shown = MinimaDisplay(minima(np.arange(1.0, 52.0), [50, *[1] * 50])).plot(ax)
    assert [text.get_text() for text in shown.numbers_] == ["1"]


def test_with_weight_decay_the_penalised_error_is_shown(ax):
    shown = MinimaDisplay(minima([1.0, 2.0], [6, 3], penalty=0.5)).plot(ax)
    np.testing.assert_array_equal(np.unique(shown.line_.get_ydata()), [1, 2])
    assert ax.get_ylabel() == "penalised error"


def test_without_axes_a_new_figure_is_made():
    shown = MinimaDisplay(minima([1.0], [3])).plot()
    assert shown.figure_.axes == [shown.ax_]


@pytest.mark.parametrize(
    ("made", "own", "error", "message"),
    [(minima([], [], lost=3), None, FalllineError, "nothing to draw"), (minima([1.0], [1]), 1, SettingsError, "none of the 1")],
    ids=["no minimum", "no such minimum"],
)  # fmt: skip
def test_what_cannot_be_drawn_gets_a_sentence(made, own, error, message):
    with pytest.raises(error, match=message):
        MinimaDisplay(made, own)
