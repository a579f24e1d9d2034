import numpy as np
import pytest

from fallline.exceptions import SettingsError
from fallline.model.curve import Curve
from fallline.model.grouped_curve import GroupedCurve

X = np.column_stack([np.linspace(0.5, 3, 12), np.tile([0.0, 1.0, 2.0], 4)])
WEIGHTS = np.array([1.0, 2.0, 3.0, 0.7, -1.0, 0.0, 1.0])  # a of each group, k, c of each


def grouped(function="a*exp(-k*x) + c", **given):
    return GroupedCurve.of(Curve(function), ("u", "v", "w"), ("k",), **given)


def test_every_group_has_the_curve_of_its_own_parameters():
    curve = grouped()
    assert curve.names == ("a[u]", "a[v]", "a[w]", "k", "c[u]", "c[v]", "c[w]")
    g = X[:, 1].astype(int)
    expected = WEIGHTS[g] * np.exp(-0.7 * X[:, 0]) + WEIGHTS[4 + g]
    np.testing.assert_allclose(curve.predict(WEIGHTS, X)[:, 0], expected, rtol=1e-14)


@pytest.mark.parametrize("function", ["a*exp(-k*x) + c", lambda x, a, k, c: a * np.exp(-np.maximum(k, 0.1) * x) + c])
@pytest.mark.parametrize("given", [(), ("c[v]", "k")])
def test_slopes_are_those_of_differences(function, given):
    curve = grouped(function).with_given(given)
    free = np.array([name not in given for name in curve.names])
    x = np.column_stack([X, *[np.full(12, WEIGHTS[curve.names.index(name)]) for name in given]])
    w, h = WEIGHTS[free], 1e-6
    steps = h * np.eye(len(w))
    expected = np.stack([(curve.predict(w + s, x) - curve.predict(w - s, x))[:, 0] / (2 * h) for s in steps], axis=1)
    np.testing.assert_allclose(curve.jacobian(w, x)[:, 0], expected, atol=1e-8)
    direction = np.linspace(-1, 1, len(w))
    along = (curve.jacobian(w + h * direction, x) - curve.jacobian(w - h * direction, x)) / (2 * h)
    np.testing.assert_allclose(curve.jacobian_along(w, x, direction), along, atol=1e-7)


def test_names_of_the_curve_stand_for_those_of_all_groups():
    curve = grouped()
    assert curve.named_as_groups({"a": 1, "a[v]": 2, "k": 3}) == {"a[u]": 1, "a[v]": 2, "a[w]": 1, "k": 3}
    assert curve.named_as_groups([1, 2, 3])["c[w]"] == 3
    assert curve.named_as_groups(list(WEIGHTS)) == list(WEIGHTS)


def test_a_shared_name_that_is_none_is_refused():
    with pytest.raises(SettingsError, match="'rate' is no parameter of the curve: its parameters are a, b"):
        GroupedCurve.of(Curve("a*x + b"), ("u",), ("rate",))
