import numpy as np
import pytest

from fallline.model.differences import along, by_complex_step, by_differences, complex_step_holds

X, W = np.linspace(0.1, 2.0, 7), np.array([2.0, 0.0, -0.7])


def smooth(w):
    return w[0] * np.exp(w[2] * X) + np.sin(w[1] * X)


SLOPES = np.column_stack([np.exp(-0.7 * X), X, 2.0 * X * np.exp(-0.7 * X)])


def test_the_complex_step_is_exact_to_rounding_at_weights_of_zero_too():
    np.testing.assert_allclose(by_complex_step(smooth, W), SLOPES, rtol=1e-15)


def test_central_differences_have_about_ten_digits():
    np.testing.assert_allclose(by_differences(smooth, W), SLOPES, rtol=1e-9)


@pytest.mark.parametrize(("way", "digits"), [(by_complex_step, 1e-9), (by_differences, 1e-6)])
def test_slopes_change_along_a_direction_by_their_second_derivatives(way, digits):
    direction = np.array([0.5, 1.0, -2.0])
    decay = np.exp(-0.7 * X)
    expected = np.column_stack([-2.0 * X * decay, 0.0 * X, 0.5 * X * decay - 4.0 * X**2 * decay])
    found = along(lambda w: way(smooth, w), W, direction, exact=way is by_complex_step)
    np.testing.assert_allclose(found, expected, rtol=digits, atol=digits)


@pytest.mark.parametrize(
    ("f", "holds"),
    [
        (smooth, True),
        (lambda w: smooth(w) + np.abs(w[0]), False),
        (lambda w: smooth(w) + 1e-9 * np.abs(w[0]), True),
        (lambda w: smooth(w) + np.abs(w[1] * np.abs(w[1])), True),
        (lambda w: float(w[0]) * X, False),
        (lambda w: np.sin(1e5 * w[0] * X), True),
        (lambda w: 1 / (1 + np.exp(w[0] * 1e3 * X)), False),
        (lambda w: np.log(w[2] * X), None),
    ],
    ids=["smooth", "abs", "abs too small to matter", "hidden at 0", "refused", "fast", "overflows", "no number"],
)
def test_the_complex_step_holds_where_differences_agree_as_far_as_these_are_sure(f, holds):
    assert complex_step_holds(f, W) is holds
