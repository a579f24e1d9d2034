import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fallline import NetworkClassifier
from fallline.fit.class_decay import decided
from fallline.fit.line import has_line, lines
from fallline.fit.settings import Settings
from fallline.fit.simplex import one_hot, probabilities

DEFAULT = Settings(output_activation="logistic", one_target_scale=True, seed=0, max_iter=60)


def noisy(random, n=120):
    x = random.normal(size=(n, 3))
    return x, (x[:, 0] + random.normal(size=n) > 0).astype(int)


def ring(random, n=160):
    """Classes that no line tells apart: within a circle and outside."""
    x = random.normal(size=(n, 2))
    return x, (np.hypot(*x.T) > 1.1).astype(int)


@pytest.mark.parametrize("decays", [[0.3], [30.0, 3.0, 0.3]], ids=["at once", "by way of stronger ones"])
def test_a_line_is_the_logistic_regression_of_each_column(decays, random):
    x = random.normal(size=(90, 4))
    number = (x[:, 0] + random.normal(size=90)).round().clip(-1, 1).astype(int) + 1
    often = np.arange(90) % 3 + 0.5
    *_, line = lines(x, one_hot(number, 3), often, decays)
    for j in range(3):
        other = LogisticRegression(C=1 / 0.3, tol=1e-10, max_iter=10_000).fit(x, number == j, sample_weight=often)
        np.testing.assert_allclose(line.coef[:, j], other.coef_[0], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(line.intercept[j], other.intercept_[0], rtol=1e-3, atol=1e-4)


def test_a_line_is_found_where_classes_are_apart_and_where_a_column_is_empty(random):
    x = random.normal(size=(40, 2))
    x[:, 0] += np.sign(x[:, 0])
    y = np.column_stack([x[:, 0] > 0, np.zeros(40)]).astype(float)
    (line,) = lines(x, y, np.ones(40), [0.01])
    z = x @ line.coef + line.intercept
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(z[:, 0] > 0, y[:, 0] > 0)
    assert (z[:, 1] < -5).all()


def test_rows_left_out_say_whether_a_line_stands_beside_the_networks(random):
    x, number = noisy(random)
    assert decided(DEFAULT, x, one_hot(number, 2)).line is not None
    x, number = ring(random)
    assert decided(DEFAULT, x, one_hot(number, 2)).line is None


@pytest.mark.parametrize(
    "chosen",
    [{"hidden_layer_sizes": (4,)}, {"alpha": 0.3}, {"average": False}, {"bias": False}, {"output_activation": "identity"}],
    ids=lambda chosen: next(iter(chosen)),
)  # fmt: skip
def test_what_the_user_chose_has_no_line_beside_it(chosen, random):
    x, number = noisy(random, 60)
    assert decided(dataclasses.replace(DEFAULT, **chosen), x, one_hot(number, 2)).line is None


def test_the_fit_is_the_mean_of_what_enters_the_outputs_of_networks_and_line(random):
    x, number = noisy(random)
    model = NetworkClassifier(random_state=0).fit(x, number)
    networks, line = model._fitted.parts
    assert has_line(model._fitted)
    assert networks.starts.network.hidden == (10,)
    scaled = model.scaling_.x(x)
    sides = []
    for part in (networks, line):
        network = dataclasses.replace(part.starts.network, output_activation="identity")
        sides.append(np.mean([network.predict(start.weights, scaled) for start in part.starts], axis=0))
    expected = probabilities(1 / (1 + np.exp(-(sides[0] + sides[1]) / 2)))
    np.testing.assert_allclose(model.predict_proba(x), expected, atol=1e-12)
    reached = sides[1][:, 0]
    decay = line.starts[0].strength[0]
    other = LogisticRegression(C=1 / decay, tol=1e-10, max_iter=10_000).fit(scaled, number).decision_function(scaled)
    np.testing.assert_allclose(reached, other, atol=2e-3)


def test_a_fit_with_a_line_goes_on(random):
    x, number = noisy(random)
    model = NetworkClassifier(random_state=0, max_iter=40).fit(x, number)
    before = model.predict_proba(x)
    model.set_params(warm_start=True).fit(x, number)
    assert has_line(model._fitted)
    np.testing.assert_allclose(model.predict_proba(x), before, atol=0.05)
    for _ in range(2):
        model.partial_fit(x, number)
        assert model.network_.linear_units == 1
    np.testing.assert_allclose(model.predict_proba(x), before, atol=0.15)
