"""Derivatives checked by second ways: a right network passes, and each planted mistake is found where it was planted."""

import dataclasses

import numpy as np
import pytest

from fallline import InMemory, Network, check_derivatives
from fallline.error.dense import Dense
from fallline.exceptions import SettingsError, ShapeError, TableError
from fallline.landscape import check
from fallline.model import network as networks
from fallline.model.activations import ACTIVATIONS
from fallline.model.curve import Curve
from fallline.native import kernels
from fallline.native.library import status
from fallline.rows.memory import InNumPy

SIZES = {
    "one neuron": {"sizes": (2, 1), "output_activation": "logistic", "bias": False},
    "one layer": {"sizes": (3, 5, 2)},
    "three layers": {"sizes": (3, 6, 5, 4, 1)},
    "linear units": {"sizes": (3, 6, 4, 2), "linear_units": 2},
    "more weights than are moved": {"sizes": (20, 12, 1)},
}
SMALL = 1 + 1e-7  # a mistake that no descent would show


def some(network, rows=200, counts=None):
    random = np.random.default_rng(5)
    x = random.normal(size=(rows, network.inputs))
    return InMemory(x, random.normal(size=(rows, network.outputs)), counts, np.float64)


def failed(network, rows):
    return {(each.what, each.against) for each in check_derivatives(network, rows) if not each.holds}


@pytest.mark.parametrize("how", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_of_every_activation_all_digits_agree(activation, how):
    network = Network(activation=activation, **how)
    found = check_derivatives(network, some(network))
    assert min(each.digits for each in found if each.against == check.DIFFERENCES) > 8
    assert min(each.digits for each in found if each.against not in (check.DIFFERENCES, check.LSTSQ)) > 13
    assert len({(each.what, each.against) for each in found}) == len(found) >= 17


@pytest.mark.parametrize("output_activation", ACTIVATIONS)
def test_of_every_output_activation_and_weighted_rows_digits_agree(output_activation):
    network = Network((2, 4, 2), "tanh", output_activation)
    counts = np.arange(200) % 3.0  # some do not count at all
    assert failed(network, some(network, counts=counts)) == set()


def wrong(of, name, factor=SMALL):
    """What makes a method give numbers that are a little too large."""
    right = getattr(of, name)

    def planted(*given, **named):
        return factor * right(*given, **named)

    return planted


NETWORK = Network((3, 5, 4, 2), "tanh")
PLANTED = {
    "back": {("gradient", check.BY_HAND), ("gradient", check.COMPLEX)},
    "jacobian": {("J", check.BY_HAND), ("J", check.COMPLEX)},
    "along": {("JᵀJ v", check.BY_HAND), ("H v", check.COMPLEX)},
    "turned_back": {("H v", check.COMPLEX)},
    "to_inputs": {("∂ŷ/∂x", check.BY_HAND), ("∂ŷ/∂x", check.COMPLEX)},
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_mistake_in_a_sweep_is_found(name, monkeypatch):
    rows = some(NETWORK)
    assert failed(NETWORK, rows) == set()
    monkeypatch.setattr(Dense, name, wrong(Dense, name))
    rows = InNumPy(*rows.each(lambda block: (block.x, block.y)))  # of C nothing was changed
    assert PLANTED[name] <= failed(NETWORK, rows)


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("slope", {("gradient", check.COMPLEX), ("J", check.BY_HAND), ("∂ŷ/∂x", check.COMPLEX)}),
        ("bend", {("H v", check.COMPLEX), ("H", check.COMPLEX)}),
    ],
)
def test_a_mistake_in_an_activation_is_found(part, found, monkeypatch):
    right = getattr(ACTIVATIONS["tanh"], part)
    planted = dataclasses.replace(ACTIVATIONS["tanh"], **{part: lambda *given: SMALL * right(*given)})
    monkeypatch.setitem(networks.ACTIVATIONS, "tanh", planted)
    rows = InNumPy(*some(NETWORK).each(lambda block: (block.x, block.y)))
    assert found <= failed(NETWORK, rows)


@pytest.mark.skipif(status().level is None, reason=status().sentence)
def test_a_mistake_in_c_is_found_where_it_is(monkeypatch):
    right = kernels.sums

    def planted(*given):
        of_block = right(*given)
        return of_block and (lambda block: tuple(part if part is None else SMALL * part for part in of_block(block)))

    monkeypatch.setattr(kernels, "sums", planted)
    expected = {f"{what} in C" for what in ("E", "gradient", "JᵀJ", "E on a plane")}
    assert expected <= {what for what, _ in failed(NETWORK, some(NETWORK))}


@pytest.mark.skipif(status().level is None, reason=status().sentence)
def test_a_mistake_in_the_steps_of_c_is_found(monkeypatch):
    right = kernels.steps

    def planted(*given):
        found = right(*given)
        return found and found._replace(weights=SMALL * found.weights)

    monkeypatch.setattr(kernels, "steps", planted)
    assert failed(NETWORK, some(NETWORK)) == {("20 steps in C", check.TWIN)}


def test_a_mistake_in_a_linear_fit_is_found(monkeypatch):
    right = check.descend

    def planted(network, *given, **named):
        path = right(network, *given, **named)
        return dataclasses.replace(path, weights=1.001 * path.weights) if network.linear else path

    monkeypatch.setattr(check, "descend", planted)
    assert failed(NETWORK, some(NETWORK)) == {("ŷ of a linear network", check.LSTSQ)}


@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-6, 0.0])
def test_collinear_columns_and_tiny_ones_pass(apart):
    random = np.random.default_rng(2)
    x = random.normal(size=(150, 2))
    x = np.column_stack([x, x.sum(axis=1), 1e-5 * (x[:, 0] + apart * random.normal(size=150))])
    assert failed(Network((4, 3, 1)), (x, random.normal(size=(150, 1)))) == set()


def test_weights_that_fit_exactly_pass():
    network = Network((2, 3, 1))
    weights, x = network.initial(1), np.random.default_rng(0).normal(size=(80, 2))
    found = check_derivatives(network, (x, network.predict(weights, x)), weights)
    assert [each for each in found if not each.holds] == []


def test_more_weights_than_a_matrix_has_room_for_are_checked_by_products():
    network = Network((400, 6, 1))
    said = {each.what for each in check_derivatives(network, some(network, rows=60))}
    assert {"gradient", "JᵀJ v", "H v"} <= said
    assert not {"JᵀJ", "H", "JᵀJ in C"} & said


def test_numbers_that_are_not_finite_have_no_digits():
    assert check.digits(np.nan, 1.0) == check.digits(1.0, np.inf) == 0
    assert check.digits(1.0 + 1e-5, 1.0) == pytest.approx(5.0, abs=1e-4)


def test_what_cannot_be_checked_gets_a_sentence():
    rows = some(Network((1, 1)))
    with pytest.raises(SettingsError, match="give a Network, whose formulas are known"):
        check_derivatives(Curve("a*x"), rows)
    with pytest.raises(ShapeError, match="pass a vector of shape"):
        check_derivatives(Network((1, 1)), rows, np.zeros(5))
    with pytest.raises(TableError, match="give rows that count, or other weights"):
        check_derivatives(Network((1, 2, 1), "relu"), rows, np.zeros(7))
