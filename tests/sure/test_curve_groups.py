"""One curve for several groups, against SciPy's curve_fit of the joint function; R², AIC and BIC by their closed forms."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.model.curve import Curve
from fallline.sure.curve_fit import fit_curve

CURVE = Curve("h*exp(-k*x) + c")
TIGHT = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "maxfev": 10_000}


@pytest.fixture
def rows(random):
    numbers = np.repeat([0, 1, 2], [30, 20, 25])
    x = random.uniform(0, 5, 75)
    sigma = 0.05 + 0.05 * random.uniform(size=75)
    y = np.array([3.0, 5, 2])[numbers] * np.exp(-0.8 * x) + np.array([1.0, 0, 2])[numbers]
    return x, y + sigma * random.normal(size=75), sigma, numbers


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
@pytest.mark.parametrize("weighted", [True, False], ids=["sigma", "no sigma"])
def test_a_joint_fit_has_values_and_covariance_of_curve_fit(weighted, absolute, rows):
    x, y, sigma, g = rows
    sigma = sigma if weighted else None
    groups = np.array(["u", "v", "w"])[g]
    fit = fit_curve(CURVE, x[:, None], y, groups=groups, shared=["k"], sigma=sigma, absolute_sigma=absolute)
    assert fit.curve.names == ("h[u]", "h[v]", "h[w]", "k", "c[u]", "c[v]", "c[w]")
    own = np.eye(3)[g]

    def joint(x, *w):
        return own @ w[:3] * np.exp(-w[3] * x) + own @ w[4:]

    def slopes(x, *w):
        e = np.exp(-w[3] * x)[:, None]
        return np.column_stack([own * e, -x[:, None] * (own @ w[:3])[:, None] * e, own])

    popt, pcov = scipy.optimize.curve_fit(
        joint, x, y, np.ones(7), sigma=sigma, absolute_sigma=absolute, jac=slopes, **TIGHT
    )
    np.testing.assert_allclose(fit.values, popt, rtol=1e-6)
    np.testing.assert_allclose(fit.covariance, pcov, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(fit.predict(x[:, None], groups), joint(x, *popt), rtol=1e-7)
    assert fit.freedom == 75 - 7


def test_without_shared_parameters_each_group_is_fitted_by_itself(rows):
    x, y, _, g = rows
    joint = fit_curve(CURVE, x[:, None], y, groups=g)
    alone = [fit_curve(CURVE, x[g == i, None], y[g == i]) for i in range(3)]
    np.testing.assert_allclose(joint.values, np.ravel([fit.values for fit in alone], "F"), rtol=1e-6)
    assert joint.path.error[-1] == pytest.approx(sum(fit.path.error[-1] for fit in alone), rel=1e-9)


def test_groups_that_share_all_are_one_curve(rows):
    x, y, _, g = rows
    joint = fit_curve(CURVE, x[:, None], y, groups=g, shared=("h", "k", "c"))
    np.testing.assert_allclose(joint.values, fit_curve(CURVE, x[:, None], y).values, rtol=1e-7)


def test_peaks_of_one_width_find_their_places(random):
    x, g = np.tile(np.linspace(9900, 10100, 150), 3), np.repeat([0, 1, 2], 150)
    places = np.array([9930.0, 10010.0, 10070.0])
    y = np.array([5.0, 9, 7])[g] * np.exp(-(((x - places[g]) / 6) ** 2)) + 0.2 * random.normal(size=450)
    fit = fit_curve(Curve("h*exp(-((x - m)/s)^2)"), x[:, None], y, groups=g, shared=("s",))
    found = dict(zip(fit.curve.names, fit.values, strict=True))
    np.testing.assert_allclose([found[f"m[{i}]"] for i in range(3)], places, atol=0.5)
    assert abs(found["s"]) == pytest.approx(6, abs=0.3)


def test_fixed_parameters_and_bounds_are_for_all_groups_or_one(rows):
    x, y, _, g = rows
    fit = fit_curve(CURVE, x[:, None], y, groups=g, fixed={"c[1]": 0.0}, bounds={"k": (None, 0.7)}, start={"h": 4.0})
    found = dict(zip(fit.curve.names, fit.values, strict=True))
    assert found["c[1]"] == 0.0
    assert fit.covariance[fit.curve.names.index("c[1]")].tolist() == [0.0] * 9
    assert max(found[f"k[{i}]"] for i in range(3)) <= 0.7


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"shared": ("k",)}, SettingsError, "needs groups: say to which group each row belongs"),
        ({"groups": ["a"] * 3}, ShapeError, "groups are 3: expected the group of each of the 75 rows"),
        ({"groups": ["a"] * 74 + [None]}, TableError, "1 row of 75 have no group"),
        ({"groups": ["a"] * 75, "shared": ("rate",)}, SettingsError, "'rate' is no parameter of the curve"),
    ],
)
def test_groups_that_do_not_fit_are_refused(settings, error, message, rows):
    with pytest.raises(error, match=message):
        fit_curve(CURVE, rows[0][:, None], rows[1], **settings)


def test_new_rows_need_a_group_that_the_fit_has_seen(rows):
    x, y, _, g = rows
    fit = fit_curve(CURVE, x[:, None], y, groups=np.array(["old", "new", "cold"])[g])
    with pytest.raises(SettingsError, match="give the group of each row"):
        fit.predict(x[:, None])
    with pytest.raises(SettingsError, match="the group 'bold' is none of those of the fit: cold, new and old; did you"):
        fit.predict(x[:1, None], ["bold"])


@pytest.mark.parametrize("absolute", [True, False], ids=["absolute", "relative"])
def test_criteria_are_those_of_the_likelihood_but_for_what_all_curves_share(absolute, rows):
    x, y, sigma, _ = rows
    found = []
    for text in ("c + h*exp(-k*x)", "a + b*x"):
        curve = Curve(text)
        fit = fit_curve(curve, x[:, None], y, sigma=sigma, absolute_sigma=absolute)
        left = y - fit.predict(x[:, None])
        scale = 1.0 if absolute else np.sqrt(np.mean((left / sigma) ** 2))  # where the likelihood is largest
        likelihood = scipy.stats.norm.logpdf(left, scale=scale * sigma).sum()
        k, n = len(curve.names), len(y)
        found.append((fit.aic - (2 * k - 2 * likelihood), fit.bic - (k * np.log(n) - 2 * likelihood)))
        mean = np.average(y, weights=sigma**-2)
        assert fit.r2 == pytest.approx(1 - np.sum((left / sigma) ** 2) / np.sum(((y - mean) / sigma) ** 2), rel=1e-9)
    n = len(y)
    shared = -2 * np.log(sigma).sum() - n * np.log(2 * np.pi) - (0 if absolute else n)
    np.testing.assert_allclose(found, shared, rtol=1e-9)
