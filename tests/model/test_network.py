import numpy as np
import pytest

from fallline.exceptions import SettingsError, ShapeError
from fallline.model.activations import ACTIVATIONS
from fallline.model.network import Layer, Network, mixed

# Each activation once more, written from its definition and not from the code.
BY_HAND = {
    "identity": lambda z: z,
    "logistic": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.maximum(z, 0.01 * z),
    "softplus": lambda z: np.log(1 + np.exp(z)),
    "softsign": lambda z: z / (1 + np.abs(z)),
    "elu": lambda z: np.where(z > 0, z, np.exp(z) - 1),
    "silu": lambda z: z / (1 + np.exp(-z)),
    "sine": np.sin,
    "gaussian": lambda z: np.exp(-(z**2)),
}


def test_every_activation_is_checked_by_hand():
    assert set(BY_HAND) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", BY_HAND)
def test_an_activation_follows_its_definition(name):
    z = np.linspace(-6, 6, 25)
    np.testing.assert_allclose(ACTIVATIONS[name].value(z, np), BY_HAND[name](z), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", BY_HAND)
def test_slope_and_bend_are_the_derivatives_of_an_activation(name):
    z, f, h = np.linspace(-6, 6, 24), ACTIVATIONS[name], 1e-6  # 0 is not among them: some have a corner there

    def slope(z):
        return f.slope(z, f.value(z, np), np)

    by_values = (f.value(z + h, np) - f.value(z - h, np)) / (2 * h)
    np.testing.assert_allclose(slope(z), by_values, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        f.bend(z, f.value(z, np), np), (slope(z + h) - slope(z - h)) / (2 * h), rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", ["relu", "leaky_relu"])
def test_at_a_corner_the_slope_is_that_on_the_left(name):
    f, zero, left = ACTIVATIONS[name], np.zeros(1), np.array([-1.0])
    np.testing.assert_array_equal(f.slope(zero, f.value(zero, np), np), f.slope(left, f.value(left, np), np))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_and_its_derivatives_stay_finite_far_out_and_keep_their_type(name, dtype):
    z, f = np.array([-800.0, -40.0, 0.0, 40.0, 800.0], dtype), ACTIVATIONS[name]
    a = f.value(z, np)
    with np.errstate(under="ignore"):
        found = np.stack([a, f.slope(z, a, np), f.bend(z, a, np)])
    assert np.isfinite(found).all()
    assert found.dtype == dtype


@pytest.mark.parametrize("activation", BY_HAND)
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
def test_a_prediction_is_the_formula(activation, bias, random):
    network = Network((3, 4, 5, 2), activation, "logistic", bias=bias)
    w = random.normal(size=network.n_weights)
    x = random.normal(size=(7, 3))
    (w1, b1), (w2, b2), (w3, b3) = network.layers(w)
    f, b1, b2, b3 = BY_HAND[activation], *(0 if b is None else b for b in (b1, b2, b3))
    expected = BY_HAND["logistic"](f(f(x @ w1 + b1) @ w2 + b2) @ w3 + b3)
    np.testing.assert_allclose(network.predict(w, x), expected, rtol=1e-12, atol=1e-15)


def test_rows_in_single_precision_have_predictions_in_single_precision(random):
    network = Network((3, 4, 2), "silu")
    w, x = network.initial(0).astype(np.float32), random.normal(size=(7, 3)).astype(np.float32)
    assert network.predict(w, x).dtype == np.float32
    np.testing.assert_allclose(network.predict(w, x), network.predict(w.astype(float), x.astype(float)), rtol=1e-5)


def test_without_a_hidden_layer_it_is_f_of_the_weighted_sum(random):
    network = Network((2, 1), output_activation="tanh", bias=False)
    x = random.normal(size=(5, 2))
    np.testing.assert_allclose(network.predict(np.array([2.0, -1.0]), x), np.tanh(x @ [[2.0], [-1.0]]), rtol=1e-14)


def test_the_weights_are_counted_layer_by_layer():
    assert Network((8, 20, 1)).n_weights == 8 * 20 + 20 + 20 + 1
    assert Network((8, 20, 1), bias=False).n_weights == 8 * 20 + 20


def test_layers_and_vector_are_inverse(random):
    network = Network((3, 4, 2))
    w = random.normal(size=network.n_weights)
    np.testing.assert_array_equal(network.vector(network.layers(w)), w)


def test_every_weight_has_a_name_of_its_own():
    network = Network((2, 2, 1))
    assert network.weight_names(["age", "water"], ["strength"]) == (
        "age->h1", "age->h2", "water->h1", "water->h2", "bias->h1", "bias->h2",
        "h1->strength", "h2->strength", "bias->strength",
    )  # fmt: skip
    assert len(set(Network((2, 3, 3, 2)).weight_names())) == Network((2, 3, 3, 2)).n_weights


def test_weight_decay_leaves_biases_free():
    network = Network((2, 2, 1))
    assert [n for n, p in zip(network.weight_names(), network.penalised(), strict=True) if not p] == [
        "bias->h1", "bias->h2", "bias->y1",
    ]  # fmt: skip


def test_bayesian_regularisation_holds_all_weights_but_the_output_biases():
    network = Network((2, 2, 2))
    free = np.array(network.weight_names())[~network.regularised()]
    assert free.tolist() == ["bias->y1", "bias->y2"]
    assert Network((2, 2, 2), bias=False).regularised().all()


def test_a_weight_leads_into_the_unit_it_is_counted_under():
    network = Network((2, 2, 1))
    np.testing.assert_array_equal(network.units(), [0, 1, 0, 1, 0, 1, 2, 2, 2])


def test_the_same_seed_gives_the_same_start_and_another_seed_another():
    network = Network((3, 4, 1))
    np.testing.assert_array_equal(network.initial(1), network.initial(1))
    assert not np.array_equal(network.initial(1), network.initial(2))


def test_initial_weights_keep_the_spread_of_standardised_inputs(random):
    network = Network((50, 400, 1), "identity", bias=False)
    hidden = random.normal(size=(300, 50)) @ network.layers(network.initial(3))[0].coef
    assert 0.9 < hidden.std() < 1.1


def test_an_unknown_activation_names_the_known_ones():
    with pytest.raises(
        SettingsError, match=r"'sigmoid' is not known: choose one of identity, .*; did you mean 'logistic'\?"
    ):
        Network((2, 1), "sigmoid")
    with pytest.raises(SettingsError, match="did you mean 'tanh'"):
        Network((2, 1), output_activation="tanhh")


@pytest.mark.parametrize("sizes", [(3,), (), (3, 0, 1), (0, 1)])
def test_sizes_that_make_no_network_are_refused(sizes):
    with pytest.raises(SettingsError, match=r"such as \(8, 20, 1\)"):
        Network(sizes)


@pytest.mark.parametrize(
    ("call", "advice"),
    [
        (lambda net: net.predict(net.initial(0), np.zeros(3)), r"x\[:, None\]"),
        (lambda net: net.predict(net.initial(0), np.zeros((4, 2))), r"\(n, 3\)"),
        (lambda net: net.layers(np.zeros(5)), r"shape \(21,\)"),
        (lambda net: net.vector([Layer(np.zeros((3, 4)), np.zeros(4))]), "1 layers"),
        (
            lambda net: net.vector([Layer(np.zeros((4, 3)), np.zeros(4)), Layer(np.zeros((4, 1)), np.zeros(1))]),
            r"\(3, 4\)",
        ),
        (
            lambda net: net.vector([Layer(np.zeros((3, 4)), np.zeros(3)), Layer(np.zeros((4, 1)), np.zeros(1))]),
            "biases",
        ),
    ],
    ids=["vector for rows", "wrong inputs", "wrong length", "missing layer", "transposed", "wrong biases"],
)
def test_shapes_that_do_not_fit_are_refused_with_the_right_shape(call, advice):
    with pytest.raises(ShapeError, match=advice):
        call(Network((3, 4, 1)))


def test_a_network_says_what_it_is():
    assert str(Network((8, 20, 1))) == "8 inputs, 20 tanh units, 1 output: 201 weights"
    assert (
        str(Network((2, 1), output_activation="logistic", bias=False))
        == "2 inputs, 1 logistic output, no biases: 2 weights"
    )


def test_linear_units_hand_on_what_enters_them(random):
    network, x = Network((3, 5, 1), linear_units=2), random.normal(size=(9, 3))
    weights = random.normal(size=network.n_weights)
    first, last = network.layers(weights)
    z = x @ first.coef + first.intercept
    bent, line = np.tanh(z[:, :3]) @ last.coef[:3], z[:, 3:] @ last.coef[3:]
    np.testing.assert_allclose(network.predict(weights, x), bent + line + last.intercept, atol=1e-12)
    assert str(network).startswith("3 inputs, 3 tanh units and 2 linear, 1 output")


@pytest.mark.parametrize(("sizes", "units"), [((2, 3, 1), 4), ((2, 1), 1), ((2, 3, 1), -1)])
def test_more_linear_units_than_a_layer_has_are_refused(sizes, units):
    with pytest.raises(SettingsError, match="linear_units"):
        Network(sizes, linear_units=units)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [((2,), (4,)), ((2, 3), (3, 1))], ids=["one hidden layer", "two"])
def test_a_mixture_is_one_network(hidden, bias, random):
    x = random.normal(size=(20, 3))
    networks = [Network((3, *sizes, 2), bias=bias) for sizes in (*hidden, ())]
    members = [
        (each, random.normal(size=each.n_weights), share) for each, share in zip(networks, (0.5, 0.2, 0.3), strict=True)
    ]
    network, weights = mixed(members)
    expected = sum(share * each.predict(w, x) for each, w, share in members)
    np.testing.assert_allclose(network.predict(weights, x), expected, atol=1e-12)
    assert network.hidden == tuple(a + b + 2 for a, b in zip(*hidden, strict=True))
    assert network.linear_units == 2
