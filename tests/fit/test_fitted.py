"""Several networks and a linear part as one network, and what it says of its parts."""

import numpy as np
import pytest

from fallline.descent import Stop
from fallline.fit.average import Part, Start, Starts
from fallline.fit.fitted import FittedNetwork, mixture_of
from fallline.model.network import Network
from fallline.table.scaling import Scaling

SCALING = Scaling(np.array([1.0, -2.0, 0.5]), np.array([2.0, 0.1, 1.0]), np.array([5.0, 0.0]), np.array([10.0, 0.3]))


def starts(network, count, random, shown=0):
    def start():
        weights = random.normal(size=network.n_weights)
        return Start(weights, np.ones_like(weights), 1.0, 2.0, -3.0, 4.0, 5.0, 6, 7, Stop.FLAT)

    return Starts(network, tuple(start() for _ in range(count)), shown)


def part(hidden, count, share, random, inputs=3, **settings):
    return Part(starts(Network((inputs, *hidden, 2), **settings), count, random), share)


def by_hand(parts, x, line=None):
    """Σ share · mean of ŷ, in scaled units; the linear part sees ``line`` where it is given."""
    return sum(
        share
        * np.mean(
            [own.network.predict(each.weights, x if own.network.hidden or line is None else line) for each in own], 0
        )
        for own, share in parts
    )


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_mixture_is_one_network_with_linear_units(activation, random):
    parts = [
        part((5,), 3, 0.5, random, activation=activation), part((2,), 1, 0.2, random, activation=activation),
        part((), 1, 0.3, random, activation=activation),
    ]  # fmt: skip
    fitted, x = mixture_of(parts, SCALING), random.normal(size=(20, 3))
    assert fitted.network.hidden == (3 * 5 + 2 + 2,)
    assert fitted.network.linear_units == 2
    np.testing.assert_allclose(fitted.predict(x), SCALING.unscale_y(by_hand(parts, SCALING.x(x))), atol=1e-10)
    assert fitted.is_mixture
    assert fitted.members == 1
    assert fitted.averages() == parts[0].starts.each


def test_the_start_shown_stands_alone(random):
    own = part((5,), 3, 0.6, random)
    parts = [Part(Starts(own.starts.network, own.starts.each, 2), 0.6), part((), 1, 0.4, random)]
    alone, x = mixture_of(parts, SCALING).alone(), random.normal(size=(20, 3))
    expected = own.starts.network.predict(own.starts[2].weights, SCALING.x(x))
    np.testing.assert_allclose(alone.predict(x), SCALING.unscale_y(expected), atol=1e-12)
    assert alone.parts == ()
    assert alone.alone() is alone


def test_networks_of_scores_are_folded_onto_the_inputs_and_the_line_beside_them(random):
    scores = random.normal(size=(3, 2))
    parts = [part((4,), 2, 0.7, random, inputs=2), part((), 1, 0.3, random)]
    fitted, x = mixture_of(parts, SCALING, scores), random.normal(size=(20, 3))
    assert fitted.network.sizes == (3, 10, 2)
    expected = SCALING.unscale_y(by_hand(parts, SCALING.x(x) @ scores, SCALING.x(x)))
    np.testing.assert_allclose(fitted.predict(x), expected, atol=1e-10)
    rows = fitted.rows(x, expected)
    np.testing.assert_allclose(rows.x, SCALING.x(x) @ scores)
    np.testing.assert_allclose(rows.y, SCALING.y(expected))
    assert fitted.input_names(["a", "b", "c"]) == ["score 1", "score 2"]
    layers = fitted.layers
    hidden = x @ layers[0].coef + layers[0].intercept
    hidden[:, :8] = np.tanh(hidden[:, :8])
    np.testing.assert_allclose(hidden @ layers[1].coef + layers[1].intercept, expected, atol=1e-8)
    own = fitted.alone()
    first = parts[0].starts
    np.testing.assert_allclose(
        own.predict(x), SCALING.unscale_y(first.network.predict(first[0].weights, SCALING.x(x) @ scores)), atol=1e-12
    )
    np.testing.assert_allclose(
        x @ own.layers[0].coef + own.layers[0].intercept, hidden_of(first, SCALING.x(x) @ scores)
    )


def hidden_of(own, seen):
    """What enters the hidden units of the first of these starts."""
    layer = own.network.layers(own[0].weights)[0]
    return seen @ layer.coef + layer.intercept


@pytest.mark.parametrize(("share", "scored", "mixed"), [(1.0, False, False), (0.9, False, True), (1.0, True, True)])
def test_a_mixture_is_more_than_the_mean_of_one_width(share, scored, mixed, random):
    scores = np.eye(3) if scored else None
    parts = [part((4,), 2, share, random), *([part((), 1, 1 - share, random)] if share < 1 else [])]
    fitted = mixture_of(parts, SCALING, scores)
    assert fitted.is_mixture == mixed
    assert fitted.members == (1 if len(parts) > 1 else 2)


def test_ridge_regression_alone_has_no_hidden_units(random):
    parts = [part((), 1, 1.0, random)]
    fitted, x = mixture_of(parts, SCALING), random.normal(size=(5, 3))
    assert fitted.network == parts[0].starts.network
    assert not fitted.is_mixture
    np.testing.assert_allclose(fitted.predict(x), SCALING.unscale_y(by_hand(parts, SCALING.x(x))))


def test_a_network_on_its_way_has_no_parts(random):
    network = Network((3, 4, 2))
    fitted = FittedNetwork(network, network.initial(0), SCALING)
    assert fitted.starts is None
    assert fitted.averages() == ()
    assert not fitted.is_mixture
    assert fitted.alone() is fitted
    assert fitted.input_names(["a", "b", "c"]) == ["a", "b", "c"]
