import numpy as np
import pytest

from fallline.model.dimensions import angles, shifts, units
from fallline.model.formula import read_formula


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c + a*exp(-k*x)", {"c": (0, 1), "a": (0, 1), "k": (-1, 0)}),
        ("b + h/(1 + ((x - m)/s)^2)", {"b": (0, 1), "h": (0, 1), "m": (1, 0), "s": (1, 0)}),
        ("a*sin(2*pi*x/T + p)", {"a": (0, 1), "T": (1, 0), "p": (0, 0)}),
        ("b + (t - b)/(1 + (e/x)^h)", {"b": (0, 1), "t": (0, 1), "e": (1, 0), "h": (0, 0)}),
        ("a + b*x + c*x^2", {"a": (0, 1), "b": (-1, 1), "c": (-2, 1)}),
        ("a*sqrt(x - d) + e*x**(-2)", {"a": (-0.5, 1), "d": (1, 0), "e": (2, 1)}),
        # A number of the formula's own stands for what has a unit: the others keep theirs.
        ("a*cos(2*pi*x/12) + b*cos(2*pi*x/T)", {"a": (0, 1), "b": (0, 1), "T": (1, 0)}),
        ("exp(-k*x)/(b + c*x)", {"k": (-1, 0), "b": (0, -1), "c": (-1, -1)}),
    ],
)
def test_units_of_parameters_follow_from_the_formula(text, expected):
    found = units(read_formula(text), ("x",), tuple(expected))
    np.testing.assert_allclose(found, list(expected.values()), atol=1e-9)


def test_units_are_told_apart_by_column():
    found = units(read_formula("b1 - b2*x1*exp(-b3*x2)"), ("x1", "x2"), ("b1", "b2", "b3"))
    np.testing.assert_allclose(found, [[0, 0, 1], [-1, 0, 1], [0, -1, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("h*exp(-(x - m)^2)", 5.0),
        ("h*exp(-(m - x)^2)", 5.0),
        ("h*(m + x)^2", -5.0),
        ("h/(1 + exp(m - 2*x))", 10.0),
        ("h*sin(k*x + m)", -15.0),
    ],
)
def test_a_shift_is_where_its_sum_is_zero_at_a_row(text, place):
    (shift,) = shifts(read_formula(text), ("x",), ("h", "m", "k"))
    assert shift.name == "m"
    assert shift.sign * shift.other({"x": 5.0, "h": 1.0, "k": 3.0}) == place


def test_what_sines_are_taken_of_is_found_once():
    formula = read_formula("a*sin(w*x) + b*cos(w*x) + tan(c) + sin(x/T)")
    assert [str(angle) for angle in angles(formula, ("x",))] == ["w*x", "x/T"]
