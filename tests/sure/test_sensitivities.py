"""∂ŷ/∂x in the user's units, against closed forms and central differences."""

import numpy as np
import pytest

from fallline import FittedNetwork, Network, NetworkRegressor, Scaling, Sensitivity, sensitivities
from fallline.exceptions import SettingsError, ShapeError
from fallline.model.activations import ACTIVATIONS

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(40, 3)) * [1.0, 100.0, 0.01] + [0.0, 5.0, -1.0]
SCALING = Scaling(X.mean(axis=0), X.std(axis=0), np.array([7.0, -3.0]), np.array([12.0, 0.3]))


def differences(predict, x):
    """Central differences of predictions, (n, inputs, outputs)."""
    steps = 1e-5 * x.std(axis=0)
    return np.stack([(predict(x + e) - predict(x - e)) / (2 * e.sum()) for e in np.diag(steps)], axis=1)


def close(found, expected):
    size = np.abs(expected).max(axis=0)
    np.testing.assert_allclose(found / size, expected / size, rtol=0, atol=2e-8)


def test_one_unit_has_the_slope_of_its_closed_form():
    network, weights = Network((1, 1, 1)), np.array([0.8, -0.2, 2.5, 1.0])
    fitted = FittedNetwork(
        network, weights, Scaling(np.array([3.0]), np.array([4.0]), np.array([9.0]), np.array([10.0]))
    )
    x = np.linspace(-5, 10, 30)[:, None]
    z = 0.8 * (x - 3) / 4 - 0.2
    np.testing.assert_allclose(
        sensitivities(fitted, x).slopes[..., 0], 10 / 4 * 2.5 * 0.8 / np.cosh(z) ** 2, rtol=1e-12
    )


def test_of_a_linear_network_the_slopes_are_its_coefficients():
    y = X @ [2.0, -0.03, 500.0] + 4
    fit = NetworkRegressor((), alpha=0.0).fit(X, y)
    found = sensitivities(fit._fitted, X)
    np.testing.assert_allclose(found.mean[:, 0], [2.0, -0.03, 500.0], rtol=1e-6)
    np.testing.assert_allclose(found.slopes, np.broadcast_to(found.mean, (40, 3, 1)), rtol=1e-9)
    np.testing.assert_array_equal(found.rising[:, 0], [1, 0, 1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(
    "network", [{"sizes": (3, 5, 4, 2)}, {"sizes": (3, 6, 2), "linear_units": 2, "output_activation": "logistic"}],
    ids=["two layers", "linear units"],
)  # fmt: skip
def test_slopes_are_those_of_differences(activation, network):
    network = Network(activation=activation, **network)
    fitted = FittedNetwork(network, network.initial(2), SCALING)
    close(sensitivities(fitted, X).slopes, differences(fitted.predict, X))


def test_of_a_combination_with_scores_slopes_are_those_of_differences():
    x = np.random.default_rng(0).normal(size=(150, 45))
    y = np.tanh(x[:, 0]) + x[:, 1] * x[:, 2]
    fit = NetworkRegressor(random_state=0, effort="quick").fit(x, y)
    assert fit._fitted.scores is not None
    close(sensitivities(fit._fitted, x).slopes, differences(fit._fitted.predict, x))


def test_the_band_holds_the_middle_of_the_rows():
    network, weights = Network((2, 1, 1), "sine"), np.array([1.0, 0.0, 0.0, 1.0, 0.0])
    fitted = FittedNetwork(network, weights, Scaling.identity(2, 1))
    x = np.random.default_rng(1).uniform(0, 3, (500, 2))
    found = sensitivities(fitted, x, {"angle": [0]}, share=0.5)
    slopes = np.cos(x[:, 0])
    assert (found.names, found.slopes.shape) == (("angle",), (500, 1, 1))
    np.testing.assert_allclose([found.low.item(), found.high.item()], np.quantile(slopes, [0.25, 0.75]), rtol=1e-12)
    assert found.rising.item() == np.mean(slopes > 0)
    np.testing.assert_array_equal(found.at, x[:, :1])


def test_rows_where_a_column_is_missing_have_no_slope():
    network = Network((3, 4, 1))
    fitted = FittedNetwork(network, network.initial(0), Scaling.identity(3, 1))
    x = np.column_stack([X[:, :2], np.arange(40) % 2])
    found = sensitivities(fitted, x, {"a": [0, 2], "b": [1]})
    assert np.isnan(found.slopes[1::2, 0]).all()
    assert np.isfinite(found.slopes[::2]).all()
    np.testing.assert_allclose(found.mean[0], found.slopes[::2, 0].mean(axis=0), rtol=1e-12)


def test_a_column_that_is_missing_in_every_row_has_none():
    assert np.isnan(Sensitivity(("a",), np.zeros((3, 1)), np.full((3, 1, 1), np.nan)).mean).all()


def test_blocks_of_rows_are_put_together():
    network = Network((3, 300, 2))
    fitted = FittedNetwork(network, network.initial(0), SCALING)
    whole = sensitivities(fitted, np.tile(X, (250, 1))).slopes  # 10,000 rows: several blocks
    np.testing.assert_allclose(whole, np.tile(sensitivities(fitted, X).slopes, (250, 1, 1)), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("x", [X[:, :2], X[:0], X[0]], ids=["columns", "no rows", "a row"])
def test_rows_that_do_not_fit_get_a_sentence(x):
    network = Network((3, 2, 1))
    with pytest.raises(ShapeError, match=r"expected one row or more of the network's inputs: \(rows, 3\)"):
        sensitivities(FittedNetwork(network, network.initial(0), Scaling.identity(3, 1)), x)


@pytest.mark.parametrize("share", [0, 1, 80])
def test_a_share_that_is_none_gets_a_sentence(share):
    network = Network((3, 2, 1))
    with pytest.raises(SettingsError, match="give a share of the rows between 0 and 1"):
        sensitivities(FittedNetwork(network, network.initial(0), Scaling.identity(3, 1)), X, share=share)
