import numpy as np
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from fallline.exceptions import ShapeError
from fallline.fit.class_figures import class_figures_of


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_figures_are_those_of_scikit_learn(classes, random):
    p = random.dirichlet(np.ones(classes), 200)
    actual = random.integers(classes, size=200)
    found = class_figures_of(actual, p)
    assert found.accuracy == pytest.approx(accuracy_score(actual, p.argmax(axis=1)))
    assert found.brier == pytest.approx(brier_score_loss(actual, p, labels=range(classes), scale_by_half="auto"))
    assert found.log_loss == pytest.approx(log_loss(actual, p, labels=range(classes)))


def test_a_probability_of_0_counts_as_the_smallest_that_1_can_be_off_by():
    found = class_figures_of(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))
    assert found == pytest.approx((0.5, 0.5, 26 * np.log(2)))


def test_no_row_has_no_figure():
    assert class_figures_of(np.empty(0, int), np.empty((0, 3))) == (None, None, None)


def test_other_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"actual has shape \(3, 1\) and probabilities \(3, 2\); expected \(n,\)"):
        class_figures_of(np.zeros((3, 1), int), np.zeros((3, 2)))
